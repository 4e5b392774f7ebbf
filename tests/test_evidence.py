"""Verdicts by the table of the design, which profile a page shows, and the measures, each beside a naive loop."""

import math
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pruning_lab import Recipe, Train, metrics
from pruning_lab.records import finding, store
from pruning_lab.records.store import Experiment, Result
from pruning_lab.report import board, claims, evidence
from pruning_lab.running import chapters
from pruning_lab.widgets import graph_still
from pruning_lab.widgets.still import Still


def test_all_claims_are_there_once():
    found = claims.load()
    assert len(found) == 94, "a row of book/claims.yml is new or gone: count them here"
    assert all(key == row.id for key, row in found.items())
    assert all(row.margin for row in found.values() if row.kind in ("same", "size"))


def test_the_landing_page_names_no_claim_by_hand_and_the_questions_are_known():
    """Its squares and findings come from the list of claims and from the verdicts (test_landing.py)."""
    written = {path.stem[3:] for path in chapters.chapters()}
    here = [claim for claim in claims.load().values() if claim.chapter in written]
    intro = chapters.read(chapters.FOLDER / "intro.ipynb")
    text = "".join("".join(cell["source"]) for cell in intro["cells"] if cell["cell_type"] == "markdown")
    assert {claim.id for claim in here if claim.asks} == {f"OQ{k}" for k in range(1, 8)}
    assert not re.findall(r"\b[A-Z]{2}\d\b", text)


# which profile a page shows


@dataclass(frozen=True)
class Net(Experiment):
    model: str
    dataset: str = "mnist"
    seed: int = 0

    def compute(self):
        return Result(pd.DataFrame(dict(accuracy=[0.5])))

    def label(self):
        return f"{self.model}-{self.dataset}-s{self.seed}"

    def data_read(self):
        return {self.dataset + "/test": dict(digest="0", lossy=23 if self.dataset == "cifar10" else 0)}


@dataclass(frozen=True)
class Curve(Experiment):
    parent: Net
    layer: str = "fc1"

    def compute(self):
        return Result(pd.DataFrame(dict(removed=[0, 1])))

    def label(self):
        return f"{self.parent.label()}-{self.layer}"


@pytest.fixture
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))


def nets(model, n, have=0):
    found = [Net(model, seed=s) for s in range(n)]
    for e in found[:have]:
        store.run(e)
    return found


def test_the_largest_whole_profile_is_shown(shelves):
    plans = dict(night=nets("a", 3, 3), gpu=nets("b", 3, 3), paper=nets("c", 10, 2), laptop=nets("d", 3, 3))
    found = evidence.largest(plans)
    assert found.profile == "gpu" and found.experiments == tuple(plans["gpu"]) and not found.missing


def test_three_seeds_on_every_line_are_enough(shelves):
    found = evidence.largest(dict(night=nets("a", 3, 3), paper=nets("c", 10, 4)))
    assert found.profile == "paper" and len(found.experiments) == 4 and not found.missing


def test_of_whole_profiles_the_one_with_most_records_is_shown_whatever_is_planned(shelves):
    plans = dict(night=nets("a", 5, 5), gpu=nets("b", 8, 4), paper=nets("c", 10, 3))
    assert evidence.largest(plans).profile == "night"
    nets("b", 8, 6)
    assert evidence.largest(plans).profile == "gpu"
    nets("c", 10, 7)
    assert evidence.largest(plans).profile == "paper"


def test_of_profiles_that_hold_the_same_records_the_smallest_plan_is_shown(shelves):
    plans = dict(night=nets("a", 3, 3), gpu=nets("a", 5), paper=nets("a", 10))
    found = evidence.largest(plans)
    assert found.profile == "night" and found.experiments == tuple(plans["night"]) and not found.missing
    assert evidence.largest(dict(gpu=plans["gpu"], paper=plans["paper"])).profile == "gpu"
    nets("a", 10, 5)
    assert evidence.largest(plans).profile == "gpu"  # night holds three of the five only
    nets("a", 10, 6)
    assert evidence.largest(plans).profile == "paper"


def test_a_whole_profile_comes_before_one_with_more_records_and_a_gap(shelves):
    plans = dict(night=nets("a", 3, 3), paper=nets("b", 10, 10) + nets("c", 10, 10) + nets("d", 10, 2))
    assert evidence.largest(plans).profile == "night"


def test_small_profiles_are_never_shown_as_the_largest(shelves):
    found = evidence.largest(dict(laptop=nets("d", 3, 3), smoke=nets("e", 3, 3)))
    assert not found and found.profile == "none" and found.table(Net).empty and found.origin() == "profile none"


def test_where_none_is_whole_the_most_whole_lines_win_and_the_missing_are_named(shelves):
    paper = nets("a", 5, 5) + nets("b", 5, 2) + [e for k in range(6) for e in nets(f"x{k}", 3)]
    night = nets("c", 3, 3) + nets("d", 3, 3) + nets("e", 3, 1)
    found = evidence.largest(dict(paper=paper, night=night))
    assert found.profile == "night" and found.missing == ("e-mnist: 1 of 3",) and len(found.experiments) == 7
    found = evidence.largest(dict(paper=paper, night=night[:3] + night[6:]))
    # the one with more records of two with one whole line, however many lines have nothing
    assert found.profile == "paper"
    assert found.missing == ("b-mnist: 2 of 3", *(f"x{k}-mnist: 0 of 3" for k in range(6)))


@pytest.mark.parametrize(
    "dataset, profile, words",
    [
        ("cifar10", "paper", ""),
        ("cifar10", "night", "narrow nets"),
        ("cifar10", "laptop", "small nets"),
        ("mnist", "night", "MNIST, narrow nets"),
        ("mnist", "paper", "MNIST"),
        ("digits", "laptop", "digits"),
        ("gaussian:cifar10", "paper", ""),
    ],
)
def test_what_sets_a_run_apart_is_its_data_and_its_size(dataset, profile, words):
    found = evidence.Evidence(profile, (Net("a", dataset), Net("a", dataset, 1)), ())
    assert found.apart(dict(night="narrow nets", paper="")) == words
    assert (
        evidence.Evidence(profile, (Net("a", "digits"), Net("b", dataset)), ()).apart(
            dict(night="narrow nets", paper=""), "b"
        )
        == words
    )


@dataclass(frozen=True)
class Child(Net):
    rate: float = 0.5


def test_lines_of_one_label_are_told_apart_by_what_differs(shelves):
    plan = [Child("a", seed=s, rate=rate) for rate in (0.5, 0.1) for s in range(3)] + [
        Child("b", seed=s) for s in range(3)
    ]
    for e in plan[:4]:
        store.run(e)
    assert evidence.stored("night", plan).missing == ("a-mnist (rate 0.1): 1 of 3", "b-mnist: 0 of 3")


def measured(net, layer, have):
    """Curves of nets, of which the first `have` are stored."""
    found = [Curve(e, layer) for e in net]
    for e in found[:have]:
        store.run(e)
    return found


def test_what_is_missing_is_named_by_its_net_if_that_has_too_few_seeds(shelves):
    few = [Net("a", seed=s) for s in range(3)]
    found = evidence.stored("night", measured(few, "fc1", 2))
    assert found.missing == ("a-mnist: 2 of 3",) and len(found.experiments) == 2
    assert evidence.stored("night", measured(few, "fc1", 3)).missing == ()


def test_what_is_missing_on_nets_that_have_seeds_enough_is_named_by_itself(shelves):
    """A plug-in's group, measured on nets that have their other curves already."""
    whole = [Net("a", seed=s) for s in range(3)]
    plan = measured(whole, "fc1", 3) + measured(whole, "plugin", 0) + measured(whole, "fc2", 2)
    found = evidence.largest(dict(night=plan))
    assert found.missing == ("a-mnist-plugin: 0 of 3", "a-mnist-fc2: 2 of 3") and len(found.experiments) == 5
    measured(whole, "plugin", 3), measured(whole, "fc2", 3)
    assert evidence.largest(dict(night=plan)).missing == ()


def test_single_runs_are_better_than_nothing(shelves):
    found = evidence.largest(dict(paper=nets("a", 5, 1)))
    assert found.profile == "paper" and len(found.experiments) == 1 and found.missing


def test_a_line_is_everything_but_the_seed(shelves):
    assert evidence.line(Net("a", seed=1)) == evidence.line(Net("a", seed=2)) != evidence.line(Net("a", "digits"))
    assert evidence.line(Curve(Net("a", seed=1))) == evidence.line(Curve(Net("a"))) != evidence.line(Net("a"))


def test_nets_that_begin_at_another_s_weights_are_one_line_over_both_seeds():
    recipe = Recipe(epochs=1)
    nets = [
        Train("gaussian:digits", "mlp", recipe, seed=s, start=Train("digits", "mlp", recipe, seed=s)) for s in range(2)
    ]
    assert evidence.line(nets[0]) == evidence.line(nets[1]) != evidence.line(replace(nets[0], start=None))
    assert evidence._label(nets[0]) == "mlp-gaussian-digits-after-digits"


def test_a_gaussian_twin_has_its_data_s_name():
    recipe = Recipe(epochs=1)
    pair = Train("cifar10", "mlp", recipe), Train("gaussian:cifar10", "mlp", recipe)
    assert evidence.Evidence("paper", pair, ()).data("mlp") == "CIFAR-10"


def test_experiments_are_picked_by_class_and_settings(shelves):
    plan = [
        e
        for seed in range(3)
        for e in (Net("a", seed=seed), Curve(Net("a", seed=seed)), Curve(Net("b", "digits", seed), "fc2"))
    ]
    for e in plan:
        store.run(e)
    found = evidence.stored("night", plan)
    assert found.of(Curve, layer="fc1", seed=1) == [Curve(Net("a", seed=1))] and len(found.of(Curve)) == 6
    assert found.table(Curve, model="b").seed.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.data("a") == "MNIST" and found.data("b") == "digits" and found.data("z") == ""


def test_the_origin_says_profile_device_dates_and_lossy_images(shelves, monkeypatch):
    plan = [Net("a"), Net("b", "cifar10")]
    for e, day in zip(plan, ("2026-01-02", "2026-01-04"), strict=True):
        monkeypatch.setattr(store.provenance, "now", lambda day=day: f"{day}T03:04:05Z")
        store.run(e)
    device = store.find(plan[0]).meta["device"]
    found = evidence.stored("night", plan).origin()
    where = f"{device['name']} ({device['type'].upper()})"
    assert found == f"profile night; {where}; 2026-01-02 to 2026-01-04; cifar10/test: 23 images are JPEG copies"
    assert evidence.stored("night", plan[:1]).origin() == f"profile night; {where}; 2026-01-02"
    store.publish(plan[0])  # as evidence it is shown, and marked; what is local and made on other bytes does not count
    monkeypatch.setattr(Net, "data_read", lambda self: {self.dataset + "/test": dict(digest="1", lossy=0)})
    assert "1 of 1 records made on other data bytes (mnist/test)" in evidence.stored("night", plan[:1]).origin()


def test_another_training_of_a_parent_is_explained(shelves, monkeypatch):
    store.run(Net("a"))
    notes = [store.Note("parent", "made from another training of its parent than the published one")]
    monkeypatch.setattr(finding, "_notes", lambda *_: notes)
    said = evidence.stored("night", [Net("a")]).origin()
    assert "1 of 1 records made from another training of its parent than the published one: a parent's weights" in said


def test_a_device_of_any_name_is_no_note_on_data(shelves, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(store.provenance, "device", lambda: dict(name="data bytes", type="cpu", threads=1))
        store.run(Net("a"))
    assert [note.kind for note in store.find(Net("a")).notes] == ["device"]
    assert "records made" not in evidence.stored("night", [Net("a")]).origin()


def test_costs_count_nets_and_what_is_stored(shelves):
    store.run(Net("a"))
    table = evidence.costs(dict(night=[Curve(Net("a")), Curve(Net("b"))], paper=[]))
    assert table[["profile", "records", "stored"]].values.tolist() == [["night", 4, 1], ["paper", 0, 0]]


MARKUP = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '"onload=alert(1) x="', "a & b &lt;",
          "{glue:text}`x` {{ 7*7 }}", "'><svg onload=alert(1)>"]  # fmt: skip


class Words(HTMLParser):
    """The tags of some HTML, and the text of its cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags |= {tag, *(name for name, _ in attrs)}
        if tag in ("td", "th"):
            self.text.append("")

    def handle_data(self, data):
        if self.text:
            self.text[-1] += data


def shown(styler):
    html = Words(styler.to_html())
    assert html.tags <= {"style", "type", "table", "id", "class", "thead", "tbody", "tr", "td", "th", "colspan"}, (
        html.tags
    )
    return [cell.strip() for cell in html.text]


@pytest.mark.parametrize("text", MARKUP)
def test_a_table_shows_markup_letter_by_letter(text):
    class Odd:
        __str__ = lambda self: text  # noqa: E731

    table = pd.DataFrame({text: [text, "b"], "list": [[text], (text,)], "odd": [Odd(), None], "n": [1.5, 2e6],
                          "kind": pd.Categorical([text, text]), "mixed": [0.5, text], 7: [True, False]},
                         index=pd.Index([text, "y"], name=text))  # fmt: skip
    cells = shown(evidence.plain(table.rename_axis(columns=text)))
    heads = [text, "list", "odd", "n", "kind", "mixed", "7"]
    assert [cell for cell in cells if cell][-21:] == [*heads, text, str([text]), text, "1.5", text, "0.500000", "True",
                                                      "b", str((text,)), "None", "2e+06", text, text,
                                                      "False"]  # fmt: skip
    two = pd.DataFrame([[1.0, "b"]], columns=pd.MultiIndex.from_tuples([(text, "x"), ("y", text)], names=[text, None]))
    assert shown(evidence.plain(two)).count(text) >= 2
    assert shown(evidence.plain(pd.DataFrame(columns=[text])))[-1] == text


@pytest.mark.parametrize("text", MARKUP)
def test_a_record_s_words_stay_words_on_every_page(shelves, monkeypatch, text):
    """A device, a data set, a model and a class of any name."""
    plan = [Net(text, text.replace("/", ""))]
    monkeypatch.setattr(store.provenance, "device", lambda: dict(name=text, type="cpu", threads=1))
    monkeypatch.setattr(Net, "label", lambda self: "net")
    monkeypatch.setattr(Net, "data_read", lambda self: {self.dataset: dict(digest="0", lossy=2)})
    store.run(plan[0])
    cells = shown(evidence.plain(evidence.costs({text: plan})))
    assert f"{text}, 1 CPU thread" in cells and text in cells
    found = evidence.stored(text, plan)
    # words for glue and figures, which take them as text
    assert text in found.origin() and found.data() == plan[0].dataset
    head = dict(claim=next(iter(claims.load())), part=text, label=text, kind="differs", unit=text, n=3, mean=1.0,
                low=0.5, high=1.5, verdict=text, reason=text, needed=None, margin=0.0, by="ours", on=text,
                counted=[True] * 3, values=[1.0] * 3)  # fmt: skip
    words = Words(board.table(pd.DataFrame([head | dict(overall=text)])).data)
    drawn = {"svg", "path", "circle", "role", "aria-label", "width", "height", "viewbox", "d", "cx", "cy", "r"}
    assert words.tags <= {
        "table",
        "class",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "p",
        "colspan",
        "id",
        "scope",
        "caption",
        "details",
        "summary",
        "a",
        "href",
        *drawn,
    }
    assert sum(text in cell for cell in words.text) == 4
    meta = dict(units=2, nets=[(text, 2)], epochs=[text], time=text, title=text)
    drawn = graph_still.still(
        meta,
        np.ones((1, 2)),
        {0: (np.array([0]), np.array([1]), np.array([0.5]))},
        sigma=1,
        kernel=0,
        cutoff=0.1,
        seed=0,
    )
    for html in (drawn._repr_html_(), Still("", text)._repr_html_()):
        seen = Words(html)
        assert seen.tags <= {"figure", "class", "figcaption", "svg", "role", "aria-label", "viewbox", "width", "style",
                             "g", "transform", "text", "x", "y", "text-anchor", "font-size", "fill", "path", "d",
                             "stroke", "stroke-opacity", "stroke-width", "circle", "cx", "cy", "r"}  # fmt: skip


def test_reference_numbers_are_read():
    assert evidence.reference("heitmann_lenet_fc1")["accuracy_after_removing"]["random"][100] == 93


# measures


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_frame_potential_is_the_sum_over_ordered_pairs(n, d, seed):
    w = np.random.default_rng(seed).standard_normal((n, d)) * 3
    w[seed % n] *= seed % 2  # now and then a zero row
    total = 0.0
    for a in w:
        for b in w:
            if a.any() and b.any():
                total += float(a @ b) ** 2 / float(a @ a) / float(b @ b)
    assert metrics.frame_potential(torch.tensor(w)) == pytest.approx(total)
    assert metrics.frame_potential(torch.tensor(w)[:, :, None, None]) == pytest.approx(total)


def test_the_frame_potential_has_its_bounds():
    assert metrics.frame_potential(torch.eye(5)) == pytest.approx(5)
    assert metrics.frame_potential(torch.ones(4, 7)) == pytest.approx(16)
    angles = torch.arange(3) * 2 * math.pi / 3
    # a tight frame: n^2 / d
    assert metrics.frame_potential(torch.stack([angles.cos(), angles.sin()], 1)) == pytest.approx(9 / 2)


numbers = st.lists(st.integers(-4, 4), min_size=3, max_size=12)  # with many ties


@given(numbers, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rank_correlation_is_spearman_s(x, random):
    y = random.sample(x, len(x))
    found = metrics.rank_correlation(np.array(x), np.array(y))
    if len(set(x)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@given(st.integers(0, 10**6), st.integers(5, 40))
@settings(max_examples=40, deadline=None)
def test_partial_rank_correlation_is_that_of_the_residuals_of_ranks(seed, n):
    r = np.random.default_rng(seed)
    z = r.standard_normal(n).round(1)
    x, y = z + r.standard_normal(n), z - r.standard_normal(n)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    design = np.stack([np.ones(n), ranks[2]], 1)
    rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in ranks[:2]]
    found = metrics.partial_rank_correlation(x, y, z)
    if min(np.linalg.norm(v) for v in rest) < 1e-9:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-9)


@pytest.mark.parametrize("n", [3, 6, 7, 11, 49, 300, 1000])
def test_partial_rank_correlation_tells_rounding_from_a_remainder(n):
    r = np.random.default_rng(n)
    z, y = np.arange(n) / 3, r.standard_normal(n)
    assert math.isnan(metrics.partial_rank_correlation(np.exp(z / n), y, z)) and math.isnan(
        metrics.partial_rank_correlation(y, -z, z)
    )
    swapped = z.copy()
    swapped[:2] = swapped[1::-1]
    assert abs(metrics.partial_rank_correlation(swapped, y, z)) <= 1 + 1e-9


def test_partial_rank_correlation_is_nan_where_nothing_is_left():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    for triple in ((x, y, x), (x, y, x**3), (y, x, -x), (np.ones(5), y, x), (x, y, np.ones(5))):
        assert math.isnan(metrics.partial_rank_correlation(*triple))


@pytest.mark.parametrize("first, last", [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.3, 0.3)])
def test_curve_means_are_naive_means(first, last):
    r = np.random.default_rng(0)
    lines = [("norm", "lowest", 0), ("norm", "highest", 0), ("random", "lowest", 0), ("random", "lowest", 1)]
    keys = [(s, *line) for s in (0, 1) for line in lines]
    rows = [
        dict(seed=s, criterion=c, remove=k, repeat=p, removed=n, accuracy=r.random())
        for s, c, k, p in keys
        for n in range(11 if s else 5)
    ]
    found = metrics.curve_means(pd.DataFrame(rows), first, last)
    assert found.shape[1] == 3
    for s in found.index:
        for c, k in found:
            units = 10 if s else 4
            picked = [x["accuracy"] for x in rows if (x["seed"], x["criterion"], x["remove"]) == (s, c, k)
                      and first * units <= x["removed"] <= last * units]  # fmt: skip
            assert found[c, k][s] == pytest.approx(100 * np.mean(picked)) if picked else math.isnan(found[c, k][s])


def test_a_net_that_is_short_is_named_once_with_its_own_count(shelves):
    plan = [Curve(net, layer) for net in nets("m", 3) for layer in ("fc1", "fc2")]
    for e in plan[0], plan[2]:  # fc1 of two nets, fc2 of none
        store.run(e)
    assert evidence.stored("night", plan).missing == ("m-mnist: 2 of 3",)


def test_of_whole_profiles_the_one_with_most_records_is_shown_and_of_equal_ones_the_smallest(shelves):
    night, paper = [e for k in "abc" for e in nets(k, 3, 3)], [e for k in "de" for e in nets(k, 10, 10)]
    assert evidence.largest(dict(night=night, paper=paper)).profile == "paper"
    assert evidence.largest(dict(night=night, gpu=night, paper=night)).profile == "night"
