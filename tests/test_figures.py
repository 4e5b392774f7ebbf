"""Figures: what each carries, one colour a criterion, bands that say what they are."""

import io

import numpy as np
import pandas as pd
import pytest

from pruning_lab import criteria, figures
from pruning_lab.figures import style
from pruning_lab.report import verdicts

SAYS = dict(
    title="What is drawn", alt="A picture in words.", file="rows.csv", command="papermill chapter.ipynb out.ipynb"
)
PAIRS = [
    ("norm", "lowest"),
    ("norm", "highest"),
    ("frame_potential", "lowest"),
    ("taylor", "lowest"),
    ("random", "lowest"),
]


def curves(seeds=3, repeats=2, units=4):
    r = np.random.default_rng(0)
    rows = [dict(criterion=c, remove=k, repeat=p, seed=s, removed=n, accuracy=(1 - n / units) * r.uniform(0.8, 1))
            for c, k in PAIRS for s in range(seeds) for p in range(repeats if c == "random" else 1)
            for n in range(units + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def judged():
    second = {"FP1": [0.5], "FP2": [1.0, 1.0, 1.0]}
    parts = {claim: {"LeNet fc1": [1.0, 2.0, 4.0], "Conv-2 fc1": values} for claim, values in second.items()}
    rows = pd.concat([verdicts.judge(claim, values, profile="paper").iloc[:2] for claim, values in parts.items()])
    return rows.assign(group=rows.claim)


def ranks(values):
    return verdicts.judge("FP4", {"LeNet fc1": values})


def units():
    r = np.random.default_rng(1)
    return pd.DataFrame(
        dict(unit=range(20), norm=r.random(20), share=r.dirichlet(np.ones(20)), loss_increase=r.standard_normal(20))
    )


def layer_history(seeds=3):
    r = np.random.default_rng(3)
    rows = [dict(seed=s, weights=w, iteration=k, pairs=r.random(), spread=r.random())
            for s in range(seeds) for w in ("trained", "permuted") for k in (0, 1, 10, 200)]  # fmt: skip
    return pd.DataFrame(rows)


def net_history(seeds=3):
    r = np.random.default_rng(4)
    rows = [dict(seed=s, arm=a, epoch=k, coherence=r.uniform(0.1, 1), accuracy=r.random() if k else np.nan,
                 place=f"layer{k}")
            for s in range(seeds) for a in ("real images", "Gaussian images") for k in (2, 0, 1)]  # fmt: skip
    return pd.DataFrame(rows)


def weight_ways():
    rows = [dict(epoch=k, images=i, end=e, weight=w, way=k * w) for i in ("real", "noise")
            for e in ("highest", "lowest")
            for w in range(3) for k in range(4)]  # fmt: skip
    return pd.DataFrame(rows)


def nets_of_masks():
    rows = [dict(label=m, panel=p, mean=80.0, low=75.0, high=85.0, n=3, values=[79.0, 80.0, 81.0], beside=90.0)
            for p in ("global", "local") for m in ("dense", "magnitude, best", "random, ERK")]  # fmt: skip
    return pd.DataFrame(rows[:-1])


MEASURES = {"coherence": "coherence", "accuracy": "accuracy of training images"}
PANELS = {"pairs": "pairs nearer than chance", "spread": "spread of norms"}


def peaks():
    rows = [dict(label=net, arm=arm, seed=s, peak=peak * 10.0**s) for net in ("ViT", "fully-connected net")
            for arm, peak in (("real images", 0.4), ("Gaussian images", 0.1)) for s in range(3)]  # fmt: skip
    return pd.DataFrame(rows)


def children(seeds=3):
    rows = [
        dict(seed=s, weights=w, kept=w // cut, test=10.0 * s + w / cut)
        for s in range(seeds)
        for w in (100, 1000)
        for cut in (1, 10)
    ]
    return pd.DataFrame(rows)


def plane(table):
    words = dict(weights="weights of the parent", kept="weights that stay", test="test accuracy, %")
    return figures.plane(table, x="weights", y="kept", value="test", labels=words, **SAYS)


def drawn(name):
    toy = np.random.default_rng(2).random((3, 2))
    return {
        "curves": lambda: figures.unit_curves({"fc1": curves()}, **SAYS),
        "panels": lambda: figures.unit_curves(
            {"fc1": curves(), "conv2": curves(1, 1)}, published={"norm/lowest": {2: 50.0}}, **SAYS
        ),
        "differences": lambda: figures.differences(judged(), axis="difference, points", **SAYS),
        "no differences": lambda: figures.differences(pd.DataFrame([]), axis="difference, points", **SAYS),
        "parts": lambda: figures.parts(pd.concat([judged(), ranks([0.1, 0.2])]), **SAYS),
        "no parts": lambda: figures.parts(ranks([]), **SAYS),
        "levels": lambda: figures.levels(nets_of_masks(), axis="accuracy, %", chance=10, **SAYS),
        "no levels": lambda: figures.levels(pd.DataFrame(), axis="accuracy, %", **SAYS),
        "importance": lambda: figures.importance(units(), **SAYS),
        "no importance": lambda: figures.importance(pd.DataFrame([]), **SAYS),
        "single nets": lambda: figures.unit_curves({"fc1": curves(2)}, **SAYS),
        "no curves": lambda: figures.unit_curves({"fc1": pd.DataFrame()}, **SAYS),
        "no panel": lambda: figures.unit_curves({"fc1": pd.DataFrame(), "conv2": curves()}, **SAYS),
        "histories": lambda: figures.histories(layer_history(), PANELS, **SAYS),
        "single histories": lambda: figures.histories(layer_history(2), PANELS, **SAYS),
        "no histories": lambda: figures.histories(pd.DataFrame(), PANELS, **SAYS),
        "net panels": lambda: figures.panels(
            net_history(), MEASURES, by="arm", log=("coherence",), floor={"coherence": 0.1}, **SAYS
        ),
        "single net panels": lambda: figures.panels(net_history(1), MEASURES, by="arm", x="place", **SAYS),
        "no net panels": lambda: figures.panels(pd.DataFrame(), MEASURES, by="arm", **SAYS),
        "paths": lambda: figures.paths(weight_ways(), by="images", **SAYS),
        "no paths": lambda: figures.paths(
            pd.DataFrame(columns=["epoch", "images", "end", "weight", "way"]), by="images", **SAYS
        ),
        "dumbbells": lambda: figures.dumbbells(peaks(), by="arm", value="peak", axis="coherence", **SAYS),
        "no dumbbells": lambda: figures.dumbbells(pd.DataFrame(), by="arm", value="peak", axis="coherence", **SAYS),
        "plane": lambda: plane(children()),
        "no plane": lambda: plane(pd.DataFrame()),
        "turning": lambda: figures.turning([0, 45, 90], np.ones((3, 2, 2)), toy, **SAYS),
    }[name]()


EMPTY = ["no parts", "no curves", "no plane", "no differences", "no levels", "no importance", "no histories",
         "no dumbbells"]  # fmt: skip
ALL = ["curves", "panels", "plane", "single nets", "no panel", "differences", "parts", "levels", "importance",
       "turning", "histories", "single histories", "dumbbells", *EMPTY]  # fmt: skip


FAMILIES = ["norm", "frame_potential", "taylor", "random"]


def named(figure, start):
    return [t for t in figure.data if t.name and t.name.startswith(start)]


@pytest.mark.parametrize("name", ALL)
def test_a_figure_carries_title_alt_rows_file_and_command(name):
    figure = drawn(name)
    assert figure.layout.title.text == SAYS["title"]
    assert {k: figure.layout.meta[k] for k in ("alt", "file", "command")} == {
        k: SAYS[k] for k in ("alt", "file", "command")
    }
    rows = pd.read_csv(io.StringIO(figure.layout.meta["rows"]))
    assert len(rows.columns) > 1 and (len(rows) > 0) == (name not in EMPTY) and not any("Unnamed" in c for c in rows)
    figure.to_json()  # every value can be written


@pytest.mark.parametrize("name, x, y", [("curves", "units removed", "test accuracy, %"),
                                        ("differences", "difference, points", None), ("importance", "norm", "share"),
                                        ("no curves", "units removed", "test accuracy, %"),
                                        ("plane", "weights of the parent", "weights that stay"),
                                        ("no differences", "difference, points", None),
                                        ("no importance", "norm", "share")])  # fmt: skip
def test_axes_say_what_and_in_which_unit(name, x, y):
    layout = drawn(name).layout
    assert x in layout.xaxis.title.text and (y is None or y in layout.yaxis.title.text)


def test_a_dumbbell_has_a_bar_from_mean_to_mean_and_a_dot_a_net():
    figure = drawn("dumbbells")
    bars = [t for t in figure.data if t.mode == "lines"]
    assert [bar.name for bar in bars] == ["ViT", "fully-connected net"]
    assert list(bars[0].x) == pytest.approx([1.0, 4.0])  # means are of logarithms
    middles = [t for t in figure.data if t.marker.symbol == "diamond"]
    assert [t.name for t in middles if t.showlegend] == ["real images", "Gaussian images"]
    assert len(figure.data) == 2 + 2 * 2 * 2
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.yaxis.categoryarray) == ["fully-connected net", "ViT"]


def test_accuracy_goes_from_chance_to_100_percent():
    low, high = figures.unit_curves({"fc1": curves()}, chance=0.5, **SAYS).layout.yaxis.range
    assert 40 <= low <= 50 and high >= 100
    assert figures.unit_curves({"fc1": curves()}, **SAYS).layout.yaxis.range[0] <= 10


def test_criteria_have_distinct_colours_and_random_is_grey():
    hues = [figures.colour(c) for c in criteria.UNIT]
    assert len(set(hues)) == len(hues) and figures.colour("random") == figures.GREY
    assert figures.colour("my_own") in figures.SPARE and figures.colour("my_own") == figures.colour("my_own")
    assert not set(figures.SPARE) & set(figures.COLOURS.values())
    weights = [figures.colour(c) for c in (*criteria.WEIGHT, "dense")]
    assert len(set(weights)) == len(weights) >= 5


def test_what_was_done_to_a_mask_is_a_dash_and_keeps_the_criterion_s_colour():
    table = pd.DataFrame([dict(seed=s, width=w, mask=m, test=s + w) for s in range(3) for w in (8, 16) for m in
                          ("diff", "diff, worst", "random, ERK", "Gaussian, from trained weights")])  # fmt: skip
    figure = figures.panels(table, {"test": "test"}, by="mask", x="width", **SAYS)
    looks = {t.name.partition(" (")[0]: (t.line.color, t.line.dash) for t in figure.data if "band" not in t.name}
    assert looks["diff"] == (figures.colour("diff"), "solid") and looks["diff, worst"] == (
        figures.colour("diff"),
        "dash",
    )
    assert looks["random, ERK"] == (figures.GREY, "longdash")
    assert looks["Gaussian, from trained weights"] == (figures.COLOURS["Gaussian, from trained weights"], "solid")


def widths(*values):
    table = pd.DataFrame(
        [dict(seed=s, width=w, net=n, test=s + w) for s in range(3) for w in values for n in ("narrow", "wide")]
    )
    return figures.panels(
        table, {"test": "test"}, by="net", x="width", log=("width",), colours={"narrow": "#123456"}, **SAYS
    )


def test_few_widths_are_the_ticks_of_a_logarithmic_axis_as_far_as_they_have_room():
    assert widths(16, 32, 64).layout.xaxis.tickvals == (16, 32, 64) and widths(16, 32, 64).layout.xaxis.ticktext == (
        "16",
        "32",
        "64",
    )
    assert widths(16, 256, 2048, 2800).layout.xaxis.tickvals == (16, 256, 2800)
    assert widths(8).layout.xaxis.tickvals == (8,)
    assert widths(*range(1, 20)).layout.xaxis.ticktext == (
        "1",
        "2",
        "3",
        "5",
        "7",
        "10",
    )  # many, or far apart: round ones
    assert widths(16, 20_000).layout.xaxis.ticktext == ("100", "1,000", "10,000")


def test_a_ramp_goes_through_its_colours_in_order():
    assert figures.ramp(1) == ["#3B528B"] and figures.ramp(2) == ["#3B528B", "#AADC32"]
    assert figures.ramp(6)[2] == "#21908C" and len(set(figures.ramp(8))) == 8
    greens = [int(hue[3:5], 16) for hue in figures.ramp(9)]
    assert greens == sorted(greens)


def test_lines_that_are_no_criteria_take_the_colours_that_they_are_given():
    hues = {t.name.partition(" (")[0]: t.line.color for t in widths(8, 16).data if "band" not in t.name}
    assert hues["narrow"] == "#123456" and hues["wide"] == figures.colour("wide")


def test_a_plane_has_a_dot_a_pair_with_the_mean_over_nets():
    [dots] = drawn("plane").data
    at = {(x, y): (v, n) for x, y, v, n in zip(dots.x, dots.y, dots.marker.color, dots.customdata, strict=True)}
    assert at == {(100, 100): (110, 3), (100, 10): (20, 3), (1000, 1000): (1010, 3), (1000, 100): (110, 3)}
    assert drawn("plane").layout.xaxis.type == drawn("plane").layout.yaxis.type == "log"


def test_a_criterion_has_its_colour_in_every_figure():
    panels = drawn("panels")
    for criterion, _ in PAIRS:
        start = "random order" if criterion == "random" else figures.words(criterion) + ", "
        found = {t.line.color for t in named(panels, start) if "band" not in t.name}
        assert found == {figures.colour(criterion)}
    assert named(panels, "published")[0].marker.color == figures.colour("norm")
    row = dict(label="a", group="taylor", mean=1.0, low=0.0, high=2.0, n=3, verdict="shift", values=[1.0])
    assert figures.differences(pd.DataFrame([row]), axis="x", **SAYS).data[1].marker.color == figures.colour("taylor")


@pytest.mark.parametrize(
    "values, ticks",
    [
        ((0.02, 16), ["0.1", "1", "10"]),
        ((0.3, 500_000), ["1", "10", "100", "1,000", "10,000", "100,000"]),
        ((1e-6, 1e6), ["0.000001", "0.001", "1", "1,000", "1,000,000"]),
        ((0.004, 0.07), ["0.005", "0.01", "0.02", "0.05"]),
        ((5, 5), ["5"]),
        ((1.12, 1.33), ["1.1", "1.3"]),
        ((0, float("nan")), None),
    ],
)
def test_a_logarithmic_axis_has_few_numbers_written_out(values, ticks):
    axis = style.log_axis(values)
    assert axis["type"] == "log" and axis.get("ticktext") == ticks
    assert len(axis.get("tickvals", ())) == len(ticks or ())


def test_logarithmic_axes_of_every_figure_have_plain_ticks():
    axes = [a for name in ALL + ["net panels"] for f in [drawn(name)] for a in (*f.select_xaxes(), *f.select_yaxes())]
    logs = [axis for axis in axes if axis.type == "log" and axis.visible is not False]
    assert len(logs) > 4 and all(0 < len(axis.ticktext) <= style.TICKS for axis in logs)


def test_a_bold_line_is_wide_and_below_the_others_and_hollow_marks_are_hollow():
    how = dict(by="arm", bold=["Gaussian images"], hollow=["real images"])
    lines = [t for t in figures.panels(net_history(), {"coherence": "c"}, **how, **SAYS).data if t.fill != "toself"]
    assert [t.name.partition(" (")[0] for t in lines] == ["Gaussian images", "real images"]
    assert lines[0].line.width > 2 * lines[1].line.width and lines[0].marker.size > 2 * lines[0].line.width - 1
    assert lines[0].marker.symbol is None and lines[1].marker.symbol == "circle-open"


def test_a_median_s_band_holds_all_nets_and_says_so():
    rows = [dict(epoch=k, seed=s, net="a", risk=v) for k in (0, 1) for s, v in enumerate((1.0, 2.0, 900.0))]
    band, line = figures.panels(pd.DataFrame(rows), {"risk": "risk"}, by="net", centre="median", **SAYS).data
    assert list(line.y) == [2, 2] and line.name == "a (median, band: all, 3 nets)"
    assert list(band.y) == [900, 900, 1, 1]


def test_logarithms_of_ratios_are_drawn_as_ratios_and_their_rows_stay():
    table = judged().assign(values=[np.log([2.0, 4.0]).tolist()] * 4, mean=np.log(3), low=np.log(2), high=np.log(5))
    figure = figures.differences(table, axis="ratio", ratios=True, **SAYS)
    assert list(figure.data[0].x) == pytest.approx([2, 4]) and figure.layout.shapes[0].x0 == 1
    assert figure.layout.xaxis.type == "log" and "3 [2, 5]" in figure.data[1].hovertemplate
    rows = pd.read_csv(io.StringIO(figure.layout.meta["rows"]))
    assert rows["mean"].tolist() == pytest.approx([np.log(3)] * 4, abs=1e-5)


def test_nets_that_learnt_nothing_are_hollow_with_the_reason():
    table = peaks().assign(idle=lambda t: (t.label == "ViT") & ((t.arm == "real images") | (t.seed == 0)))
    how = dict(by="arm", value="peak", axis="coherence", hollow="idle", reason="hollow: at chance")
    figure = figures.dumbbells(table, **how, **SAYS)
    middles = [t.marker.symbol for t in figure.data if str(t.marker.symbol).startswith("diamond")]
    assert middles == ["diamond-open", "diamond", "diamond", "diamond"]
    dots = [t.marker.symbol for t in figure.data if "one net" in (t.hovertemplate or "")]
    assert dots[:2] == [("circle-open",) * 3, ("circle-open", "circle", "circle")] and dots[2:] == ["circle"] * 2
    assert figure.data[-1].name == "hollow: at chance"
    assert "hollow" not in str(figures.dumbbells(table.assign(idle=False), **how, **SAYS).data)


def test_groups_that_are_no_criteria_take_no_criterion_s_colour():
    hues = {t.marker.color for t in drawn("differences").data}
    assert len(hues) == 2 and not hues & set(figures.COLOURS.values())


def test_lowest_first_is_solid_and_highest_dashed():
    dashes = {t.name: t.line.dash for t in drawn("curves").data}
    assert (
        dashes["norm, lowest first (± sd, 3 nets)"] == "solid"
        and dashes["norm, highest first (± sd, 3 nets)"] == "dash"
    )
    assert dashes["random order (± sd, 3 nets)"] == "solid"
    singles = {t.name: t.line.dash for t in drawn("single nets").data}
    assert (
        singles["norm, lowest first (2 single nets)"] == "solid"
        and singles["norm, highest first (2 single nets)"] == "dash"
    )


def test_lines_are_means_and_bands_are_one_standard_deviation():
    table = curves()
    figure = figures.unit_curves({"fc1": table}, **SAYS)
    for criterion, remove in PAIRS:
        part = table[(table.criterion == criterion) & (table.remove == remove)].groupby("removed").accuracy
        name = figures.line_name(criterion, remove)
        (band,) = named(figure, f"{name}: band")
        (line,) = named(figure, f"{name} (± sd, 3 nets)")
        np.testing.assert_allclose(line.y, 100 * part.mean(), atol=1e-3)
        edge = np.concatenate([100 * (part.mean() + part.std()), 100 * (part.mean() - part.std())[::-1]]).clip(0, 100)
        np.testing.assert_allclose(band.y, edge, atol=0.01)
        assert band.legendgroup == line.legendgroup and band.hoverinfo == "skip" and not band.showlegend
        assert list(band.x) == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0] and line.visible == band.visible


@pytest.mark.parametrize("seeds, says", [(1, "(1 single net)"), (2, "(2 single nets)")])
def test_fewer_than_three_nets_are_thin_lines_of_their_own_without_mean_or_band(seeds, says):
    table = curves(seeds)
    figure = figures.unit_curves({"fc1": table}, **SAYS)
    assert len(figure.data) == seeds * len(PAIRS) + len(FAMILIES)
    for criterion, remove in PAIRS:
        found = named(figure, f"{figures.line_name(criterion, remove)} {says}")
        assert {(t.showlegend, t.legendgroup) for t in found} == {(False, criterion)} and len(found) == seeds
        for seed, trace in enumerate(found):
            run = (
                table[(table.criterion == criterion) & (table.remove == remove) & (table.seed == seed)]
                .groupby("removed")
                .accuracy.mean()
            )
            assert (
                list(trace.x) == list(run.index)
                and trace.fill is None
                and trace.line.color == figures.colour(criterion)
            )
            np.testing.assert_allclose(trace.y, 100 * run, atol=1e-3)
    (band, mean) = figures.unit_curves({"fc1": curves(3)}, **SAYS).data[:2]
    assert band.fill == "toself" and all(t.line.width < mean.line.width for t in figure.data if not t.showlegend)


def test_what_no_source_has_is_marked_as_ours():
    for criterion in criteria.UNIT:
        assert figures.line_name(criterion, "lowest").endswith("(ours)") == criteria.UNIT[criterion].ours
    assert figures.line_name("random", "lowest") == "random order"
    (entry,) = (t for t in named(drawn("curves"), "taylor") if t.showlegend)
    assert entry.name == "taylor (ours)"


def test_what_a_reader_registers_is_marked_as_theirs_and_is_drawn_at_once(monkeypatch):
    """Neither as the library's nor as a source's; a new criterion of the library is not taken for a reader's."""
    for names, module, mark, visible in [
        ("my_own", "mine", "yours", True),
        ("my_marked", "__main__", "yours", True),
        ("added", "pruning_lab.criteria.unit", "ours", "legendonly"),
    ]:

        def function(weight):
            return weight.flatten(1).sum(1)

        function.__module__, function.ours = module, names != "my_own"
        monkeypatch.setitem(criteria.UNIT, names, function)
        assert figures.line_name(names, "highest") == f"{figures.words(names)}, highest first ({mark})"
        table = curves(3).query("criterion == 'norm'").assign(criterion=names)
        assert {t.visible for t in figures.unit_curves({"fc1": table}, **SAYS).data} == {visible}
    assert figures.line_name("not_loaded", "lowest") == "not loaded, lowest first (yours)"


def notes(figure):
    return [(a.text, a.xref) for a in figure.layout.annotations if "not run" in a.text]


def test_a_panel_without_rows_says_that_it_is_not_run():
    assert notes(drawn("no curves")) == [("not run at this size yet", "x domain")] and not drawn("no curves").data
    empty = drawn("no histories")  # without titles, which would run into the words
    assert (
        notes(empty) == [("not run at this size yet", "paper")]
        and len(empty.layout.annotations) == 1
        and not empty.data
    )
    assert notes(drawn("no panel")) == [("not run at this size yet", "x domain")] and not notes(drawn("panels"))
    swapped = figures.unit_curves({"conv2": curves(), "fc1": pd.DataFrame()}, **SAYS)
    assert notes(swapped) == [("not run at this size yet", "x2 domain")]
    filled = drawn("no panel")  # its lines are named in the legend although they are in the second panel
    assert {t.xaxis for t in filled.data if not t.showlegend} == {"x2"}
    assert [t.legendgroup for t in filled.data if t.showlegend] == FAMILIES
    rows = pd.read_csv(io.StringIO(filled.layout.meta["rows"]))
    assert set(rows.panel) == {"conv2"} and len(rows) == 5 * len(PAIRS)


@pytest.mark.parametrize("name, columns", [("no curves", {"criterion", "remove", "removed"}),
                                           ("no differences", {"label", "mean", "low", "high"}),
                                           ("no levels", {"label", "panel", "mean", "low", "high", "beside"}),
                                           ("no importance", {"unit", "norm", "share", "loss_increase"})])  # fmt: skip
def test_rows_of_an_empty_figure_still_parse(name, columns):
    rows = pd.read_csv(io.StringIO(drawn(name).layout.meta["rows"]))
    assert rows.empty and columns <= set(rows)
    assert not [p for t in drawn(name).data for p in (t.x if t.x is not None else ())]


def test_ours_wait_in_the_legend_and_a_line_of_two_panels_is_named_once():
    figure = drawn("panels")
    assert {t.visible for t in named(figure, "taylor")} == {"legendonly"} and {
        t.visible for t in named(figure, "norm")
    } == {True}
    shown = [t.legendgroup for t in figure.data if t.showlegend]
    assert shown == [*FAMILIES, "published"]


def test_a_criterion_has_one_entry_that_switches_both_of_its_orders_and_the_head_says_the_rest():
    figure = drawn("panels")
    groups = {t.legendgroup: {u.name.partition(" (")[0] for u in figure.data if u.legendgroup == t.legendgroup}
              for t in figure.data if t.showlegend}  # fmt: skip
    assert {"norm", "norm, lowest first", "norm, highest first"} < groups["norm"]
    entries = [t for t in figure.data if t.showlegend and t.legendgroup in FAMILIES]
    assert all(list(t.x) == [None] and t.hoverinfo == "skip" for t in entries)
    assert figure.layout.legend.title.text.split("<br>") == [
        "solid: lowest first, dashed: highest first",
        "lines: means, bands: ± sd, 3 nets",
        "thin lines: single nets, 1 each",
    ]
    assert drawn("no curves").layout.legend.title.text is None
    assert "bands" not in drawn("single nets").layout.legend.title.text


def test_rows_of_curves_are_the_numbers_drawn():
    figure = drawn("panels")
    rows = pd.read_csv(io.StringIO(figure.layout.meta["rows"]))
    assert {"criterion", "remove", "removed", "mean", "sd", "nets", "panel"} <= set(rows)
    part = rows[(rows.panel == "fc1") & (rows.criterion == "norm") & (rows.remove == "lowest")]
    np.testing.assert_allclose(100 * part["mean"], named(figure, "norm, lowest first (± sd, 3")[0].y, atol=1e-3)


def test_parts_have_a_panel_a_unit_and_every_net():
    table, figure = (pd.concat([judged(), ranks([0.1, 0.2])]), drawn("parts"))
    assert [figure.layout.xaxis.title.text, figure.layout.xaxis2.title.text] == ["points", "rank correlation"] and len(
        figure.layout.shapes
    ) == 2
    dots = {t.y[0]: (list(t.x), t.xaxis) for t in figure.data if t.name == "one net"}
    assert dots == {r.label: (r["values"], "x2" if r.claim == "FP4" else "x") for _, r in table[table.n > 0].iterrows()}
    hues = {t.name[:3]: t.marker.color for t in figure.data if t.name != "one net"}
    assert len(set(hues.values())) == 3


def test_differences_show_every_net_the_mean_and_its_interval():
    table, figure = judged(), drawn("differences")
    assert len(figure.data) == 2 * len(table)
    for k, (_, row) in enumerate(table.iterrows()):
        dots, mean = figure.data[2 * k], figure.data[2 * k + 1]
        assert list(dots.x) == row["values"] and mean.x[0] == row["mean"] and mean.y[0] == row.label
        if row.n > 1:
            ends = mean.x[0] - mean.error_x.arrayminus[0], mean.x[0] + mean.error_x.array[0]
            assert ends == pytest.approx((row.low, row.high))
        else:
            assert list(mean.error_x.array) == [0] and "too few nets" in mean.hovertemplate


def test_levels_show_every_net_the_interval_and_a_second_number_in_the_panel_of_their_group():
    figure, table = drawn("levels"), nets_of_masks()
    assert [a.text for a in figure.layout.annotations][:2] == ["global", "local"] and len(figure.data) == 3 * len(table)
    for k, (_, row) in enumerate(table.iterrows()):
        dots, mean, ring = figure.data[3 * k : 3 * k + 3]
        assert (list(dots.x), mean.x[0], ring.x[0]) == (row["values"], row["mean"], row.beside)
        assert {t.xaxis for t in (dots, mean, ring)} == {"x" if row.panel == "global" else "x2"}
        assert mean.error_x.array[0] == pytest.approx(row.high - row["mean"])
    assert [t.marker.color for t in figure.data[::3]][1:3] == [figures.COLOURS["magnitude"], figures.GREY]
    assert list(figure.layout.yaxis.categoryarray) == ["dense", "magnitude, best", "random, ERK"]


def test_importance_is_in_units_of_the_mean_share():
    table, dots = units(), drawn("importance").data[0]
    np.testing.assert_allclose(dots.y, table.share * 20)
    assert np.mean(dots.y) == pytest.approx(1) and dots.marker.cmax == pytest.approx(table.loss_increase.quantile(0.98))


def test_a_slider_has_a_frame_for_each_stop():
    figure = drawn("turning")
    assert (
        [f.name for f in figure.frames] == ["0", "45", "90"] == [s.args[0][0] for s in figure.layout.sliders[0].steps]
    )
    assert all(len(f.data) == len(figure.data) for f in figure.frames)


def test_summaries_count_nets_and_not_orders():
    found = figures.summarise(curves(3, 5), ["criterion", "remove", "removed"], "accuracy")
    assert set(found.nets) == {3} and len(found) == 5 * 5
    assert figures.summarise(curves(1, 5), ["criterion"], "accuracy").nets.tolist() == [1] * 4


def test_a_history_has_a_panel_a_measure_with_the_mean_and_band_of_both_kinds_of_weights():
    table, figure = layer_history(), drawn("histories")
    assert [a.text for a in figure.layout.annotations] == list(PANELS.values())
    for number, column in enumerate(PANELS, 1):
        for weights in ("trained", "permuted"):
            part = table[table.weights == weights].groupby("iteration")[column]
            line, band = [
                t for t in figure.data if t.legendgroup == weights and t.xaxis == f"x{number if number > 1 else ''}"
            ][::-1]
            assert np.allclose(line.y, part.mean(), atol=1e-5) and line.customdata.tolist() == [0, 1, 10, 200]
            assert np.allclose(band.y[:4], part.mean() + part.std(), atol=1e-4)
    assert {t.name for t in figure.data if t.showlegend} == {"trained (± sd, 3 nets)", "permuted (± sd, 3 nets)"}


def test_iteration_zero_has_a_place_on_the_logarithmic_axis():
    figure = drawn("histories")
    axis = figure.layout.xaxis2
    assert axis.type == "log" and dict(zip(axis.tickvals, axis.ticktext, strict=True)) == {
        0.5: "0",
        1: "1",
        10: "10",
        100: "100",
    }
    assert min(min(t.x) for t in figure.data) == 0.5


def test_fewer_than_three_nets_are_drawn_one_by_one_in_a_history():
    figure = drawn("single histories")
    assert len(figure.data) == 8
    assert {t.name for t in figure.data if t.showlegend} == {"trained (2 single nets)", "permuted (2 single nets)"}


def test_panels_have_the_mean_and_the_spread_of_nets_in_order_of_epochs():
    figure, table = drawn("net panels"), net_history()
    line = next(t for t in figure.data if t.name == "real images (± sd, 3 nets)" and t.yaxis == "y")
    values = table[table.arm == "real images"].pivot(index="epoch", columns="seed", values="coherence")
    assert list(line.x) == [0, 1, 2] and list(line.y) == pytest.approx(values.mean(axis=1).tolist(), rel=1e-4)
    band = next(t for t in figure.data if t.name == "real images: band" and t.yaxis == "y")
    assert list(band.y[:3]) == pytest.approx((values.mean(axis=1) + values.std(axis=1, ddof=1)).tolist(), rel=1e-4)
    assert min(band.y) == pytest.approx(values.to_numpy().min(), rel=1e-4)  # a logarithmic axis has no zero
    assert figure.layout.yaxis.type == "log" and figure.layout.yaxis2.type == "linear"
    assert [shape.y0 for shape in figure.layout.shapes] == [0.1]


def test_a_measure_that_lacks_at_epoch_0_begins_later():
    line = next(t for t in drawn("net panels").data if t.name == "real images (± sd, 3 nets)" and t.yaxis == "y2")
    assert list(line.x) == [1, 2] and not np.isnan(np.array(line.y, dtype=float)).any()


def test_arms_have_their_colours_and_one_place_in_the_legend():
    figure = drawn("net panels")
    hues = {t.name.split(" (")[0]: t.line.color for t in figure.data if "band" not in t.name}
    assert hues == {name: figures.COLOURS[name] for name in ("real images", "Gaussian images")}
    assert [t.name for t in figure.data if t.showlegend is not False] == [f"{name} (± sd, 3 nets)" for name in hues]


def test_a_line_of_the_second_panel_alone_has_its_place_in_the_legend():
    table = net_history()
    table.loc[table.arm == "Gaussian images", "coherence"] = np.nan
    figure = figures.panels(table, MEASURES, by="arm", **SAYS)
    shown = [(t.name, t.yaxis) for t in figure.data if t.showlegend is not False]
    assert shown == [("real images (± sd, 3 nets)", "y"), ("Gaussian images (± sd, 3 nets)", "y2")]


def test_places_by_name_keep_their_order_and_single_nets_are_said():
    line = next(t for t in drawn("single net panels").data if t.name == "real images (1 single net)")
    assert list(line.x) == ["layer2", "layer0", "layer1"]


def test_paths_tell_highest_from_lowest_in_a_panel_each():
    figure = drawn("paths")
    assert len(figure.data) == 12 and {t.yaxis for t in figure.data} == {"y", "y2"}
    assert [t.name for t in figure.data if t.showlegend] == ["highest |diff|", "lowest |diff|"]
    assert len({t.line.color for t in figure.data if t.legendgroup == "highest"}) == 1
    assert len({t.line.color for t in figure.data}) == 2 and list(figure.data[2].y) == [0, 2, 4, 6]


def taylor_and_norm():
    rows = [
        dict(criterion=criterion, remove=remove, removed=k, accuracy=0.9 - k / 10, seed=seed)
        for criterion in ("norm", "taylor", "activation") for remove in ("lowest", "highest")
        for seed in range(3) for k in range(5)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_criterion_of_ours_is_seen_where_the_page_asks_for_it_lowest_first():
    figure = figures.unit_curves({"fc1": taylor_and_norm()}, shown=["taylor"], **SAYS)
    seen = {trace.name.removesuffix(": band").partition(" (±")[0] for trace in figure.data if trace.visible is True}
    lines = {figures.line_name(*line) for line in (("norm", "lowest"), ("norm", "highest"), ("taylor", "lowest"))}
    assert seen == lines | {"norm", "taylor (ours)"}


def test_the_stretch_of_units_that_never_fire_is_shaded_and_named():
    figure = figures.unit_curves({"fc1": taylor_and_norm()}, dead=3, **SAYS)
    (shade,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (shade.x0, shade.x1) == (0, 3)
    assert any("never fire: 3" in words.text for words in figure.layout.annotations)
    assert not [s for s in figures.unit_curves({"fc1": taylor_and_norm()}, **SAYS).layout.shapes if s.type == "rect"]


def test_random_rows_of_the_same_spectrum_have_a_line_of_their_own_in_a_history():
    rows = [
        dict(iteration=k, seed=seed, weights=weights, modularity=0.1 * k)
        for weights in ("trained", "permuted", "spectrum") for seed in range(3) for k in (0, 1, 10)
    ]  # fmt: skip
    figure = figures.histories(pd.DataFrame(rows), {"modularity": "modularity"}, **SAYS)
    names = {trace.name for trace in figure.data if trace.showlegend}
    assert "random rows, same spectrum (± sd, 3 nets)" in names and len(names) == 3


def test_a_band_of_shares_ends_where_nothing_can_be():
    rows = [dict(epoch=k, seed=s, net="a", right=v, loss=v) for k in (0, 1) for s, v in enumerate((100.0, 98.0, 99.9))]
    drawn = figures.panels(pd.DataFrame(rows), {"right": "right, %", "loss": "loss"}, by="net", **SAYS)
    right, loss = (trace for trace in drawn.data if trace.fill == "toself")
    assert max(right.y) == 100 < max(loss.y)
    assert min(right.y) == min(loss.y)
    axes = drawn.layout.yaxis, drawn.layout.yaxis2
    assert [axis.autorangeoptions.clipmax for axis in axes] == [102, None]
    every = figures.panels(pd.DataFrame(rows), {"right": "right", "loss": "loss"}, by="net", shares=True, **SAYS)
    assert [max(trace.y) for trace in every.data if trace.fill == "toself"] == [100, 100]


def test_kinds_of_layers_have_lines_of_their_own():
    rows = [dict(depth=k, seed=s, mask="a", kind=f"conv{k % 2}", density=k + s) for k in range(6) for s in range(3)]
    drawn = figures.panels(pd.DataFrame(rows), {"density": "kept"}, by="mask", x="depth", ladder="kind", **SAYS)
    lines = [trace for trace in drawn.data if trace.fill != "toself"]
    assert [list(line.x) for line in lines] == [[0, 2, 4], [1, 3, 5]]
    assert [line.showlegend for line in lines] == [True, False]
    assert [line.marker.symbol for line in lines] == ["circle", "diamond"]
    worst = pd.DataFrame(rows).assign(mask="magnitude, worst")
    drawn = figures.panels(worst, {"density": "kept"}, by="mask", x="depth", ladder="kind", **SAYS)
    assert [line.marker.symbol for line in drawn.data if line.fill != "toself"] == ["circle-open", "diamond-open"]


def test_where_the_number_of_panels_is_odd_no_axes_stand_beside_the_last():
    """On a phone panels stand below one another, and those axes were an empty one."""
    rows = pd.DataFrame([dict(seed=s, net="a", epoch=e, b=e, c=e, d=e) for s in range(3) for e in range(2)])
    drawn = figures.panels(rows, {"b": "b", "c": "c", "d": "d"}, by="net", **SAYS)
    axes = [key for key in drawn.to_dict()["layout"] if key.startswith("xaxis")]
    assert axes == ["xaxis", "xaxis2", "xaxis3"]
    assert [drawn.layout[axis].title.text for axis in axes] == [None, "epoch", "epoch"]  # the lowest of each column
