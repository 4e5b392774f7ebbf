"""The redundancy of a net in words, figures and one file, on made-up reports."""

import re
from dataclasses import replace
from urllib.parse import unquote

import pandas as pd
import pytest

from pruning_lab.__main__ import main
from pruning_lab.publish import one_file
from pruning_lab.redundancy import LATE, Report
from pruning_lab.redundancy.found import ALL, COLUMNS, means, table
from pruning_lab.report import redundancy as told
from pruning_lab.report import redundancy_words as words_of

EVIL = "</script><img src=x onerror=alert(1)><b>a&b"


def made(free=(4, 2), names=("a", EVIL), left=0.9, reason="tied because of a sum", pace=(1.2, 2.0)):
    """A report on a net of two layers of ten units and one that is kept; `free`: None of a layer kept whole."""
    layers = [dict(layer=n, kind="units", units=10, dead=1, repeated=2, free=f, share=f / 10, criterion="norm",
                   random=1.0)
              if f is not None else dict(layer=n, kind="units", units=10, reason=reason)
              for n, f in zip(names, free, strict=True)]  # fmt: skip
    layers.append(dict(layer="out", kind="units", units=3, dead=0, repeated=0, reason="the model's outputs"))
    curves = [dict(layer=n, criterion=c, seed=0, removed=k, accuracy=0.95 - k / 20)
              for n, f in zip(names, free, strict=True) if f is not None
              for c in ("norm", "random") for k in (0, 5)]  # fmt: skip
    units = [dict(layer=names[0], unit=k, norm=1.0 + k, overlap=1.0, nearest=0.5, repeats=k == 3, moved=1.0, worth=0.1)
             for k in range(10)]  # fmt: skip
    savings = [dict(layer=ALL, left_out=s, units=6 * s, parameters=100 - 50 * s, multiply_adds=90.0 - 40 * s,
                    milliseconds=2.0 - s, faster=1 + s / 2, slowest=pace[0], fastest=pace[1],
                    accuracy=0.95 + s * (left - 0.95)) for s in (0.0, 0.5, 1.0)]  # fmt: skip
    rows = dict(
        layers=layers, curves=curves, units=units, savings=savings,
        why=[dict(layer=names[0], units=10, norm=0.5, angle=0.1, norm_alone=0.5, angle_alone=0.1, by="norm")],
        spectra=[dict(layer=names[0], rows=10, columns=20, stable_rank=3.5, spikes=2)],
        gradients=[dict(layer=ALL, parameters=9, coherence=0.1, unbiased=0.05, diffs=0.2, beyond=0.0)],
        masks=[dict(layer=names[0], weights=200, kept=20, density=0.1)],
        edges=[dict(layer=names[0], one=0, other=3, cosine=0.95)],
        prices=[dict(layer=ALL, part="curves", seconds=3.0, images=100)],
    )  # fmt: skip
    return Report(net="Net", accuracy=0.95, chance=0.4, images=100, measured_on="test", parameters=100,
                  multiply_adds=90.0, in_shape=(1, 2, 2), seconds=3.0, device="cpu",
                  **{n: table(n, r) for n, r in rows.items()})  # fmt: skip


EMPTY = replace(made(free=(None, None)), **{n: table(n, []) for n in COLUMNS if n != "layers"})
OUTCOMES = {
    "lost": made(), "kept": made(left=0.945), "won": made(left=0.97), "one layer": made(free=(4, None)),
    "none": made(free=(None, None)), "nothing smaller": replace(made(), savings=table("savings", [])), "empty": EMPTY,
    "beyond": replace(made(), beyond=94),
    "beyond all": replace(EMPTY, beyond=94), "guesses": replace(made(), accuracy=0.45),
    "beyond, few images": replace(made(), beyond=94, images=79),
}  # fmt: skip


@pytest.mark.parametrize(
    "free, of_layers, drawn",
    [
        ((4, 2), "Layer 1 can spare most, 40 % of 10; layer 3 least, 20 % of 10.", "This is layer 1, which can"),
        ((4, 4), "Each of 2 layers can spare 40 % of its units.", "This is layer 1, which can spare most without"),
        ((10, 10), "Each of 2 layers can spare 100 % of its units.", "This is layer 1. Dotted:"),
        ((4, None), "Layer 1 can spare 40 % of its units.", "This is layer 1, which"),
    ],
)
def test_layers_of_a_plain_row_are_called_layers_and_none_is_both_most_and_least(free, of_layers, drawn):
    spared, curve, idle, *_ = told.sections(made(free=free, names=("1", "3")), "command")
    assert spared.after.startswith(of_layers) and curve.after.startswith(drawn)
    assert [*idle.figure.data[-1].y][:2] == ["layer 1", "layer 3"]
    assert [*told.sections(made(), "command")[2].figure.data[-1].y][0] == "a"
    drawn = told.spared(made(free=(4, None)), "command").figure.data
    assert {layer for trace in drawn for layer in trace.y or ()} == {"a"}  # no row for what could not be looked at


@pytest.mark.parametrize(
    "pace, said",
    [
        ((1.2, 2.0), "and is 1.50 times as fast (1.20 to 2.00 times as fast in 5 rounds)"),
        ((0.9, 1.4), "and is no faster as far as this machine tells (0.90 to 1.40 times as fast in 5 rounds)"),
        ((0.7, 0.9), "and is slower (0.70 to 0.90 times as fast in 5 rounds)"),
    ],
)
def test_a_speed_is_told_as_far_as_rounds_agree(pace, said):
    assert said in told.sections(made(pace=pace), "command")[8].after


def test_what_is_kept_is_counted_as_what_it_is():
    def kept(found):
        return told.sections(found, "command")[0].after

    mix = dict(layer="mix", kind="weights", units=float("nan"), reason="a parameter of its own")
    found = made(free=(4, None))
    assert "2 layers kept whole" in kept(found)
    found = replace(found, layers=pd.concat([found.layers, table("layers", [mix])], ignore_index=True))
    assert "2 layers and 1 other with weights of a kind of their own kept whole" in kept(found)


def test_numbers_of_a_few_looks_are_said_to_be_at_least_true():
    few = made()
    every = replace(few, curves=table("curves", [dict(layer="a", criterion="norm", seed=0, removed=k, accuracy=0.9)
                                                 for k in range(11)]))  # fmt: skip
    assert "at least" in words_of.answer(few) and "at least" not in words_of.answer(every)
    for found, looked in ((few, True), (every, False)):
        spared, curve = told.sections(found, "command")[:2]
        assert ("looked at in a few places" in spared.after) == looked == ("Dots are where" in curve.after)


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_answer_is_short_for_every_outcome(name):
    words = words_of.answer(OUTCOMES[name])
    assert len(words.split()) <= 45 and len(re.findall(r"\d+(?:\.\d+)?", words)) <= 3 and "nan" not in words


def test_the_answer_s_numbers_are_those_of_the_tables():
    assert words_of.answer(made()).startswith("Layer by layer, at least 30 % of the units can go")
    assert "random order 10 %" in words_of.answer(made()) and "that loses 5.0 points of accuracy" in words_of.answer(
        made()
    )
    few = words_of.answer(replace(made(), images=79))
    assert few.startswith("Layer by layer, at least 30 % of the units can go before the net misses more")
    assert "point;" not in few and "random" not in few
    assert "changes by +2.0 points" in words_of.answer(made(left=0.97))
    assert "accuracy stays as it is" in words_of.answer(made(left=made().accuracy))
    late = made(free=(4, None))
    late.layers.loc[late.layers.free.isna(), "reason"] = f"{LATE}: allow more"
    some = "In the layers that could be looked at (others: below), at least 40 % of the units can go"
    assert words_of.answer(late).startswith(some) and words_of.answer(made(free=(4, None))).startswith(some)
    assert words_of.answer(replace(late, beyond=94)).startswith(some)  # what is tied is no part of the 6 %
    assert "No layer's units could be taken out" in words_of.answer(EMPTY)
    assert words_of.answer(replace(made(), beyond=94)).startswith(
        "In layers with 6 % of the parameters (others: below), at least 30 % of the units can go"
    )
    assert "94 % of the parameters are in layers of kinds" in words_of.answer(replace(EMPTY, beyond=94))
    assert "45 % of the images rightly, and guessing 40 %: " in words_of.answer(replace(made(), accuracy=0.45))


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_outcome_has_all_sections_and_their_figures_say_what_they_show(name):
    parts = told.sections(OUTCOMES[name], "python -m pruning_lab report")
    assert len(parts) == 10 and all(part.heading for part in parts)
    for part in parts:
        assert "nan" not in part.before + part.after and (part.figure is not None or part.before or part.after)
        if part.figure is not None:
            assert part.figure.layout.meta["alt"] and part.figure.layout.meta["command"].startswith("python -m")


def test_columns_of_the_file_say_what_they_hold_where_their_names_do_not():
    text = one_file.page("T", "A", "O", told.sections(made(), "x"), words_of.rounded, means)
    assert "<dt>free</dt><dd>units that go in the best order before accuracy falls by more than a point</dd>" in text
    assert "<dt>norm</dt><dd>length of the unit&#x27;s weight vector</dd>" in text  # of units, and not of why
    plain = {"layer", "units", "unit", "seed", "rows", "columns", "parameters", "weights", "one", "other", "cosine",
             "milliseconds", "seconds", "images"}  # fmt: skip
    for name, columns in COLUMNS.items():
        assert {column for column in columns if not means(name, column)} <= plain, name


def test_a_net_at_chance_is_told_so():
    assert "Careful" not in told.spared(made(), "x").after
    assert (
        "45 % of the images rightly, and the most common class has 40 %"
        in told.spared(replace(made(), accuracy=0.45), "x").after
    )


def test_what_was_not_measured_is_listed_with_its_reason():
    rest = told.sections(made(free=(4, None)), "x")[-1].tables["not measured"]
    assert (
        list(rest.reason) == ["tied because of a sum", "the model's outputs"]
        and "2 rows" in told._rest(made((4, None))).before
    )


def test_numbers_are_written_short_and_nothing_where_nothing_was_measured():
    shown = words_of.rounded(
        pd.DataFrame(dict(a=[1.0, float("nan"), 0.123456], b=[1234567, 2, 3], c=[True, None, "x"]))
    )
    assert shown.to_numpy().tolist() == [["1", "1,234,567", "yes"], ["", "2", ""], ["0.1235", "3", "x"]]


def page(found):
    return one_file.page(
        "Redundancy of x", words_of.answer(found), words_of.origin(found), told.sections(found, "x"), words_of.rounded
    )


def test_the_file_holds_plotly_once_asks_no_other_host_and_shows_names_as_text():
    text = page(made())
    assert text.count("plotly.js v") == 1 and "default-src &#x27;none&#x27;" in text
    assert not re.search(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=", text)
    assert EVIL not in text and "<img" not in text.partition("<script>/**")[0]
    assert text.count("</script>") == text.count('<script type="application/json">') + 2


def test_the_file_s_tables_are_there_as_csv_that_no_spreadsheet_runs():
    found = made(names=("=1+1", "b"))
    links = dict(re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]*)"', page(found)))
    assert {f"{name}.csv" for name in COLUMNS} <= {*links} and "not_measured.csv" in links
    rows = unquote(links["layers.csv"]).splitlines()
    assert rows[0] == ",".join(COLUMNS["layers"]) and rows[1].startswith("'=1+1,units,10,1,2,4,0.4,norm,1")


def test_a_long_table_is_cut_on_the_page_and_whole_in_its_csv():
    many = replace(
        made(), masks=table("masks", [dict(layer=f"l{k}", weights=1, kept=1, density=1.0) for k in range(99)])
    )
    text = page(many)
    assert "the first 60 of 99 rows" in text and "<td>l59</td>" in text and "<td>l60</td>" not in text
    assert "l98" in unquote(re.search(r'download="masks.csv" href="([^"]*)"', text)[1])


def test_the_command_writes_the_file_and_says_the_price_and_the_answer(tmp_path, monkeypatch, capsys):
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import torch\nfrom torch import nn\n"
        "make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))\n"
        "data = (torch.rand(40, 1, 2, 2), torch.arange(40) % 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["report", f"{name}:make", "--data", f"{name}:data", "-o", "r.html", "--minutes", "0.02"]) == 0
    said = capsys.readouterr().out
    first, price = said.splitlines()[:2]
    assert first.startswith("reading the net and its data") and price.startswith("about ") and "r.html" in said
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"Redundancy of {name}:make" in text and [p.name for p in tmp_path.glob(".*part")] == []
    assert main(["report", f"{name}:make", "--data", f"{name}:data", "-o", "no/r.html"]) == 2
    assert main(["report", "nowhere:make", "--data", f"{name}:data"]) == 2
    assert "there is no folder" in (errors := capsys.readouterr().err) and "cannot be imported" in errors


def test_units_are_whole_numbers_beside_weights_that_have_none():
    found = made()
    others = dict(layer="embedding", kind="weights", units=float("nan"), reason="of kind Embedding")
    found = replace(found, layers=table("layers", [*found.layers.to_dict("records"), others]))
    after = told.spared(found, "x").after
    assert "% of 10;" in after and "% of 10." in after and "nan" not in after and "10.0" not in after
