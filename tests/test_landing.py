"""The landing page's picture and findings, and the page on verdicts: what they say is what the records have."""

import ast
import html
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from test_scoreboard import AT, NO, heard

from pruning_lab import Recipe, Train
from pruning_lab.experiments import LayerGraph, Snapshots, UnitCurve
from pruning_lab.report import board, claims, explained, landing, standing, told, verdicts
from pruning_lab.report.evidence import Evidence
from pruning_lab.running import chapters
from pruning_lab.units import structure
from pruning_lab.widgets import removal

UNITS = 6


def packed(rng=0):
    rows = np.random.default_rng(rng).normal(size=(2, UNITS, 4))
    norms = np.linalg.norm(rows, axis=2)
    units = rows / norms[..., None]
    return structure.pack(one @ one.T for one in units), norms


@pytest.fixture
def found(made_up):
    """A layer of six units, of which those at 1 and 4 never fire, in made-up records."""
    net = Train("digits", "conv_2", Recipe(iterations=6), 1, width=4)
    graph = LayerGraph(Snapshots(net, ("fc1",), (0, 6)), "fc1")
    cosines, norms = packed()
    orders = {
        "order.norm": [4, 1, 0, 2, 3, 5],
        "order.frame_potential": range(UNITS),
        "order.random": [5, 4, 3, 2, 1, 0],
    }
    arrays = {name: np.array(order, dtype=np.int16) for name, order in orders.items()}
    arrays |= dict.fromkeys(("communities", "clusters"), np.zeros(UNITS, np.int16))
    classes = np.array([[0] * UNITS, [0, -1, 1, 2, -1, 3]], np.int16)
    arrays |= dict(cosines=cosines, norms=norms.astype(np.float16), classes=classes)
    made_up(graph, [dict(iteration=i, epoch=float(i), accuracy=0.5) for i in (0, 6)], **arrays)
    rows = [dict(criterion=c, remove=r, repeat=0, removed=n, accuracy=round(start - n / 10, 3), loss=1.0)
            for c, start in (("norm", 0.9), ("random", 0.8)) for r in ("lowest", "highest")
            for n in range(UNITS + 1)]  # fmt: skip
    made_up(curve := UnitCurve(net, "fc1"), rows)
    return Evidence("night", (graph, curve), ())


def data(html):
    return json.loads(re.search(r"data-removal='(.*?)'>", html)[1].replace("&#39;", "'").replace("&amp;", "&"))


def test_the_picture_has_the_record_s_units_orders_and_accuracies(found):
    html = landing.removal(found, "conv_2", "fc1").data
    told_ = data(html)
    assert told_["orders"] == {"shortest weight vector": [4, 1, 0, 2, 3, 5], "any, at random": [5, 4, 3, 2, 1, 0]}
    assert told_["share"]["shortest weight vector"] == [900, 800, 700, 600, 500, 400, 300]
    assert told_["share"]["any, at random"][0] == 800
    assert told_["silent"] == [1, 4]
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", html)[0])
    dots = svg.find("g[@class='lab-units']").findall("circle")
    assert [dot.get("class") for dot in dots] == [None, "s", None, None, "s", None]
    assert "<h2>About a third of these neurons never fire (2 of 6)</h2>" in html
    assert "none of the first 1,000 training images" in html
    assert '<form hidden><label>Neurons removed <input type="range" min="0" max="6"' in html
    assert "digits" in html
    assert "0, 3 and 6 neurons removed. shortest weight vector: 90.0, 60.0 and 30.0 %;" in html


def test_a_layer_that_was_not_measured_is_said_to_be_none(found):
    for lacks in (Evidence("night", (), ()), Evidence("night", found.experiments[:1], ())):
        assert landing.removal(lacks, "conv_2", "fc1").data == landing.NOTHING


@pytest.mark.parametrize(
    "silent, units, said",
    [
        (0, 8, "Each of these neurons fires"),
        (1, 8, "One of these 8 neurons never fires"),
        (2, 256, "Some of these neurons never fire (2 of 256)"),
        (64, 256, "About a quarter of these neurons never fire (64 of 256)"),
        (4, 8, "Half of these neurons never fire (4 of 8)"),
        (120, 256, "Nearly half of these neurons never fire (120 of 256)"),
        (133, 256, "More than half of these neurons never fire (133 of 256)"),
        (59, 100, "More than half of these neurons never fire (59 of 100)"),
        (200, 256, "Most of these neurons never fire (200 of 256)"),
        (250, 256, "Nearly all of these neurons never fire (250 of 256)"),
        (8, 8, "None of these 8 neurons ever fires"),
    ],
)
def test_the_heading_says_how_many_never_fire(silent, units, said):
    assert landing.heading(np.arange(units) < silent) == said


def test_units_lie_where_they_lay_before_and_within_the_picture():
    cosines, norms = packed()
    places = removal.places(cosines, norms)
    assert np.array_equal(places, removal.places(cosines, norms))
    assert np.abs(places).max() == 1
    assert len(np.unique(places, axis=0)) == UNITS


def test_vectors_that_point_alike_lie_nearer_than_others():
    rows = np.repeat(np.eye(2, 6), 8, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(16, 6))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    places = removal.places(structure.pack([unit @ unit.T]), np.ones((1, 16)))
    gap = np.linalg.norm(places[:, None] - places, axis=2)
    same = np.equal.outer(np.arange(16) // 8, np.arange(16) // 8)
    assert gap[same & ~np.eye(16, dtype=bool)].mean() < 0.6 * gap[~same].mean()


@pytest.mark.parametrize("order, count", [([0, 1, 2, 3, 4, 4], 7), ([0, 1, 2], 7), (range(6), 6)])
def test_an_order_that_is_none_and_a_curve_that_ends_early_are_refused(order, count):
    with pytest.raises(ValueError, match="'first': expected an order of 6 units and 7 accuracies"):
        removal.picture(
            np.zeros((6, 2)), np.ones(6), np.zeros(6, bool), {"first": order}, {"first": [0.5] * count}, "", ""
        )


# findings


def sentences():
    """The landing page's table, as its cells make it."""
    cells = ["".join(cell["source"]) for cell in chapters.read(chapters.FOLDER / "intro.ipynb")["cells"]]
    names = {}
    for cell in cells:
        for node in ast.parse(cell).body if cell.startswith("FINDINGS") else ():
            if isinstance(node, ast.Assign | ast.AugAssign) and "FINDINGS" in ast.dump(node):
                exec(compile(ast.Module([node], []), "intro", "exec"), names)
    return names["FINDINGS"]


def test_there_are_five_findings_each_with_a_sentence_for_every_outcome_that_is_short():
    table = sentences()
    parts = {
        f"{claim.id}: {part.name}" for claim in claims.load().values() for part in claim.parts if part.by == "source"
    }
    assert len(table) == 5
    assert set(table) <= parts
    for said in table.values():
        assert set(said) == {"yes", "no", "open", "none"}
        assert all(len(text.split()) <= 20 for text in said.values())
        assert not re.search(r"\d", " ".join(said.values()))


@pytest.mark.parametrize(
    "values, outcome", [(AT * 3, "yes"), (NO * 3, "no"), ([-1.0, 0.0, 1.0] * 3, "open"), ([], "none")]
)
def test_the_verdict_chooses_the_sentence(values, outcome):
    table = verdicts.judge("WI3", {"peak": values}, on="narrow <nets>")
    html = landing.findings(
        heard(**{"05_width": table}), {"WI3: peak": dict(yes="Y {size}", no="N", open="O", none="-")}
    )
    first = dict(yes="Y 2.7 times per doubling", no="N", open="O", none="-")[outcome]
    assert html.data.startswith(f'<ul class="lab-findings"><li>{first}')
    assert ("On narrow &lt;nets&gt;." in html.data) == bool(values)
    assert 'href="05_width.html#claim-WI3"' in html.data


def test_the_small_board_leads_to_the_large_one():
    html = landing.small_board({}).data
    assert set(re.findall(r'href="([^#"]*)#', html)) == {"claims.html"}


# how verdicts are made


def test_the_examples_are_judged_by_the_rule():
    html = explained.examples().data
    words = re.findall(r"<td>([a-z: ]+)</td></tr>", html)
    assert words == ["holds", "open: the interval spans zero", "fails", "holds", "holds"]
    assert html.count("<circle") == 3 * len(explained.EXAMPLES)


def test_what_our_nets_contradict_is_listed_and_nothing_else():
    fails = verdicts.judge("CO1", {"ResNet50": NO * 2, "ViT": AT * 2, "fully-connected net": NO * 2})
    html = explained.against(heard(**{"03_coherence": fails})).data
    assert html.count("<li>") == 1
    assert "CO1, 2.1, figs 2.1, 2.2; ResNet50: 0.4 times" in html
    assert explained.against({}).data == "<p>None in this build.</p>"


def test_chance_and_amendments_are_those_of_all_claims():
    known = heard(**{"03_coherence": verdicts.judge("CO1", {"ResNet50": AT, "ViT": AT})})
    said = explained.sentences(known)
    assert said["chance"] == board.by_chance(told.every(known))
    assert "2 claim a difference" in said["chance"]
    changed = [claim.id for claim in claims.load().values() if claim.amended]
    fold = said["amended_list"].data
    assert f"<summary>{len(changed)} claims amended" in fold and fold.count("<li>") == len(changed)
    assert all(f">{id}</a>" in fold or f"<li>{id}" in fold for id in changed)
    assert ">CO1</a>: holds, before open</li>" in fold
    asked = [claim for claim in claims.load().values() if not claim.asks]
    both = sum(bool(claim.amended) for claim in asked)
    assert said["amended"].startswith(f"{both} of {len(asked)} claims were amended after they were written down, ")
    assert "1 of the 1 that this build has run changed their word; a fold" in said["amended"], "not run is no change"
    assert not any(id in said["amended"] for id in changed)


def test_the_word_before_an_amendment_is_read_from_its_line():
    words = {claim.id: explained.before(claim) for claim in claims.load().values() if claim.amended}
    assert set(words.values()) <= set(standing.WORDS)
    assert (words["FP1"], words["FP2"], words["SS1"]) == ("holds in part", "holds and fails", "not run")
    assert explained.amended([], {}) == "No claim was amended after its first run."


def test_no_amendment_is_no_fold():
    assert explained.listed([], {}).data == ""


def test_where_sources_disagree_is_what_the_list_of_claims_notes():
    assert set(explained.divided().claim) == {claim.id for claim in claims.load().values() if claim.note}


def test_each_curve_has_its_name_beside_it(found):
    plot = re.findall(r"<svg.*?</svg>", landing.removal(found, "conv_2", "fc1").data)[1]
    assert ">neurons removed</text>" in plot and ">test images right</text>" in plot  # both axes say what they are
    names = {name: float(y) for y, name in re.findall(r'<text x="\d+" y="(\d+)"[^>]*class="lab-name">([^<]+)<', plot)}
    assert list(names) == ["shortest weight vector", "any, at random"]
    assert names["shortest weight vector"] < names["any, at random"]  # as the curves lie: SVG counts downwards


def test_the_picture_says_where_its_numbers_are_from(found):
    foot = html.unescape(landing.removal(found, "conv_2", "fc1").data).partition("<figcaption>")[2]
    assert f"</summary>{found.origin()}</details>" in foot
