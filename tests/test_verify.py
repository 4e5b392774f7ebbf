"""Published records computed again: which test they are put to, what passes, what is stored, what costs most waits."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from pruning_lab import Recipe, Train
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
    found, passes, words = nearness.judged(KIN[0], here, KIN)
    assert (found, passes) == (test, agrees) and re.search(says, words), words


def test_fewer_than_three_seeds_are_no_test_and_times_are_not_compared():
    other = answer([1.0, 9.0], threads=2)
    assert nearness.judged(KIN[0], other, KIN[:2])[:2] == (nearness.NEITHER, None)
    assert nearness.judged(KIN[0], answer([1.0, 9.0]), KIN, timed=("loss",))[:2] == (nearness.BITS, True)


def test_a_record_that_does_not_say_its_instructions_or_has_other_versions_is_not_asked_for_bits():
    old = dict(device={k: v for k, v in HERE.items() if k != "instructions"}, versions=VERSIONS)
    assert nearness.apart(old, dict(device=HERE, versions=VERSIONS)) == "its instructions were not kept"
    new = dict(device=HERE, versions=VERSIONS | dict(torch="2.12"))
    assert "made with torch 2.11, here 2.12" in nearness.apart(dict(device=HERE, versions=VERSIONS), new)


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
    out = capsys.readouterr().out.splitlines()
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


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_no_time_is_refused(shelf, capsys, minutes):
    assert main(["verify", "--minutes", minutes]) == 2
    assert "expected a number above 0" in capsys.readouterr().err


def test_a_stored_outcome_that_is_broken_is_named(shelf):
    assert verify.last() is None
    verify.file().write_text('{"format": 1, "records": [{"record": "x"}]}')
    with pytest.raises(ValueError, match="verified.json is broken .*run `python -m pruning_lab verify`"):
        verify.last()
