"""A full disk: the error names the place and what to do, and nothing half-written stays, of a record or of a
checkpoint.
"""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pruning_lab import Recipe, Snapshots, Train
from pruning_lab.records import disk, store
from pruning_lab.records.disk import DiskFull
from pruning_lab.running import sweeps
from pruning_lab.training import checkpoint

GOES_ON = "the same command goes on from there, trainings from their checkpoints\n"
ROOT = Path(__file__).resolve().parents[1]
NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, batch=32, iterations=6), width=8, limit=64)


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()
    return store_folder


def files(folder):
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file() and f.suffix != ".lock")


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["to_csv", "savez_compressed", "save_file", "write_text", "rename", "mkdir"])
def test_a_full_disk_is_said_with_the_place_and_what_to_do(shelves, monkeypatch, where):
    owner = dict(to_csv=pd.DataFrame, savez_compressed=np, save_file=store).get(where, Path)
    monkeypatch.setattr(owner, where, full)
    with pytest.raises(DiskFull) as caught:
        store.run(NET)
    said = str(caught.value)
    assert (
        said.startswith(f"no space left: Train {NET.key} cannot be stored in {shelves}") and "PRUNING_LAB_STORE" in said
    )
    assert "python -m pruning_lab clean" in said and isinstance(caught.value.__cause__, OSError)
    assert files(shelves) == [] and not list(shelves.rglob(".part-*"))
    monkeypatch.undo()


def test_a_sweep_ends_at_a_full_disk(shelves, monkeypatch, capsys):
    """What would be computed after it could not be stored either."""
    nets = [NET, *(Train(NET.dataset, NET.model, NET.recipe, seed, width=8, limit=64) for seed in (1, 2))]
    sweeps.sweep(nets[:1])
    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with ThreadPoolExecutor(1) as threads:
        for executor in (None, threads):
            with pytest.raises(DiskFull, match="no space left: Train"):
                sweeps.sweep(nets, executor)
    assert capsys.readouterr().out.count(f"stopped: 0 of 2 are stored; {GOES_ON}") == 2
    assert [f.name for f in (shelves / "Train").iterdir()] == [NET.key]


LIMITED = """
import os, resource, sys
from pruning_lab import Recipe, Snapshots, Train
from pruning_lab.records import store
from pruning_lab.training import fit as train
from pruning_lab.__main__ import main
import torch
torch.set_num_threads(1)
import test_disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
for place, every in zip(sys.argv[2:], (1e9, 0.0)):
    os.environ["PRUNING_LAB_STORE"] = place
    train.fit.__kwdefaults__["save_every"] = every  # without, a training this short writes no checkpoint
    print(main(["sweep", sys.argv[1]]), file=sys.stderr)
"""


def chapter(folder):
    cells = [("parameters", 'profile = "laptop"\n'), ("plan", "from test_disk import *\nexperiments = [NET]\n")]
    path = folder / "07_toy.ipynb"
    found = [dict(cell_type="code", metadata=dict(tags=[tag]), source=text.splitlines(True)) for tag, text in cells]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    return path


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path, monkeypatch):
    """A limit of the system: a file of more bytes cannot be written. Weights take 4,000, a checkpoint 5,000, all else
    less than 1,500.
    """
    more = dict(
        PYTHONPATH=os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        TQDM_DISABLE="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    places = [tmp_path / "record", tmp_path / "checkpoint"]  # after what does not fit there
    words = [sys.executable, "-c", LIMITED, str(chapter(tmp_path)), *map(str, places)]
    done = subprocess.run(words, env=os.environ | more, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 4 and lines[1::2] == ["2", "2"], lines
    for place, line in zip(places, lines[::2], strict=True):
        assert line.startswith(
            f"pruning_lab: a file may not grow so large: Train {NET.key} cannot be stored in {place}"
        )
        assert files(place) == [], place
        monkeypatch.setenv("PRUNING_LAB_STORE", str(place))
        sweeps.sweep([NET])  # with room again
        assert store.find(NET, weights=True)


def test_the_last_whole_checkpoint_stays_when_the_next_does_not_fit(shelves, monkeypatch):
    saved, write = [], checkpoint.save_file

    def some(tensors, file, metadata):
        if saved:
            file.write_bytes(b"half")
            raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        saved.append(file)
        write(tensors, file, metadata)

    monkeypatch.setattr(checkpoint, "save_file", some)
    monkeypatch.setitem(sys.modules["pruning_lab.training.fit"].fit.__kwdefaults__, "save_every", 0.0)
    with pytest.raises(DiskFull, match="no space left"):
        store.run(NET)
    assert (
        files(shelves) == [store.scratch(NET).relative_to(shelves).as_posix()]
        and checkpoint.load(store.scratch(NET)) is not None
    )
    monkeypatch.undo()


def test_a_net_that_is_put_aside_by_its_snapshots_is_whole_or_absent(shelves, monkeypatch):
    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(DiskFull, match=f"Snapshots .* cannot be stored in {shelves}"):
        store.run(Snapshots(NET, ("fc1",), (0, 6), sample=20))
    assert not [f for f in files(shelves) if not f.startswith("checkpoints")]


@pytest.mark.parametrize(
    "error, why",
    [
        (OSError(errno.ENOSPC, "x"), "no space left"),
        (OSError(errno.EDQUOT, "x"), "the quota is used up"),
        (OSError(errno.EFBIG, "x"), "a file may not grow so large"),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), "the quota is used up"),
        (OSError(errno.EACCES, "x"), None),
        (ValueError("28"), None),
    ],
)
def test_only_a_full_disk_is_one(error, why):
    assert disk.reason(error) == why and disk.reason(None) is None
    for link in ("__cause__", "__context__"):  # raised from it, and while it was being handled
        outer = ValueError("outer")
        setattr(outer, link, error)
        assert disk.reason(outer) == why


def test_other_errors_come_through_as_they_are(shelves, monkeypatch):
    monkeypatch.setattr(
        pd.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no"))
    )
    with pytest.raises(PermissionError):
        store.run(NET)
    half = shelves / "half"
    half.write_text("x")
    with pytest.raises(KeyError), disk.room("x", shelves, half):
        raise KeyError
    assert half.exists()
