"""All claims on one page: each once, with its word, its strip and its parts, in order; what filters them is in them."""

import base64
import csv
import io
import re

import pytest

from pruning_lab.report import board, claims, numbers, scoreboard, standing, strips, told, verdicts
from pruning_lab.report.numbers import measured, size

AT = [0.9, 1.0, 1.1, 0.95, 1.05]
NO = [-value for value in AT]


def heard(**chapters):
    return {stem: told.Told(table, "night", 0.5, "one CPU") for stem, table in chapters.items()}


def fp1(*values, on="narrow <nets>"):
    names = ("LeNet fc1", "Conv-2 fc1", "Conv-2 conv2")
    return verdicts.judge("FP1", dict(zip(names, values, strict=False)), on=on)


def stands(*values):
    return standing.table(told.every(heard(**{"01_frame_potential": fp1(*values)}))).set_index("claim").loc["FP1"]


@pytest.mark.parametrize(
    "parts, word",
    [
        (["holds", "holds"], "holds"),
        (["reproduced"], "holds"),
        (["holds", "not run"], "holds where run"),
        (["reproduced", "not reproduced", "not run"], "holds and fails"),
        (["fails", "not run", "no verdict at this size"], "fails where run"),
        (["holds", "open", "not run"], "holds in part"),
        (["holds", "fails", "not in reach"], "holds and fails"),
        (["holds", "open"], "holds in part"),
        (["reproduced", "not in reach"], "holds where run"),
        (["holds", "fails", "open"], "holds and fails"),
        (["fails", "open"], "fails in part"),
        (["not reproduced", "fails"], "fails"),
        (["open", "not in reach", "not run"], "open"),
        (["not in reach", "not run"], "not in reach"),
        (["not run"], "not run"),
        (["no verdict at this size"], "not run"),
        ([], "not run"),
    ],
)
def test_a_claim_stands_where_its_parts_stand(parts, word):
    assert standing.word(parts) == word
    assert word in standing.WORDS


def test_a_claim_is_as_sure_as_its_least_sure_part():
    sure, less = stands(AT), stands(AT, [0.2, 1.0, 1.8, 0.6, 1.4])
    assert sure.sure > less.sure > 0
    assert stands().sure == stands([1.0]).sure == -1
    assert (sure.n, stands(AT, [1.0]).n, stands().n) == (5, 1, 0)


def test_only_the_source_s_parts_count():
    table = verdicts.judge("CO1", {"ResNet50": AT, "fully-connected net": NO})
    row = standing.table(told.every(heard(**{"03_coherence": table}))).set_index("claim").loc["CO1"]
    assert row.word == "holds where run"


def test_every_question_has_chapters_of_the_list_and_other_chapters_come_last():
    listed = [chapter for those in standing.QUESTIONS.values() for chapter in those]
    assert len(listed) == len(set(listed))
    assert set(listed) <= {claim.chapter for claim in claims.load().values()}
    assert standing.question("fishing") == standing.OTHER


def test_a_claim_of_a_chapter_that_no_question_has_stands_at_the_end(monkeypatch, tmp_path):
    row = "- {id: MY1, chapter: fishing, source: '000', where: w, claim: Fish bite., measure: m, expect: e}"
    text = claims.FILE.read_text(encoding="utf-8")
    monkeypatch.setattr(claims, "FILE", tmp_path / "claims.yml")
    claims.FILE.write_text(f"{row}\n{text}", encoding="utf-8")
    html = scoreboard.board({}).data
    assert html.index('id="NC7"') < html.index(f">{standing.OTHER}<") < html.index('id="MY1"')


def test_claims_and_questions_have_few_words_and_known_sources():
    for claim in claims.load().values():
        assert set(standing.sources(claim)) <= set(standing.SOURCES), claim.id
        written = claim.chapter in standing.pages()
        assert written or claim.short, claim.id
        assert len(claim.short.split()) <= (13 if written else 10), claim.id


def rows(html):
    return {row[0]: row[1] for row in re.findall(r'<tr id="(\w+)" (.*?)</tr>', html, re.S)}


@pytest.fixture(scope="module")
def html():
    return scoreboard.board(heard(**{"01_frame_potential": fp1(AT, NO, [1.0])})).data


def test_every_claim_has_one_row_and_one_square(html):
    asked = [claim.id for claim in claims.load().values() if not claim.asks]
    assert sorted(rows(html)) == sorted(asked)
    assert sorted(re.findall(r'href="#(\w+)"', html)) == sorted(asked)


def test_a_row_has_the_word_the_parts_and_what_filters_and_leads_to_its_chapter(html):
    row = rows(html)["FP1"]
    for told_ in ('data-word="holds and fails"', 'data-source="000"', 'data-own="0"', 'data-nets="1"',
                  'href="01_frame_potential.html#claim-FP1"', "holds in 1 of 3 layers, fails in 1, open in 1",
                  "LeNet fc1: holds; +1.00 points (+0.90 to +1.10), 5 nets", "1 of 5 nets so far",
                  "3 parts"):  # fmt: skip
        assert told_ in row
    assert row.count("<circle") == 2
    assert "measured on narrow &lt;nets&gt;" in html
    assert "<nets>" not in html


def test_a_claim_of_a_chapter_to_come_is_not_run_and_leads_nowhere(html):
    row = rows(html)["LT1"]
    assert 'data-word="not run"' in row
    assert "<a " not in row
    assert "Lottery ticket (to come)" in html
    assert "<circle" not in row


def test_questions_come_in_order_and_chapters_under_theirs(html):
    places = [html.index(f">{question}<") for question in standing.QUESTIONS]
    assert places == sorted(places)
    assert places[0] < html.index('id="FP1"') < html.index('id="AL1"') < places[1] < html.index('id="CO1"')


@pytest.mark.parametrize(
    "unit, mean, said",
    [
        ("points", 12.0, "+12.0 points (+11.8 to +12.2), 3 nets"),
        ("points", -0.5, "-0.50 points (-0.75 to -0.25), 3 nets"),
        ("share", 0.0, "+0.00 share (-0.25 to +0.25), 3 nets"),
        ("log ratio", 0.0, "+0.0 % (-22.0 to +28.2), 3 nets"),
        ("log ratio per doubling", 0.0, "+0.0 % per doubling (-22.0 to +28.2), 3 nets"),
        ("log ratio", 2.0, "7.4 times (5.8 to 9.5), 3 nets"),
    ],
)
def test_sizes_are_said_with_their_interval_as_in_every_table_of_a_chapter(unit, mean, said):
    row = vars(verdicts.verdict([mean - 0.1, mean, mean + 0.1])) | dict(unit=unit)
    assert size(row) == said == f"{measured(row)}, 3 nets"


def test_a_ratio_that_a_part_says_falls_is_written_as_the_fall_on_every_page():
    rows = verdicts.judge("SS4", {"distance of the hidden weights": [0.05, 0.06, 0.07, 0.055, 0.065]})
    falls = "-5.8 % per doubling (-6.7 to -4.9)"
    assert scoreboard.came(rows[rows.by == "source"]) == f"{falls}, 5 nets"
    assert falls in board.table(rows).data
    assert f"distance of the hidden weights: mean {falls}" in strips.of_nets(rows.iloc[0])
    assert rows.verdict[0] == "reproduced"


def test_claims_whose_parts_were_not_all_run_are_counted_apart():
    part = heard(**{"01_frame_potential": fp1(AT)})
    said = scoreboard.sentences(part)["standing_read"]
    assert said == "Nets were run for 1 of them: holds where run 1."
    page = scoreboard.board(part).data
    assert 'data-word="holds where run"' in rows(page)["FP1"] and '<li data-word="holds">' not in page
    assert "holds where run: in 1 of 3 layers, not run in 2" in rows(page)["FP1"]
    assert '<li data-word="holds where run">' in page


@pytest.mark.parametrize(
    "values, said",
    [
        ([0.0004, 0.0005, 0.0006], "+0.00050 points (+0.00025 to +0.00075), 3 nets"),
        ([0.0, 0.0, 0.0], "+0.00 points (+0.00 to +0.00), 3 nets"),
    ],
)
def test_small_numbers_keep_two_digits(values, said):
    assert size(vars(verdicts.verdict(values)) | dict(unit="points")) == said


def test_what_claims_were_measured_on_stands_once_where_all_have_the_same():
    fg = [verdicts.judge("FG1", {"LeNet fc1: modularity": AT}, on=on) for on in ("", "narrow")]
    fg2 = verdicts.judge("FG2", {"VGG19 conv16: modularity": AT}, on="narrow")
    import pandas as pd

    apart, same = (scoreboard.board(heard(**{"02_force_graph": pd.concat([one, fg2])})).data for one in fg)
    assert same.count("measured on narrow") == 1 and "as in the source" not in same
    assert "as in the source" in rows(apart)["FG1"] and "measured on narrow" in rows(apart)["FG2"]


def test_one_net_has_no_interval():
    found = verdicts.verdict([1.0])
    assert size(vars(found) | dict(unit="points")) == "+1.00 points, 1 net"


def test_the_rows_of_all_parts_are_there_as_csv(html):
    packed = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', html)[1]
    found = list(csv.DictReader(io.StringIO(base64.b64decode(packed).decode())))
    assert [row["verdict"] for row in found if row["claim"] == "FP1"] == ["holds", "fails", "open", "not run"]
    assert {row["claim"] for row in found} == set(rows(html))


def test_what_is_said_agrees_with_what_is_listed(html):
    said = scoreboard.sentences(heard(**{"01_frame_potential": fp1(AT)}))
    assert said["claims_made"] == len(rows(html)) == said["claims_here"] + said["claims_to_come"]
    assert said["questions_asked"] == scoreboard.questions().data.count("<li ")
    assert said["claims_made"] + said["questions_asked"] == len(claims.load())
    assert said["standing_read"] == "Nets were run for 1 of them: holds where run 1."
    assert said["unheard"].startswith("Chapters without a verdict in this build: 2, 3, 4, ")
    whole = scoreboard.sentences(dict.fromkeys(standing.pages().values(), heard(x=fp1(AT))["x"]))
    assert whole["unheard"] == ""


@pytest.mark.parametrize(
    "nets, ones, told",
    [
        ([5, 5], ["net", "net"], "5 nets"),
        ([3, 0, 5], ["net", "net", "seed"], "3 to 5 nets or seeds"),
        ([5, 5], ["net", "seed"], "5 nets or seeds"),
        ([1], ["draw"], "1 draw"),
        ([0], ["net"], ""),
    ],
)
def test_parts_are_counted_by_what_their_numbers_are_of(nets, ones, told):
    assert numbers.counts(nets, ones) == told
