"""Nets trained under masks: what is masked, what is not, and what the record says of it."""

import json
import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_lab import MaskedTraining, MaskSources, Recipe, Train, criteria, data, gather, gradients, masks, run, sweep
from pruning_lab.experiments.gradients import SILENT, _with_own_statistics
from pruning_lab.nets import models
from pruning_lab.records import store
from pruning_lab.records.experiment import lineage
from pruning_lab.running import chapters
from pruning_lab.running.sweeps import missing
from pruning_lab.training import checkpoint
from pruning_lab.training.fit import evaluate, fit
from pruning_lab.training.recipe import derived_seed
from pruning_lab.training.state import State

pytestmark = pytest.mark.filterwarnings("ignore:at density")  # nets this small lose layers
ADAM = Recipe("adam", lr=1e-3, batch=64, epochs=3)
PARENT = Train("digits", "mlp", ADAM, width=12, limit=256, scale="standardised")


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / "local"))
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "published"))


def net(e):
    """The child's first weights."""
    return replace(e.parent, seed=derived_seed(e.seed, "child")).untrained()


@pytest.mark.parametrize(
    "recipe", [ADAM, Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=1e-2, batch=64, epochs=3)], ids=["adam", "sgd"]
)
def test_a_child_is_the_net_that_fit_trains_under_the_mask(recipe):
    e = MaskedTraining(PARENT, "magnitude", 0.2, recipe=recipe, seed=3)
    found, kept, child = run(e), e.masks(), net(e)
    history = fit(
        child, PARENT.split("train", 256), PARENT.split("test"), recipe, seed=derived_seed(3, "child"), mask=kept
    )
    assert found.table.test_loss.tolist() == history.table.test_loss.tolist()
    assert (found.table.escaped == 0).all()
    assert (found.table.nonzero <= sum(int(m.sum()) for m in kept.values())).all() and (found.table.nonzero > 0).all()
    for name, mask in kept.items():
        assert child.get_parameter(name)[~mask].count_nonzero() == 0


def test_the_mask_is_that_of_the_trained_parent():
    e = MaskedTraining(PARENT, "magnitude", 0.2)
    trained = run(PARENT, weights=True).weights()
    flat = torch.cat([trained[f"{n}.weight"].abs().flatten() for n in ("fc1", "fc2", "fc3", "fc4", "out")])
    kept = torch.cat([m.flatten() for m in e.masks().values()])
    assert kept.sum() == round(0.2 * len(flat)) and flat[kept].min() >= flat[~kept].max()
    worst = torch.cat([m.flatten() for m in replace(e, invert=True).masks().values()])
    assert flat[worst].max() <= flat[~worst].min() and worst.sum() == kept.sum()


def test_diffs_come_from_the_epoch_of_the_highest_coherence():
    e = MaskedTraining(PARENT, "diff", 0.3, sample=100)
    table = run(e.diffs_from).table
    assert table.epoch.tolist() == [0, 1, 2, 3] and np.isnan(table.coherence[0])
    peak = table[table.peak].iloc[0]
    assert table.peak.sum() == 1 and peak.coherence == table.coherence[1:].max()
    there = replace(PARENT, recipe=replace(ADAM, epochs=int(peak.epoch))).trained()
    seen = gradients.statistics(there, PARENT.split("train", 100))
    assert seen.coherence() == pytest.approx(peak.coherence, rel=1e-6)
    for name, diff in run(e.diffs_from, weights=True).weights().items():
        torch.testing.assert_close(diff, seen.diffs[name].cpu())
    expected = masks.build({n: seen.diffs[n].abs() for n in masks.maskable(there)}, 0.3)
    assert all(torch.equal(mask, expected[name]) for name, mask in e.masks().items())


def test_the_last_epochs_mask_is_itself_and_the_first_is_nearer_than_chance():
    table = run(MaskSources(PARENT, (0, 1, 3), 64)).table
    last = run(PARENT, weights=True).weights()
    final = masks.build({f"{n}.weight": last[f"{n}.weight"].abs() for n in ("fc1", "fc2", "fc3", "fc4", "out")}, 0.1)
    first = masks.build(masks.scores(PARENT.untrained(), "magnitude"), 0.1)
    whole = masks.overlap(first, final).iloc[-1]
    assert table.overlap.iloc[-1] == 1 and table.above_chance.iloc[-1] == 1
    for column in ("overlap", "chance", "chance_in_layers", "above_chance"):
        assert table[column].iloc[0] == pytest.approx(whole[column], abs=1e-9)
    assert table.overlap.iloc[0] > table.chance_in_layers.iloc[0]


def test_one_training_leaves_the_parent_and_its_diffs(monkeypatch):
    trained = []
    monkeypatch.setattr(Train, "compute", lambda self: trained.append(self))
    e = MaskedTraining(PARENT, "diff", 0.1)
    assert [x for level in missing([PARENT, e]) for x in level] == [e.diffs_from, e]
    run(e)
    assert store.find(PARENT, weights=True) and not trained


def test_lost_diffs_are_made_again(capsys):
    e = MaskSources(PARENT, (0, 1, 2, 3), 64)
    before = run(e, weights=True)
    values, diffs = before.table, before.weights()
    PARENT.train_with(store.scratch(e), [((0, 4, 8, 12), lambda i, m: {"coherence": 0.0, "epoch": 0})])
    folder = before.folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    again = run(e, weights=True)
    assert again.table.equals(values) and all(torch.equal(diffs[k], v) for k, v in again.weights().items())
    assert not list(store.scratch(e).parent.glob("*.peak*"))


SOURCES = MaskSources(PARENT, (0, 1, 2, 3), 64)


def peak_file(e):
    return store.scratch(e).with_suffix(".peak.safetensors")


def answer(e):
    """All that a run of a net's mask sources stores, as what can be compared."""
    record, net = run(e, weights=True), store.find(e.net, weights=True)
    held = [{k: v.numpy().tobytes() for k, v in r.weights().items()} for r in (record, net)]
    return record.table.to_csv(), net.table.to_csv(), *held


class Death(BaseException):
    """The process is gone."""


@contextmanager
def dying(folder, after):
    """Die before the file event of this number, and leave `folder` as it stood then; gives the list of deaths."""
    events, deaths, copy = [], [], folder.with_name("as it was")

    def watched(function):
        def call(*args, **options):
            if len(events) == after and not deaths:
                deaths.append(function.__name__)
                shutil.copytree(folder, copy)
                raise Death
            events.append(function.__name__)
            return function(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch, suppress(Death):
        for place in (Path, checkpoint, store):
            for name in ("replace", "rename", "unlink") if place is Path else ["save_file"]:
                patch.setattr(place, name, watched(getattr(place, name)))
        yield deaths
    if deaths:
        shutil.rmtree(folder)
        copy.rename(folder)


@contextmanager
def saving(epochs):
    """Trainings save their checkpoint after these epochs only."""
    save = State.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "save", lambda state, _: save(state, 0) if state.epoch in epochs else None)
        yield


@contextmanager
def astray(beyond):
    """After this iteration, trainings go another way, on which coherence is higher."""
    look, rate, coherence = MaskSources._look, Recipe.lr_at, gradients.Statistics.coherence
    with pytest.MonkeyPatch.context() as patch:

        def elsewhere(self, peak, iteration, model):
            with pytest.MonkeyPatch.context() as here:
                if iteration > beyond:
                    here.setattr(gradients.Statistics, "coherence", lambda found: 1 + coherence(found))
                return look(self, peak, iteration, model)

        patch.setattr(MaskSources, "_look", elsewhere)
        patch.setattr(Recipe, "lr_at", lambda recipe, k: rate(recipe, k) * (3 if k >= beyond else 1))
        yield


@pytest.fixture
def fits(monkeypatch):
    """The trainings that were begun."""
    begun, resume = [], State.resume
    monkeypatch.setattr(State, "resume", lambda state: begun.append(state) or resume(state))
    return begun


def leftovers():
    """What lies beside the records, but for locks."""
    return [f.name for f in store.scratch(SOURCES).parent.glob("*")]


def each_death(folder, *around):
    """The number of the file event before which a run of the mask sources died, for each there is."""
    for after in range(100):
        shutil.rmtree(folder)
        folder.mkdir()
        with ExitStack() as stack:
            for context in around:
                stack.enter_context(context())
            deaths = stack.enter_context(dying(folder, after))
            run(SOURCES)
        if not deaths:
            return
        yield after


SAVED = [(1,), *(pytest.param(epochs, marks=pytest.mark.soak) for epochs in ((), (2,), (1, 2, 3)))]


@pytest.mark.parametrize("saved", SAVED, ids=str)
def test_mask_sources_are_the_same_wherever_a_run_before_died(tmp_path, fits, saved):
    expected, after = answer(SOURCES), 0
    for after in each_death(tmp_path / "local", partial(saving, saved)):
        fits.clear()
        assert answer(SOURCES) == expected and len(fits) <= 2, after
        assert not leftovers() or not fits, after  # what is left once the record is stored is the store's to clean
    # a checkpoint is written and renamed, and the last one is taken away
    assert after + 1 == 11 + 2 * len(saved) + bool(saved)


@pytest.mark.parametrize("saved", SAVED[:3], ids=str)
def test_a_peak_of_a_run_that_died_on_another_way_is_not_trusted(tmp_path, fits, saved):
    """The run that died went another way from its last checkpoint on, and saw a higher coherence there."""
    expected, after = answer(SOURCES), 0
    for after in each_death(tmp_path / "local", partial(saving, saved), partial(astray, 4 * max(saved, default=0))):
        if store.find(PARENT) or store.find(SOURCES):  # it came to its end, and its answer is one, too
            break
        fits.clear()
        assert answer(SOURCES) == expected and len(fits) <= 2, after
        assert not leftovers(), after
    assert after > 4


@pytest.mark.parametrize("iteration", [0, 3, 4, 5, 8, 12, 99])
@pytest.mark.parametrize("known", [True, False])
def test_a_stale_peak_is_met_without_end(fits, iteration, known):
    expected = answer(SOURCES)
    for record in (store.find(SOURCES), store.find(PARENT)):
        shutil.rmtree(record.folder)
    junk = {name: torch.full_like(w, 0.5) for name, w in run(SOURCES.net, weights=True).weights().items()}
    shutil.rmtree(store.find(PARENT).folder)
    values = dict(iteration=iteration, coherence=2.0) | (dict(state=[1] * 32) if known else {})
    checkpoint.save(peak_file(SOURCES), {"diffs": junk}, values)
    fits.clear()
    assert answer(SOURCES) == expected and len(fits) == (1 if iteration >= 4 else 2)
    assert not leftovers()


def test_a_peak_that_cannot_be_read_back_is_an_error_and_no_loop(fits, monkeypatch):
    load = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda file: None if ".peak" in file.name else load(file))
    with pytest.raises(RuntimeError, match="the diffs of the peak cannot be read back"):
        run(SOURCES)
    assert len(fits) == 2


def test_a_net_whose_gradients_are_all_zero_has_no_peak(fits, monkeypatch):
    monkeypatch.setattr(gradients.Statistics, "coherence", lambda self: float("nan"))
    with pytest.raises(FloatingPointError, match="no coherence at any of its epochs: all gradients are zero"):
        run(SOURCES)
    assert len(fits) == 1


def test_an_epoch_without_coherence_is_no_peak(monkeypatch):
    expected, coherence = run(SOURCES, weights=True), gradients.Statistics.coherence
    table, diffs = expected.table, expected.weights()
    place, calls = int(table.coherence[1:].idxmin()), []
    shutil.rmtree(expected.folder)

    def sometimes(found):
        calls.append(1)
        return float("nan") if len(calls) == place else coherence(found)

    monkeypatch.setattr(gradients.Statistics, "coherence", sometimes)
    again = run(SOURCES, weights=True)
    assert np.isnan(again.table.coherence[place]) and again.table.peak.equals(table.peak)
    assert all(torch.equal(diffs[k], v) for k, v in again.weights().items())


LATER = replace(PARENT, start=PARENT, seed=1)


@pytest.mark.parametrize("criterion", ["random", "magnitude"])
def test_a_trained_net_does_not_ask_for_what_it_started_from(criterion, monkeypatch):
    run(LATER)
    shutil.rmtree(store.find(PARENT).folder)
    computed = []
    monkeypatch.setattr(Train, "compute", lambda self: computed.append(self) or 1 / 0)
    LATER.trained()
    MaskedTraining(LATER, criterion).masks()
    assert not computed


def test_masks_of_what_is_not_read_train_no_net(monkeypatch):
    computed = []
    monkeypatch.setattr(Train, "compute", lambda self: computed.append(self) or 1 / 0)
    e = MaskedTraining(LATER, "random", 0.2)
    assert e.masks().keys() == MaskedTraining(PARENT, "random", 0.2).masks().keys() and not computed


def test_numbers_from_numpy_give_the_experiments_of_plain_ones():
    plain = MaskedTraining(PARENT, "random", 0.25, skip=("fc1.weight",), begin=5, seed=3)
    strange = MaskedTraining(
        replace(PARENT, width=np.int64(12), limit=np.int32(256), seed=np.uint8(0), model=np.str_("mlp")),
        np.str_("random"),
        np.float64(0.25),
        skip=np.array(["fc1.weight"]),
        begin=np.int64(5),
        seed=np.int16(3),
        invert=np.bool_(False),
    )
    assert strange == plain and strange.key == plain.key and repr(strange) == repr(plain)
    assert hash(strange) == hash(plain)
    sources = MaskSources(PARENT, tuple(np.arange(4)), np.int64(64))
    assert sources.key == SOURCES.key and sources.config() == SOURCES.config() and answer(sources) == answer(SOURCES)
    assert all(torch.equal(v, strange.masks()[k]) for k, v in plain.masks().items())


def test_parents_are_trained_only_where_something_is_read_of_them():
    blind = MaskedTraining(PARENT, "random", 0.1, "erk")
    assert blind.needs() == [] and MaskedTraining(PARENT).needs() == [PARENT]
    run(blind)
    assert store.find(PARENT) is None
    assert blind in lineage([blind]) and PARENT in lineage([blind])
    sweep([MaskedTraining(PARENT, "weight_taylor", 0.1, sample=32)])
    assert store.find(PARENT) is not None


def test_where_a_child_begins(monkeypatch):
    begun = {}
    monkeypatch.setattr(
        "pruning_lab.experiments.masked.fit", lambda model, *_, **__: begun.update(model.state_dict()) or 1 / 0
    )

    def first(begin):
        with pytest.raises(ZeroDivisionError):
            MaskedTraining(PARENT, "random", 0.5, begin=begin, seed=2).compute()
        return begun["fc1.weight"].clone()

    fresh = models.build("mlp", (1, 8, 8), 10, 12, derived_seed(2, "child")).state_dict()["fc1.weight"]
    assert torch.equal(first("fresh"), fresh)
    assert torch.equal(first("initial"), PARENT.untrained().state_dict()["fc1.weight"])
    early = replace(PARENT, recipe=replace(ADAM, epochs=None, iterations=5)).trained()
    assert torch.equal(first(5), early.state_dict()["fc1.weight"].cpu())
    assert not torch.equal(first("fresh"), first("initial")) and not torch.equal(first(5), first("initial"))


def places(e):
    return torch.cat([m.flatten() for m in e.masks().values()])


def test_noise_and_shuffles_are_drawn_by_the_childs_seed():
    noise = MaskedTraining(PARENT, "random", 0.3)
    assert torch.equal(places(noise), places(noise)) and not torch.equal(places(noise), places(replace(noise, seed=1)))
    plain, shuffled = MaskedTraining(PARENT, density=0.5), MaskedTraining(PARENT, density=0.5, shuffle="layer")
    assert [m.sum() for m in plain.masks().values()] == [m.sum() for m in shuffled.masks().values()]
    assert torch.equal(places(plain), places(replace(plain, seed=1)))
    assert not torch.equal(places(plain), places(shuffled))
    assert not torch.equal(places(shuffled), places(replace(shuffled, seed=1)))


def test_the_record_counts_every_layer_and_names_the_empty_ones(capsys):
    e = MaskedTraining(PARENT, "magnitude", 0.02, skip=("fc2.weight",), invert=True, floor=0.0)
    arrays = run(e).arrays
    assert arrays["layers"].tolist() == ["fc1", "fc2", "fc3", "fc4", "out"]
    assert arrays["covered"].tolist() == [True, False, True, True, True]
    assert arrays["weights"].tolist() == [768, 144, 144, 144, 120]
    assert arrays["kept"][1] == 144 and arrays["kept"][arrays["covered"]].sum() == round(0.02 * (768 + 144 + 144 + 120))
    kept = dict(zip(arrays["layers"], arrays["kept"], strict=True))
    assert arrays["emptied"].tolist() == [f"{n}.weight" for n, k in kept.items() if k == 0]


def test_an_empty_layer_is_in_the_record_and_said(capsys):
    e = MaskedTraining(PARENT, "random", 0.004, "erk")
    empty = run(e).arrays["emptied"].tolist()
    assert empty and ", ".join(empty) in capsys.readouterr().out


def test_a_weight_that_comes_back_fails_the_run(monkeypatch):
    from pruning_lab.training import fit as train

    monkeypatch.setattr(train._Run, "apply_mask", lambda self: None)
    with pytest.raises(AssertionError, match="masked weights are not zero"):
        run(MaskedTraining(PARENT, "random", 0.5))


def test_bad_settings_are_refused():
    for settings, words in (
        (dict(criterion="norms"), "unknown criterion"),
        (dict(begin="late"), "begin='late'"),
        (dict(begin=0), "begin=0"),
    ):
        with pytest.raises(ValueError, match=words):
            MaskedTraining(PARENT, **settings)
    with pytest.raises(ValueError, match="no peak"):
        MaskSources(PARENT, (0,))


def test_a_criterion_from_outside_is_in_the_key(monkeypatch):
    def mine(weight):
        return weight.abs()

    monkeypatch.setitem(criteria.WEIGHT, "mine", mine)
    e = MaskedTraining(PARENT, "mine")
    before = e.key
    assert "mine" in e.plugin_digests() and MaskedTraining(PARENT).plugin_digests() == {}

    def mine(weight):  # another criterion under the same name
        return -weight.abs()

    monkeypatch.setitem(criteria.WEIGHT, "mine", mine)
    assert MaskedTraining(PARENT, "mine").key != before


def test_settings_of_arms_line_up_in_one_table():
    arms = [MaskedTraining(PARENT, c, 0.5, sample=64) for c in ("magnitude", "diff", "random")]
    sweep(arms)
    table = gather(arms)
    assert set(table.criterion) == {"magnitude", "diff", "random"} and "width" not in table
    assert len(table) == 9 and json.dumps(arms[1].config())


def test_the_sample_is_never_more_than_the_net_saw():
    e = MaskedTraining(PARENT, "gradient", 0.2, sample=1000)
    given = gradients.statistics(PARENT.trained(), data.load("digits", "train", limit=256, scale="standardised"))
    kept = torch.cat([m.flatten() for m in e.masks().values()])
    scores = torch.cat([given.mean[n].abs().flatten() for n in masks.maskable(PARENT.untrained())])
    assert scores[kept].min() >= scores[~kept].max()


@pytest.mark.parametrize("name", ["06_pruning_by_width", "07_pruning_by_parent"])
def test_chapters_take_a_criterion_of_ones_own(monkeypatch, name):
    def planned():
        return {e.criterion for e in chapters.plan(chapters.chapter(name), "smoke") if isinstance(e, MaskedTraining)}

    before = planned()
    monkeypatch.setitem(criteria.WEIGHT, "mine", lambda weight: weight.abs())
    assert planned() - before == {"mine"} and {"magnitude", "diff", "random"} <= before


def test_one_look_can_be_tried_by_itself_and_leaves_no_file(tmp_path):
    training = MaskSources(PARENT, (0, 1), 64).training()
    before = set(store.scratch(PARENT).parent.glob("*"))
    row = training.look(4, PARENT.untrained())
    assert 0 <= row["coherence"] <= 1 and row["epoch"] == 1 and set(store.scratch(PARENT).parent.glob("*")) == before


NORMED = Train("digits", "resnet50_cifar", Recipe(lr=0.5, batch=32, epochs=2), width=2, limit=64)


def test_a_peak_may_be_that_of_refreshed_batch_norms():
    plain, own = (
        run(MaskSources(NORMED, (0, 1, 2), 64, refreshed=refreshed), weights=True) for refreshed in (False, True)
    )
    seen, model = NORMED.split("train", 64), NORMED.trained()
    refreshed = _with_own_statistics(model, seen)
    statistics = gradients.statistics(refreshed, seen, want={"coherence"}, silent=SILENT)
    assert own.table.coherence.iloc[-1] == pytest.approx(statistics.coherence(), rel=1e-4)
    assert plain.table.coherence.iloc[-1] != pytest.approx(statistics.coherence(), rel=1e-4)
    assert own.table.loss.iloc[-1] == pytest.approx(evaluate(refreshed, seen)[0], rel=1e-5)
    assert own.table.overlap.equals(plain.table.overlap), "masks by magnitude read no statistics"
    assert any(not torch.equal(plain.weights()[name], diffs) for name, diffs in own.weights().items())


def test_a_child_may_be_tested_with_refreshed_batch_norms():
    plain, own = (MaskedTraining(NORMED, "diff", 0.5, sample=64, refreshed=refreshed) for refreshed in (False, True))
    assert (own.diffs_from.refreshed, plain.diffs_from.refreshed) == (True, False)
    record = run(own)
    assert (
        record.arrays["refreshed"].shape == (2,)
        and ((record.arrays["refreshed"] >= 0) & (record.arrays["refreshed"] <= 1)).all()
    )
    model = own._beginning()
    train, test = NORMED.split("train", 64), NORMED.split("test")
    fit(model, train, test, NORMED.recipe, seed=derived_seed(0, "child"), mask=own.masks())
    again = _with_own_statistics(model, train)
    assert record.arrays["refreshed"].tolist() == pytest.approx([evaluate(again, split)[1] for split in (train, test)])
    assert "refreshed" not in run(plain).arrays


def test_refreshing_is_in_no_key_of_what_was_there():
    assert MaskedTraining(NORMED).key == MaskedTraining(NORMED, refreshed=False).key
    assert MaskSources(NORMED, (0, 1)).key == MaskSources(NORMED, (0, 1), refreshed=False).key
    assert MaskedTraining(NORMED).key != MaskedTraining(NORMED, refreshed=True).key
