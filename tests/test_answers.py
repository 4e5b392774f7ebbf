"""The sentences at the head of chapters: every outcome has one, and whatever comes out is short."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from pruning_lab.report import answers, board, claims, verdicts, why
from pruning_lab.running import chapters

AT = [0.9, 0.95, 1.0, 1.05, 1.1]
TOLD = {
    "FP1: LeNet fc1": dict(yes="Yes, by {points} points.", no="No.", open="Open.", none="Not run."),
    "FP1: Conv-2 fc1": dict(yes="Here too.", no="Not here.", open="Here open.", none=""),
}


def judged(first, second=(), **how):
    return verdicts.judge("FP1", {"LeNet fc1": first, "Conv-2 fc1": second}, **how)


def no(values):
    return [-value for value in values]


@pytest.mark.parametrize(
    "first, second, said",
    [
        (AT, AT, "Yes, by 3.1 points. Here too."),
        (no(AT), [1.0], "No. Here open."),
        ([-1.0, 0.0, 1.0], no(AT), "Open. Not here."),
        ([], [], "Not run."),
    ],
)
@pytest.mark.parametrize("on", ["", "narrow nets"])
def test_the_verdicts_choose_the_sentences(first, second, said, on):
    assert answers.answer(TOLD, judged(first, second, on=on), points="3.1") == said


def test_what_was_run_and_missed_where_a_claim_speaks_has_another_word_than_what_was_not_run():
    table = {"FP1: LeNet fc1": TOLD["FP1: LeNet fc1"] | dict(missed="Did not get there.")}
    short = judged([], short={"LeNet fc1": 5})
    assert answers.answer(table, short, points="3.1") == "Did not get there."
    assert answers.answer(TOLD, short, points="3.1") == "Not run."
    assert answers.answer(table, judged([]), points="3.1") == "Not run."


def test_a_part_that_missed_where_its_claim_speaks_has_a_word_and_no_dot():
    html = answers.strip(judged(AT, short={"Conv-2 fc1": 4})).data
    assert html.count("<circle") == 1 and "lab-hollow" not in html
    assert "not in reach in 1, not run in 1 (5 nets)" in html


def test_a_run_too_small_for_a_verdict_says_what_was_not_run():
    assert answers.answer(TOLD, judged(AT, AT, profile="smoke"), points="3.1") == "Not run."


def test_a_part_that_is_no_part_and_a_number_that_lacks_are_errors():
    with pytest.raises(KeyError, match="FP1: fc9"):
        answers.answer({"FP1: fc9": TOLD["FP1: LeNet fc1"]}, judged(AT))
    with pytest.raises(KeyError, match="points"):
        answers.answer(TOLD, judged(AT, AT))


@pytest.mark.parametrize(
    "values, said",
    [(AT[:3], why.FEW), (AT[:2], why.FEW), ([-2.0, -1.0, 0.0, 1.0, 2.0], why.SPREAD), ([1.0] * 5, why.ALIKE), (AT, "")],
)
def test_an_open_part_says_why(values, said):
    assert why.why(judged(values), "FP1", "LeNet fc1") == said
    with pytest.raises(KeyError, match="FP1: fc9"):
        why.why(judged(values), "FP1", "fc9")


def test_the_strip_has_a_line_a_claim_with_its_word_and_a_link_to_its_row():
    html = answers.strip(judged(AT, no(AT), on="<narrow>")).data
    assert html.count("<tr>") == 1
    assert 'href="#claim-FP1"' in html
    assert claims.load()["FP1"].short in html
    assert "holds in 1 of 3 layers, fails in 1, not run in 1 (5 nets)</td>" in html
    assert "<caption>Measured on &lt;narrow&gt;. Each dot is a part" in html
    assert html.count("<circle") == 2 and "Hollow" not in html  # no dot is


def test_what_claims_were_measured_on_is_said_once():
    def said(**ons):
        return board.measured_on(pd.concat([verdicts.judge(id, {}, on=on) for id, on in ons.items()]))

    theirs = "the source's own kind of nets and data"
    assert said(FP1="narrow nets", FP2="narrow nets") == "Measured on narrow nets."
    assert said(FP1="digits", FP2="digits", FP3="few images") == "Measured on digits; 1 claim on few images."
    assert said(FP1="digits", FP2="digits", FP3="") == f"Measured on digits; 1 claim on {theirs}."
    assert said(FP1="", FP2="", FP3="digits") == f"Measured on {theirs}; 1 claim on digits."
    assert said(FP1="", FP2="a", FP3="a", FP4="") == f"Measured on {theirs}; 2 claims on a."
    assert said(FP1="") == ""


def sentences(path):
    """The table of answers of a chapter; {} where it has none."""
    cells = [c for c in chapters.read(path)["cells"] if "".join(c["source"]).startswith("ANSWER = {")]
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    return names.get("ANSWER", {})


TABLES = {path.stem: table for path in chapters.chapters() if (table := sentences(path))}


def test_every_chapter_with_a_number_has_a_table_of_answers():
    numbered = {path.stem for path in (Path(__file__).parents[1] / "book").glob("[0-9]*.ipynb")}
    assert set(TABLES) >= numbered and len(numbered) >= 8


@pytest.mark.parametrize("chapter", TABLES)
def test_every_outcome_has_a_sentence_and_every_answer_is_short(chapter):
    table, outcomes = TABLES[chapter], [*answers.OUTCOMES.values(), answers.NONE]
    reason = max((why.FEW, why.SPREAD, why.ALIKE), key=lambda words: len(words.split()))
    parts = {f"{claim.id}: {part.name}" for claim in claims.load().values() for part in claim.parts}
    assert set(table) <= parts
    assert all(set(told) - {answers.MISSED} == set(outcomes) for told in table.values())
    alone = [words for told in table.values() for words in told.values()]  # whatever the sentence before says
    assert not [words for words in alone if re.search(r", too\b|^So ", words)]
    for chosen in itertools.product(*(told.values() for told in table.values())):
        text = re.sub(r"{why_\w+}", reason, " ".join(filter(None, chosen)))
        text = re.sub(r"{\w+}", "12.3", text)
        assert text
        assert len(text.split()) <= 45, text
        assert len(re.findall(r"\d+(?:\.\d+)?", text)) <= 3, text
        assert not re.search(r"\b[A-Z]{2}\d\b", text), text
