"""Published records computed again: which test they are put to, what passes, what is stored, what costs most waits."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_lab import Recipe, Train, UnitCurve, replace
from pruning_lab.__main__ import main
from pruning_lab.records import record, store
from pruning_lab.records.record import Stored
from pruning_lab.running import nearness, register, verify

NETS = [Train("digits", "mlp", Recipe(lr=0.05, batch=32, epochs=1), seed, width=4, limit=64) for seed in range(3)]
HERE = dict(type="cpu", name="one", instructions="AVX2", threads=1)
VERSIONS = dict(python="3.12", torch="2.11", numpy="2.4", system="Linux")


def answer(column, *, seed_column=0, arrays=None, **device):
    """An answer with one column of numbers, made on a device."""
    table = pd.DataFrame(dict(loss=column, seed=seed_column, name="fc1"))
    return Stored(table, arrays or {}, dict(device=HERE | device, versions=VERSIONS))


KIN = [answer([1.0, 2.0]), answer([1.2, 2.2]), answer([0.8, 1.8])]  # standard deviation of the means: 0.2


@pytest.mark.parametrize(
    "here, test, agrees, says",
    [
        (answer([1.0, 2.0]), nearness.BITS, True, "^equal bits$"),
        (answer([1.0, 2.0 + 1e-15]), nearness.BITS, False, "not the same bits in column loss"),
        (answer([1.0, 2.0], instructions="AVX512"), nearness.BITS, True, "equal bits, though .* AVX2, here AVX512"),
        (answer([1.5, 2.5], instructions="AVX512"), nearness.DEVIATIONS, True, "within .* 3 seeds, since it was made"),
        (answer([1.7, 2.7], threads=2), nearness.DEVIATIONS, False, r"threads 1, here 2; .* loss \(3.5 deviations"),
        (answer([np.nan, np.nan], threads=2), nearness.DEVIATIONS, False, "no number to compare"),
        (answer([1.0, 2.0], type="cuda", seed_column=1), nearness.DEVIATIONS, False, "here cuda; .* column seed"),
        (answer([1.0, 2.0], threads=2, arrays=dict(a=np.ones(2))), nearness.DEVIATIONS, False, "array a"),
    ],
)  # fmt: skip
def test_bits_are_asked_of_the_same_kind_of_machine_and_three_deviations_of_another(here, test, agrees, says):
    found, passes, words = nearness.judged(KIN[0], here, KIN[1:])
    assert (found, passes) == (test, agrees) and re.search(says, words), words


def test_fewer_than_three_seeds_are_no_test_and_times_are_not_compared():
    other = answer([1.0, 9.0], threads=2)
    assert nearness.judged(KIN[0], other, KIN[1:2])[:2] == (nearness.NEITHER, None)
    assert nearness.judged(KIN[0], answer([1.0, 9.0]), KIN[1:], timed=("loss",))[:2] == (nearness.BITS, True)


def test_a_record_that_does_not_say_its_instructions_or_has_other_versions_is_not_asked_for_bits():
    old = dict(device={k: v for k, v in HERE.items() if k != "instructions"}, versions=VERSIONS)
    assert nearness.apart(old, dict(device=HERE, versions=VERSIONS)) == "its instructions were not kept"
    new = dict(device=HERE, versions=VERSIONS | dict(torch="2.12"))
    assert "made with torch 2.11, here 2.12" in nearness.apart(dict(device=HERE, versions=VERSIONS), new)


def curve(end, seed=0, rows=8):
    """An answer that falls from about 100 to about `end`, and differs most over seeds where it begins."""
    rng = np.random.default_rng(seed)
    return np.geomspace(100, end, rows) * rng.uniform(0.8, 1.2, rows)


SEEDS = [answer(curve(0.01, seed)) for seed in range(1, 5)]


@pytest.mark.parametrize(
    "there, here, says",
    [
        ([*curve(0.01)[:-1], 1.28], curve(0.01, 7), r"column loss \(in the last row: \d+"),  # the mean has not moved
        (curve(0.01, 7), [*curve(0.01)[:-1], 1.28], r"column loss \(in the last row: \d+"),
        ([*curve(0.01)[:4], 30.0, *curve(0.01)[5:]], curve(0.01, 7), r"column loss \(in row 5 of 8: \d+"),
        (curve(0.01), curve(0.01)[:5], r"column loss \(in the (number of rows|last row): "),
        ([*curve(0.01)[:-1], np.nan], curve(0.01, 7), r"in the last row: no number to compare"),
    ],
)
def test_what_is_large_or_first_hides_no_row(there, here, says):
    assert "within" in nearness.judged(answer(curve(0.01)), answer(curve(0.01, 7), threads=2), SEEDS)[2]
    test, passes, words = nearness.judged(answer(there), answer(here, threads=2), SEEDS)
    assert (test, passes) == (nearness.DEVIATIONS, False) and re.search(says, words), words


def test_an_answer_that_is_wrong_does_not_widen_what_it_is_held_against():
    for wrong in (KIN[0], answer([30.0, 60.0])), (answer([30.0, 60.0]), KIN[0]):
        there, here = wrong
        here = Stored(here.table, here.arrays, here.meta | dict(device=HERE | dict(threads=2)))
        assert nearness.judged(there, here, KIN[1:])[1] is False


def test_rows_that_are_the_same_at_every_seed_may_differ_as_others_do():
    """All images were right in the last row of every seed, and one was not here."""
    seeds = [answer([0.5 + 0.02 * seed, 0.9 - 0.01 * seed, 1.0]) for seed in range(4)]
    assert nearness.judged(seeds[0], answer([0.51, 0.9, 0.998], threads=2), seeds[1:])[1] is True
    assert nearness.judged(seeds[0], answer([0.51, 0.9, 0.7], threads=2), seeds[1:])[1] is False


@settings(deadline=None)
@given(st.integers(3, 8), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_order_of_other_seeds_and_the_scale_of_numbers_do_not_matter(seeds, rows, seed):
    rng = np.random.default_rng(seed)
    there, here, *others = rng.normal(size=(seeds + 1, rows)) + 5
    found = nearness.judged(answer(there), answer(here, threads=2), list(map(answer, others)))
    assert found[1] == nearness.judged(answer(there), answer(here, threads=2), list(map(answer, others[::-1])))[1]
    larger = [answer(1024 * one, threads=threads) for one, threads in ((there, 1), (here, 2))]
    assert found[1] == nearness.judged(*larger, [answer(1024 * one) for one in others])[1]
    assert nearness.judged(answer(there), answer(there * (1 + 1e-9), threads=2), list(map(answer, others)))[1] is True


@pytest.fixture
def shelf(store_folder, tmp_path, monkeypatch):
    """A published shelf of three small nets and of one that takes months."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    for e in NETS:
        store.run(e)
        store.publish(e)
    change(tmp_path / "results", NETS[2], seconds=1e7)
    return tmp_path / "results"


def change(shelf, e, **more):
    """Other words in a published record."""
    file = shelf / "Train" / e.key / record.META
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def test_the_command_says_which_test_it_used_stores_the_outcome_and_leaves_what_does_not_fit(
    shelf, capsys, store_folder
):
    before = sorted(store_folder.rglob("*"))
    assert main(["verify", "--minutes", "60"]) == 0
    begin, count, *out = capsys.readouterr().out.splitlines()
    assert "checksums" in begin and count.startswith("3 records read; ")
    assert [line.split()[0] for line in out[:2]] == ["agrees", "agrees"] and all(
        e.key in out[0] + out[1] for e in NETS[:2]
    )
    assert out[2] == "not computed: 1, since there was no time for them"
    assert out[3].startswith(
        "2 of 3 published records computed again: 2 agree by equal bits, 0 agree by three standard"
    )
    told = verify.last()
    assert told["left"] == {"there was no time for them": 1} and told["published"] == 3 and told["minutes"] == 60
    assert {(one["record"], one["test"], one["agrees"]) for one in told["records"]} == {
        (register.name(e), nearness.BITS, True) for e in NETS[:2]
    }
    assert str(shelf) not in verify.file().read_text() and sorted(store_folder.rglob("*")) == before


def test_an_answer_that_is_another_one_is_an_error_that_names_it(shelf, capsys):
    folder = shelf / "Train" / NETS[0].key
    text = record.text(folder).replace(b"0.", b"1.", 1)
    (folder / record.PACKED).write_bytes(record.packed(text))
    change(shelf, NETS[0], files={**json.loads((folder / record.META).read_text())["files"],
                                  record.TABLE: hashlib.sha256(text).hexdigest()})  # fmt: skip
    assert main(["verify", "--minutes", "60"]) == 2
    out, err = capsys.readouterr()
    assert (
        "DIFFERS" in out and f"1 published records differ from what this machine computes: Train/{NETS[0].key}" in err
    )
    assert [one["agrees"] for one in verify.last()["records"]].count(False) == 1


def test_what_cannot_be_computed_here_is_counted_by_its_reason(shelf, capsys):
    meta = json.loads((shelf / "Train" / NETS[0].key / record.META).read_text())
    data = {split: dict(seen, digest="0" * 16) for split, seen in meta["data"].items()}
    change(shelf, NETS[0], data=data)
    (shelf / "Train" / NETS[1].key / record.META).write_text("{")
    assert main(["verify", "--minutes", "60"]) == 2
    out, err = capsys.readouterr()
    assert "not computed: 1, since they are broken" in out and "1, since their data have other bytes here" in out
    assert "no published record was computed again: name a folder" in err and verify.last() is None


def test_what_is_made_of_nets_whose_images_are_not_here_stops_no_other(shelf, capsys, monkeypatch):
    """A curve is published and its net is not: what that takes is reckoned from the number of its images."""
    curve = UnitCurve(replace(NETS[0], seed=7), "fc1", ("norm",))
    store.run(curve)
    store.publish(curve)

    def absent(*_):
        raise FileNotFoundError("no such set, and no network")

    monkeypatch.setattr(Train, "cost", absent)
    monkeypatch.setattr(UnitCurve, "data_read", absent)
    assert main(["verify", "--minutes", "60"]) == 0
    out = capsys.readouterr().out
    assert out.count("agrees") == 2 and "not computed: 1, since their data cannot be read here" in out


def test_a_file_that_was_changed_is_told_and_its_siblings_are_none_the_worse(shelf, capsys):
    folder = shelf / "Train" / NETS[1].key
    (folder / record.PACKED).write_bytes(record.packed(record.text(folder).replace(b"0.", b"1.", 1)))
    assert main(["verify", "--minutes", "60"]) == 2
    out, err = capsys.readouterr()
    assert f"Train/{NETS[1].key}: {record.PACKED} is not what record.json says" in out.splitlines()[1]
    assert "\nBROKEN " in out and "DIFFERS" not in out and "agrees    " in out
    assert err.strip().endswith(f"1 are broken: Train/{NETS[1].key}")
    states = register.table({}).set_index("record").state
    assert states[NETS[1].key] == register.BROKEN and (states.drop(NETS[1].key) == "current").all()


def test_a_file_that_no_checksum_is_of_makes_a_record_broken_and_spares_its_siblings(shelf):
    (shelf / "Train" / NETS[1].key / "notes.txt").write_text("mine")
    found, broken = register.entries()
    assert broken == {f"Train/{NETS[1].key}": "record.json has no checksum of notes.txt"} and len(found) == 2


def test_one_that_is_merely_near_where_its_likes_have_the_same_bits_is_doubtful():
    told = []
    said = [verify.Said(f"Train/{k}", nearness.BITS, True, "equal bits", 1.0, "threads 1, here 2") for k in range(3)]
    near = verify.Said("Train/near", nearness.DEVIATIONS, True, "within", 1.0, "threads 1, here 2")
    assert verify._doubted(said[0], said, told.append) is said[0] and not told
    assert verify._doubted(near, [*said[:2], near], told.append) is near and not told
    assert "3 other records" in verify._doubted(near, [*said, near], told.append).words and "Train/near" in told[0]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_no_time_is_refused(shelf, capsys, minutes):
    assert main(["verify", "--minutes", minutes]) == 2
    assert "expected a number above 0" in capsys.readouterr().err


def test_a_stored_outcome_that_is_broken_is_named(shelf):
    assert verify.last() is None
    verify.file().write_text('{"format": 1, "records": [{"record": "x"}]}')
    with pytest.raises(ValueError, match="verified.json is broken .*run `python -m pruning_lab verify`"):
        verify.last()
    assert verify._earlier() == ""


def test_who_replaces_an_outcome_is_told_what_it_was(shelf, capsys):
    assert verify._earlier() == ""
    verify.save(verify.Outcome(7, said=[verify.Said("Train/1", nearness.BITS, True, "equal bits", 1.0)] * 3), 2.5)
    assert main(["verify", "--minutes", "0.5"]) == 0
    assert "`git restore` takes the last one back: 3 records in 2.5 min)" in capsys.readouterr().out
