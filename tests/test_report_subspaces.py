"""Readings of projections, spectra and distances, on made-up records with known answers."""

import math

import numpy as np
import pandas as pd
import pytest

from pruning_lab import Projection, Recipe, Spectrum, Train, figures, replace, report
from pruning_lab.metrics import spectrum
from pruning_lab.report import evidence, subspace_views, subspaces

DEEP = Recipe(lr=0.1, batch=64, epochs=9, stop_margin=(0.99, 10.0))
FLAT = Recipe(lr=1e-3, batch=64, epochs=9, stop_loss=0.01)
RANKS, LAYERS = (4, 16), ("fc1", "fc2")
NOTHING = evidence.Evidence("laptop", (), ())


def deep(width, seed):
    return Train("digits", "mlp", DEEP, seed, width, limit=384, options=dict(hidden=2))


def flat(width, seed):
    return Train("digits", "mlp", FLAT, seed, width, limit=256, options=dict(hidden=1))


def looks(net):
    return Spectrum(net, LAYERS, (0, 2), RANKS)


def seen(epoch, layer, net, spikes, largest, bulk, distance):
    return dict(
        iteration=6 * epoch, epoch=float(epoch), accuracy=0.9, layer=layer, rows=net.width, columns=64, norm=10.0,
        distance=distance, start_variance=1 / 192, bulk_variance=bulk, edge=2.0, spikes=spikes, largest=largest,
        update_stable_rank=3.0, potential=1.5, chance_potential=1.0, alpha=2.0, alpha_deviation=0.25, reason="",
    )  # fmt: skip


def projections(whole, drops, residual, noise):
    """Rows of a projection: what is lost at k = 16 by kept and place; four directions lose twice as much."""
    rows = []
    for (kept, place), lost in drops.items():
        for k, times in ((4, 2), (16, 1)):
            own = dict(residual=math.nan, noise=math.nan) if place == "all" else dict(residual=residual, noise=noise)
            row = dict(place=place, kept=kept, k=k, accuracy=whole - times * lost / 100, drop=times * lost)
            rows.append(row | own)
    return rows


@pytest.fixture
def nets(made_up):
    """Three seeds. 64 and 48 wide: half a point lost, seven spikes, the bulk as it was. Distances fall by a tenth a
    doubling.
    """

    def put(net, reached):
        made_up(net, [dict(epoch=7, iteration=42, test_accuracy=0.9) | reached])

    found = []
    for seed in range(3):
        for width in (64, 48):
            net = deep(width, seed)
            put(net, dict(margin_share=0.99, margin_reached=1))
            rows = [seen(e, n, net, 7 * (e > 0), 1 + e, 0.005, e / 7) for e in (0, 2, 7) for n in LAYERS]
            t = np.linspace(3, 0.1, width)
            arrays = {f"{n}.{what}": np.stack([t, t, t]) for n in LAYERS for what in ("values", "update")}
            projected = np.full((3, 3, 2), 0.8)
            projected[:, 0] = 0.7, 0.75  # both layers at once
            found.append(made_up(looks(net), rows, projected=projected, **arrays))
            lost = {(kept, place): v + 0.1 * seed for kept, v in zip(subspaces.KEPT, (0.5, 30, 60), strict=True)
                    for place in subspaces.PLACES}  # fmt: skip
            found.append(made_up(Projection(net, LAYERS, RANKS), projections(0.9, lost, 0.3, 0.1)))
        for k, width in enumerate((8, 16, 32)):
            net = flat(width, seed)
            put(net, dict(loss_reached=1))
            last = 5 * 0.9**k * (1 + 0.01 * seed)
            rows = [seen(0, "fc1", net, 0, 1.0, 0.005, 0.0), seen(7, "fc1", net, 0, 1.0, 0.005, last)]
            found.append(made_up(Spectrum(net, ("fc1",)), rows))
    return evidence.stored("laptop", found)


def page(found):
    return report.Page("10_subspace", lambda profile: found.experiments if profile == "laptop" else [], "laptop")


def values(judged, claim, part):
    return judged.set_index(["claim", "part"]).loc[claim].loc[part]


def test_claims_are_the_numbers_of_the_records(nets):
    judged = subspaces.judged(page(nets))
    first = values(judged, "SS1", "first hidden layer")
    assert first["values"] == pytest.approx([-0.5, -0.6, -0.7]) and first["n"] == 3
    over = values(judged, "SS1", "both layers at once, over 16 random directions")
    assert over["values"] == pytest.approx([29.5] * 3)
    assert values(judged, "SS1", "both layers at once, 300 wide")["n"] == 0
    assert values(judged, "SS2", "second hidden layer")["values"] == pytest.approx([0.2] * 3)
    assert values(judged, "SS2", "first hidden layer, over noise")["values"] == pytest.approx([math.log(3)] * 3)
    assert values(judged, "SS3", "first hidden layer: more spikes")["values"] == [7] * 3
    largest = values(judged, "SS3", "second hidden layer: the largest stands above the edge")
    assert largest["values"] == pytest.approx([math.log(4)] * 3)
    assert values(judged, "SS3", "second hidden layer: the bulk shrinks")["values"] == [0] * 3
    moved = values(judged, "SS4", "distance of the hidden weights")
    assert moved["values"] == pytest.approx([-math.log(0.9)] * 3)
    assert judged.on.iloc[0] == "digits, 64 wide" or "64 wide" in judged.on.iloc[0]


def test_nets_that_did_not_get_there_give_no_number(nets, made_up):
    for seed in range(3):
        made_up(deep(64, seed), [dict(epoch=9, iteration=54, test_accuracy=0.9, margin_share=0.9, margin_reached=0)])
    made_up(flat(8, 0), [dict(epoch=9, iteration=36, test_accuracy=0.9, loss_reached=0)])
    judged = subspaces.judged(page(nets))
    for claim, part in (("SS1", "first hidden layer"), ("SS3", "second hidden layer: more spikes")):
        assert values(judged, claim, part)["verdict"] == "not in reach"
    assert values(judged, "SS4", "distance of the hidden weights")["n"] == 2
    assert "3 of 6 nets reached their margin" in subspace_views.stopped(nets)


def test_figures_leave_out_nets_that_did_not_get_there_and_say_so(nets, made_up):
    assert subspaces.left_out(nets) == 0
    made_up(deep(64, 1), [dict(epoch=9, iteration=54, test_accuracy=0.1, margin_share=0.1, margin_reached=0)])
    tables = (subspaces.by_rank, subspaces.beside_whole, subspaces.thrown_away, subspaces.by_epoch)
    assert all(set(table(nets).seed) == {0, 2} for table in tables) and subspaces.left_out(nets) == 1
    told = subspace_views.about(page(nets), "ranks", "accuracy", nets)["title"]
    assert told == "64 wide (1 net short of the margin left out), digits: accuracy"
    for seed in (0, 2):
        made_up(deep(64, seed), [dict(epoch=9, iteration=54, test_accuracy=0.1, margin_share=0.1, margin_reached=0)])
    assert all(set(table(nets).seed) == {0, 1, 2} for table in tables) and subspaces.left_out(nets) == 0


def test_tables_have_a_row_a_net_and_place(nets):
    ranks = subspaces.by_rank(nets)
    assert len(ranks) == 3 * 2 * 3 and set(ranks.kept) == set(subspaces.KEPT.values())
    at = ranks[(ranks.k == 16) & (ranks.seed == 0) & (ranks.kept == subspaces.KEPT["update"])]
    assert at[["all", "fc1", "fc2"]].to_numpy().ravel() == pytest.approx([89.5] * 3)
    whole = subspaces.beside_whole(nets)[subspaces.beside_whole(nets).kept == subspaces.WHOLE]
    assert len(whole) == 3 * 2 and whole[[*subspaces.PLACES]].to_numpy().ravel() == pytest.approx([90] * 18)
    thrown = subspaces.thrown_away(nets)
    assert thrown[thrown.what == "thrown away"].fc1.tolist() == [0.3] * 6 and len(thrown) == 12
    grown = subspaces.by_epoch(nets)
    assert len(grown) == 3 * 3 * 2 and (grown[grown.epoch == 0].bulk == 1).all()
    assert grown[grown.epoch == 7].largest.tolist() == [4.0] * 6 and (grown.potential == 1.5).all()
    assert subspaces.by_width(nets).groupby("width").size().tolist() == [3, 3, 3]
    assert subspaces.by_width(nets).relative.max() == pytest.approx(0.51)


def test_nets_that_missed_their_loss_are_not_said_to_be_not_run(made_up, nets):
    assert subspace_views.unmoved(nets) == ""
    assert subspace_views.unmoved(evidence.stored("laptop", [])) == "not run at this size yet"
    net = flat(8, 0)
    made_up(net, [dict(epoch=3, iteration=18, test_accuracy=0.9, loss_reached=0)])
    missed = evidence.stored("laptop", [made_up(Spectrum(net, ("fc1",)), [seen(3, "fc1", net, 0, 1.0, 0.005, 1.0)])])
    assert subspace_views.unmoved(missed) == "none of 1 net reached its loss"
    assert subspace_views.sentences(page(missed))["distance_read"] == "None of 1 net reached its loss."
    how = subspace_views.about(page(missed), "distances", "moved", missed, wide=False)
    drawn = figures.panels(subspaces.by_width(missed), subspaces.MOVES, by="net", x="width", nothing="none did", **how)
    assert [note.text for note in drawn.layout.annotations] == ["none did"]


def test_small_matrices_are_listed_with_the_reason(made_up):
    net = deep(20, 0)
    made_up(net, [dict(epoch=7, iteration=42, test_accuracy=0.9, margin_reached=1)])
    rows = [seen(7, "fc1", net, 0, 1.0, 0.005, 0.0) | dict(alpha=math.nan, reason="20 eigenvalues, fewer than 50")]
    found = evidence.stored("laptop", [made_up(Spectrum(net, ("fc1",)), rows)])
    table = subspaces.small_matrices(found)
    assert table.reason.tolist() == ["20 eigenvalues, fewer than 50"] and table.alpha.tolist() == ["–"]


def test_sentences_say_what_the_records_have(nets):
    told = subspace_views.sentences(page(nets))
    assert "accuracy is 89.4 %" in told["rank_read"] and "59.9 %" in told["rank_read"]
    assert "0.30 in the first hidden layer" in told["residual_read"]
    assert "7 eigenvalues above the edge in the first hidden layer, the largest 4.0 times it" in told["signal_read"]
    assert told["distance_read"] == "From width 8 to 32, the distance goes from 5.05 to 4.09."
    assert told["stopped"].startswith("6 of 6 nets reached their margin, after 7 epochs; 9 of 9")
    assert subspace_views.numbers(page(nets)) == dict(points="0.6", fall="10")


def test_nets_of_which_there_are_few_are_named(nets):
    lacks = evidence.stored("laptop", [e for e in nets.experiments if e not in nets.of(Spectrum)[:2]])
    shown = page(lacks)
    assert shown.shown == lacks  # read before the plan is a larger one
    shown.plan = lambda profile: nets.experiments
    named = "two hidden layers, 64 wide (2), two hidden layers, 48 wide (2)"
    assert subspace_views.few(shown) == f"Fewer than three nets: {named}." and subspace_views.few(page(nets)) == ""


def test_nothing_stored_says_so():
    told = subspace_views.sentences(page(NOTHING))
    assert set(told.values()) == {"Not run at this size yet."}
    judged = subspaces.judged(page(NOTHING))
    assert set(judged.verdict) == {"not run"} and subspace_views.explorers(page(NOTHING)) is None
    assert subspaces.small_matrices(NOTHING).empty
    assert subspace_views.numbers(page(NOTHING))["fall"] == "nan"


@pytest.mark.parametrize("draw", ["ranks", "residuals", "signal", "distances"])
def test_figures_are_drawn_of_something_and_of_nothing(nets, draw):
    for found in (nets, NOTHING):
        table, measures, by, x = {
            "ranks": (subspaces.beside_whole(found), subspaces.PLACES, "kept", "k"),
            "residuals": (subspaces.thrown_away(found), subspaces.LAYERS, "what", "k"),
            "signal": (subspaces.by_epoch(found), subspaces.GROWS, "layer", "epoch"),
            "distances": (subspaces.by_width(found), subspaces.MOVES, "net", "width"),
        }[draw]
        about = subspace_views.about(page(found), draw, "something", wide=draw != "distances")
        figure = figures.panels(table, measures, by=by, x=x, colours=subspaces.COLOURS, **about)
        assert bool(len(figure.data)) == bool(found)


def test_the_two_charts_have_the_same_controls_and_go_together(nets):
    left, right = subspace_views.explorers(page(nets))
    assert [c["values"] for c in left.meta["controls"]] == [c["values"] for c in right.meta["controls"]]
    assert left.chosen == right.chosen == dict(layer="first hidden layer", epoch=7.0, k=16)
    combos = [chart._packed.parts["combinations"].tolist() for chart in (left, right)]
    assert combos[0] == combos[1]
    left.choose(k=4, layer="second hidden layer")
    right.choice = left.choice
    assert right.curve("here")[0].tolist() == [4] and right.curve("here")[1] == pytest.approx([80], abs=0.01)
    at_once = right.curve("at once")
    assert at_once[0].tolist() == [4, 16] and at_once[1] == pytest.approx([70, 75], abs=0.1)
    kept, _ = left.curve("kept")
    assert kept == pytest.approx(np.linspace(3, 0.1, 64)[:4], abs=1e-4)


def test_the_toy_s_spike_leaves_the_bulk_by_the_library_s_own_edge():
    table, told = subspace_views.planted()
    first, last = told.caption.iloc[[0, -1]]
    assert first.startswith("0 above the edge") and last.startswith("1 above the edge")
    line = table[(table.curve == "noise") & (table.strength == 0)]
    assert np.trapezoid(line.y, line.x) == pytest.approx(1, abs=0.01)
    low, high = spectrum.bulk_edges(200, 400, 1 / 400)
    assert (line.x.min(), line.x.max()) == pytest.approx((low, high))
    assert subspace_views.toy().chosen == dict(strength=2.0)
    assert isinstance(told, pd.DataFrame) and replace(FLAT, epochs=3).epochs == 3
