"""Image sets: fixed splits, the layouts that are read, digests, scales, and one clear error for each kind of bad
input.
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pruning_lab import Recipe, Snapshots, Train, UnitCurve, data, environment, npz
from pruning_lab.data import digests, downloads, files, loading, pixels, sharing
from pruning_lab.records import store


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data root."""
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def put(root, name="own", split="train", **change):
    """Write a small sound set of colour images, or one changed as told; an array that is None is left out."""
    r = np.random.default_rng(5)
    images, labels = r.integers(0, 256, (12, 5, 4, 3), np.uint8), np.arange(12, dtype=np.uint8) % 3
    arrays = dict(images=images, labels=labels, classes=np.array(["a", "b", "c"]))
    file = root / name / f"{split}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **{k: v for k, v in (arrays | change).items() if v is not None})
    return file


def offline(*_, **__):
    raise OSError("no network here")


# digits


def test_digits_are_split_once_for_all():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert len(train) + len(test) == 1797 and (len(train), len(test)) == (1352, 445)
    assert (train.digest, test.digest) == ("ba0561eb4920908c", "14ff826f26c2831f")
    assert (
        train.images.shape[1:] == (1, 8, 8)
        and train.images.dtype == torch.float32
        and train.labels.dtype == torch.int64
    )
    assert train.classes == tuple("0123456789")


def test_digits_are_stratified_and_disjoint():
    from sklearn.datasets import load_digits

    whole = load_digits()
    train, test = data.load("digits", "train"), data.load("digits", "test")
    for k in range(10):
        n = (whole.target == k).sum()
        assert abs((test.labels == k).sum().item() - n / 4) < 1
    rows = [(tuple(x.ravel()), int(y)) for x, y in zip(whole.images / 16, whole.target, strict=True)]
    found = [
        (tuple(x.ravel().tolist()), int(y)) for s in (train, test) for x, y in zip(s.images, s.labels, strict=True)
    ]
    assert sorted(rows) == sorted(found)  # every scan once: none is in both halves, none is lost


@pytest.mark.parametrize("place", ["nowhere", "elsewhere"])
def test_digits_come_through_scikit_learn_where_its_file_lies_elsewhere(monkeypatch, tmp_path, place):
    spec = None if place == "nowhere" else SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    expected = files._scans()
    monkeypatch.setattr(files, "find_spec", lambda _: spec)
    assert np.array_equal(files._scans(), expected) and expected.shape == (1797, 65)


def test_digits_cost_no_import_of_scikit_learn():
    load = "import sys; from pruning_lab import data; data.load('digits', 'train', device='cpu')"
    code = f"{load}; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# a folder of the user's own


def test_own_sets_are_read_channels_first(root):
    file = put(root)
    split = data.load("own", "train")
    with np.load(file) as z:
        expected, labels = z["images"].transpose(0, 3, 1, 2) / 255, z["labels"]
    np.testing.assert_allclose(split.images.numpy(), expected, rtol=1e-6)
    assert (
        split.images.is_contiguous() and split.labels.tolist() == labels.tolist() and split.classes == ("a", "b", "c")
    )
    assert split.name == "own" and split.lossy == 0 and "own" in data.names()


def test_float_pixels_and_default_class_names(root):
    images = np.random.default_rng(0).random((12, 5, 4, 1), np.float32)
    put(root, images=images, classes=None)
    split = data.load("own", "train")
    np.testing.assert_array_equal(split.images.numpy(), images.transpose(0, 3, 1, 2))
    assert split.classes == ("0", "1", "2")


BROKEN_OTHER = {
    "truncated": (lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]), "cannot be read as .npz"),
    "empty": (lambda f: f.write_bytes(b""), "cannot be read as .npz"),
    "no zip": (lambda f: f.write_text("images, labels"), "cannot be read as .npz"),
    "pickled labels": (
        lambda f: np.savez(f, images=np.zeros(3), labels=np.array([None])),
        "cannot be read as .npz without pickles",
    ),
    "no labels": (
        lambda f: np.savez(f, images=np.zeros(3)),
        r"holds \['images'\]; expected arrays 'images' and 'labels'",
    ),
}


@pytest.mark.parametrize("own, other", [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("spoil, says", BROKEN_OTHER.values(), ids=BROKEN_OTHER)
def test_a_broken_other_half_from_which_classes_are_counted_is_named(root, own, other, spoil, says):
    file, broken = (put(root, split=split, classes=None) for split in (own, other))
    spoil(broken)
    with pytest.raises(ValueError, match=says) as caught:
        data.load("own", own)
    assert str(broken) in str(caught.value) and str(file) not in str(caught.value)


def test_of_the_other_half_the_labels_are_read_and_no_pixels(root):
    put(root, classes=None)
    put(root, split="test", images=np.full((1, 5, 4, 3), np.nan, np.float32), labels=np.array([3]), classes=None)
    assert data.load("own", "train").classes == tuple("0123")


@pytest.mark.parametrize("own, other", [("train", "test"), ("test", "train")])
def test_class_names_that_one_half_has_are_those_of_both(root, own, other):
    put(root, split=own, classes=None, labels=np.arange(12) % 2), put(root, split=other)
    assert data.load("own", own).classes == data.load("own", other).classes == ("a", "b", "c")


@pytest.mark.parametrize("lacks", ["train", "test"])
def test_both_halves_have_as_many_classes_where_one_lacks_the_top_one(root, lacks):
    for split in ("train", "test"):
        put(root, split=split, classes=None, labels=np.arange(12, dtype=np.uint8) % (3 if split == lacks else 5))
    halves = {split: data.load("own", split) for split in ("train", "test")}
    assert halves[lacks].labels.max() == 2 and halves["train"].classes == halves["test"].classes == tuple("01234")
    assert data.load("own", lacks, limit=2).classes == tuple("01234")


def test_a_label_too_high_to_be_numbered_is_refused(root):
    put(root, classes=None, labels=np.full(12, 9_999, np.int64))
    with pytest.warns(npz.EmptyClass, match=r"no image has the label \(0, 1, 2, 3, 4, ...\), so that nets with 10000"):
        assert len(data.load("own", "train").classes) == 10_000
    put(root, "more", classes=None, labels=np.full(12, 10_000, np.int64))
    with pytest.raises(ValueError, match="a label of 10000, and no array 'classes'"):
        data.load("more", "train")


SKIPPED = {
    "from one": ([1, 2, 3, 4], [1, 2, 3, 4], "(0), so that nets with 5 outputs are trained for 4 classes"),
    "one in the midst": ([0, 1, 3, 3], [3, 3, 0, 0], "(2), so that nets with 4 outputs are trained for 3 classes"),
    "two": ([0, 3, 5, 2], [0, 0, 0, 0], "(1, 4), so that nets with 6 outputs are trained for 4 classes"),
}


@pytest.mark.parametrize("train, test, says", SKIPPED.values(), ids=SKIPPED)
def test_numbers_of_classes_that_no_image_has_are_told(root, train, test, says):
    for split, labels in dict(train=train, test=test).items():
        put(root, split=split, classes=None, labels=np.tile(labels, 3))
    with pytest.warns(npz.EmptyClass, match=f"own: no image has the label {re.escape(says)}: number labels from 0 on"):
        data.load("own", "train")


def test_a_class_that_one_half_has_or_that_is_named_is_told_of_by_nobody(root):
    put(root, classes=None, labels=np.tile([0, 1, 3], 4)), put(root, split="test", classes=None)
    put(root, "named", labels=np.tile([0, 2], 6))
    assert len(data.load("own", "train").classes) == 4 and len(data.load("named", "train").classes) == 3


def test_limit_takes_the_first_images_and_counts_their_lossy_ones(root):
    put(root, lossy=np.array([1, 4, 9]))
    whole, part = data.load("own", "train"), data.load("own", "train", limit=5)
    assert torch.equal(part.images, whole.images[:5]) and torch.equal(part.labels, whole.labels[:5])
    assert (whole.lossy, part.lossy) == (3, 2) and part.digest != whole.digest
    assert data.load("own", "train", limit=4).lossy == 1  # positions count from 0
    assert len(data.load("own", "train", limit=99)) == 12


def test_images_can_be_resized(root):
    put(root, images=np.full((12, 6, 6, 3), 51, np.uint8))
    split = data.load("own", "train", image_size=16)
    assert split.images.shape == (12, 3, 16, 16)
    torch.testing.assert_close(split.images, torch.full_like(split.images, 0.2))
    assert split.digest == data.load("own", "train").digest  # of the bytes as stored
    assert torch.equal(data.load("own", "train", image_size=6).images, data.load("own", "train").images)


def test_standardised_uses_the_training_set_s_moments_for_both_halves(root):
    r = np.random.default_rng(1)
    put(root)
    put(root, split="test", images=r.integers(100, 256, (12, 5, 4, 3), np.uint8))
    unit, scaled = (data.load("own", "train", scale=s).images.double() for s in ("unit", "standardised"))
    mean, sd = unit.mean((0, 2, 3), keepdim=True), unit.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(scaled, (unit - mean) / sd, atol=1e-5, rtol=1e-5)
    test, test_scaled = (data.load("own", "test", scale=s).images.double() for s in ("unit", "standardised"))
    torch.testing.assert_close(test_scaled, (test - mean) / sd, atol=1e-5, rtol=1e-5)
    few = data.load("own", "train", limit=2, scale="standardised").images.double()
    torch.testing.assert_close(few, scaled[:2], atol=1e-6, rtol=1e-6)  # moments of the whole set, whatever the limit


def test_a_constant_channel_stays_finite(root):
    put(root, images=np.full((12, 5, 4, 3), 7, np.uint8))
    assert data.load("own", "train", scale="standardised").images.abs().max() < 1e-6


@pytest.mark.parametrize(
    "change",
    [dict(pixel=(0, 0, 0, 0)), dict(pixel=(11, 4, 3, 2)), dict(label=0), dict(label=11), dict(shape=(12, 4, 5, 3))],
    ids=str,
)
def test_the_digest_changes_with_any_byte(root, change):
    file = put(root)
    with np.load(file) as z:
        images, labels = z["images"].copy(), z["labels"].copy()
    if "pixel" in change:
        images[change["pixel"]] ^= 1
    if "label" in change:
        labels[change["label"]] = (labels[change["label"]] + 1) % 3
    put(root, "other", images=images.reshape(change.get("shape", images.shape)), labels=labels)
    put(root, "same")
    assert data.load("own", "train").digest == data.load("same", "train").digest != data.load("other", "train").digest


@pytest.mark.parametrize("name", ["digits", "own", "gaussian:digits", "gaussian:own"])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_fingerprint_is_the_digest_that_load_gives(root, name, limit):
    put(root, lossy=np.array([0, 2, 7]))
    split = data.load(name, "train", limit=limit)
    assert data.fingerprint(name, "train", limit) == dict(digest=split.digest, lossy=split.lossy)


def test_the_digest_is_blind_to_size_and_scale_and_sees_the_gaussian_draw():
    digests = {data.load("digits", "test", scale=s, image_size=n).digest for s in data.SCALES for n in (None, 16)}
    assert len(digests) == 1
    assert data.load("gaussian:digits", "test").digest not in digests


def test_nothing_is_fetched_for_a_fingerprint(root, monkeypatch):
    monkeypatch.setitem(data.DOWNLOADS, "mnist", offline)
    assert data.fingerprint("mnist", "train") is None and data.fingerprint("gaussian:mnist", "train") is None


@pytest.mark.parametrize(
    "bad", [dict(split="val"), dict(split=None), dict(limit=0), dict(limit=2.5), dict(limit=True)], ids=str
)
@pytest.mark.parametrize("name", ["digits", "own", "absent"])
def test_a_fingerprint_and_a_size_are_asked_for_as_images_are(root, name, bad):
    put(root)
    asked = dict(name=name, split="train", limit=None) | bad
    for read in (data.fingerprint, data.size, data.load):
        with pytest.raises(ValueError, match="|".join(bad)):
            read(**asked)


def test_a_file_is_read_once_for_all_its_fingerprints(root, monkeypatch):
    read, was_read = npz.read, []
    put(root, lossy=np.array([3])), put(root, split="test")
    monkeypatch.setattr(npz, "read", lambda file: was_read.append(file) or read(file))
    first = data.fingerprint("own", "train", 5)
    files.read_half.cache_clear()  # as other sets would push it out
    assert data.fingerprint("own", "train", 5) == first and len(was_read) == 1


@pytest.mark.parametrize("name, n", [("digits", 1352), ("own", 12), ("gaussian:own", 12)])
def test_a_size_is_told_without_reading_pixels(root, monkeypatch, name, n):
    put(root)
    monkeypatch.setattr(npz, "_arrays", offline)
    assert (data.size(name, "train"), data.size(name, "train", 5), data.size(name, "train", 9999)) == (n, 5, n)


# what is handed out cannot spoil what is kept

SPOIL = {
    "in place": lambda t: t.sub_(1),
    "an item": lambda t: t.__setitem__(0, 1 - t[0]),
    "a view": lambda t: t[3:5].view(-1).add_(1),
    "past autograd": lambda t: t.data.add_(1),
    "numpy": lambda t: t.numpy().__iadd__(1),
    "one number by numpy": lambda t: t.numpy().reshape(-1).__setitem__(7, 3),
    "shuffled by numpy": lambda t: t.numpy().__setitem__(slice(None), t.numpy()[::-1].copy()),
    "filled": lambda t: t.zero_(),
    "other data": lambda t: setattr(t, "data", torch.zeros_like(t)),
    "other shape": lambda t: t.resize_(2, *t.shape[1:]),
}


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
@pytest.mark.parametrize("name, scale", [("digits", "unit"), ("own", "standardised"), ("gaussian:own", "standardised")])
def test_loaded_tensors_are_the_caller_s_own(root, name, scale, spoil, part):
    put(root, images=np.random.default_rng(0).random((12, 5, 4, 1), np.float32))
    net = Train(name, "lenet_300_100", Recipe(lr=0.1, batch=4, epochs=1), scale=scale)
    whole, shared, print_ = data.load(name, "train", scale=scale), net.split("train"), data.fingerprint(name, "train")
    images, labels = whole.images.clone(), whole.labels.clone()
    spoil(getattr(whole, part))
    digests.marks_of.cache_clear()
    again = data.load(name, "train", scale=scale)
    for split in (again, shared, net.split("train")):
        assert torch.equal(split.images, images) and torch.equal(split.labels, labels)
    assert data.fingerprint(name, "train") == print_ and again.digest == print_["digest"]


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_shared_split_that_was_written_to_is_made_again(root, spoil, part):
    put(root)
    net = Train("own", "lenet_300_100", Recipe(lr=0.1, batch=4, epochs=1))
    expected = data.load("own", "train")
    spoil(getattr(net.split("train"), part))
    with data.watched():
        found = net.split("train")
    assert torch.equal(found.images, expected.images) and torch.equal(found.labels, expected.labels)


@pytest.mark.parametrize("how", ["in place", "an item", "a view", "filled"])
def test_what_torch_sees_written_is_made_again_at_the_next_call(how):
    expected = data.load("digits", "test").images
    SPOIL[how](data.shared("digits", "test").images)
    assert torch.equal(data.shared("digits", "test").images, expected)


def test_a_shared_split_is_not_copied():
    first, second = data.shared("digits", "test"), data.shared("digits", "test")
    assert first.images.data_ptr() == second.images.data_ptr() != data.load("digits", "test").images.data_ptr()
    first.images.requires_grad_()
    assert not data.shared("digits", "test").images.requires_grad


def test_a_split_first_asked_for_in_inference_mode_can_be_trained_on():
    loading._load.cache_clear(), pixels.moments_of.cache_clear()
    with torch.inference_mode():
        shared, own = (read("digits", "test", scale="standardised", limit=9) for read in (data.shared, data.load))
    for split in (shared, own, data.shared("digits", "test", scale="standardised", limit=9)):
        assert not split.images.is_inference() and not split.labels.is_inference()


@pytest.mark.parametrize("n", [1, 7, sharing._STRETCH, 2 * sharing._STRETCH + 5])
def test_marks_change_with_any_number_and_with_order(n):
    values = torch.rand(n, generator=torch.Generator().manual_seed(0))
    marks = sharing._marks(values)
    for at in {0, n // 2, n - 1}:
        other = values.clone()
        other.view(torch.int32)[at] ^= 1 << 31
        assert sharing._marks(other) != marks
    assert sharing._marks(values.clone()) == marks and (n == 1 or sharing._marks(values.flip(0)) != marks)
    stretches = values.split(sharing._STRETCH)
    assert n <= sharing._STRETCH or sharing._marks(torch.cat([stretches[1], stretches[0], *stretches[2:]])) != marks


NET = Train("digits", "lenet_300_100", Recipe(lr=0.1, batch=32, iterations=20), seed=1, width=30, limit=200)


@pytest.mark.parametrize("spoil", [SPOIL["in place"], SPOIL["numpy"], SPOIL["shuffled by numpy"]])
def test_a_record_rests_on_the_images_it_names(store_folder, spoil):
    clean = NET.compute().table
    (
        spoil(data.load("digits", "train", limit=200).images),
        spoil(NET.split("train", 200).images),
        spoil(NET.split("test").labels),
    )
    record = store.run(NET)
    assert np.array_equal(record.table.test_accuracy, clean.test_accuracy) and np.array_equal(
        record.table.train_loss, clean.train_loss
    )
    assert record.meta["data"]["digits/train"] == data.fingerprint("digits", "train", 200)


@pytest.mark.parametrize("how", ["in place", "numpy"])
def test_a_training_whose_images_are_written_to_leaves_no_record(store_folder, monkeypatch, how):
    def spoil(_, model):
        SPOIL[how](NET.split("test").images)
        store.scratch(NET).parent.mkdir(parents=True, exist_ok=True)
        store.scratch(NET).write_bytes(b"as a checkpoint of that training would lie there")
        return {}

    monkeypatch.setattr(Train, "compute", lambda net: net.train_with(store.scratch(net), [((10,), spoil)])[0])
    with pytest.raises(data.Changed, match="of digits were changed in place"):
        store.run(NET)
    assert store.find(NET) is None and not store.scratch(NET).exists()
    assert torch.equal(NET.split("test").images, data.load("digits", "test").images)


def test_a_layer_that_writes_what_stood_there_does_no_harm():
    with data.watched():
        torch.relu_(NET.split("test").images)  # no pixel is below zero
        with data.watched():
            NET.split("test", 5)


def test_of_nested_watches_each_sees_what_was_written_in_it():
    with pytest.raises(data.Changed), data.watched():
        kept = NET.split("test")
        with data.watched():
            NET.split("train")
        kept.images.numpy()[0] = 7
    with data.watched():  # and the next one begins anew
        assert NET.split("test").images.max() <= 1


# a file that is written anew


def again(root, **change):
    """Write the training half anew, of the same size in bytes and with the old times."""
    file = root / "own" / "train.npz"
    was = file.stat()
    with np.load(file) as z:
        arrays = dict(z) | change
    np.savez(file, **arrays)
    assert file.stat().st_size == was.st_size
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("old_times", [False, True])
@pytest.mark.parametrize("name", ["own", "gaussian:own"])
def test_a_file_written_anew_counts_from_the_next_call(root, name, old_times):
    file = put(root)
    with np.load(file) as z:
        arrays = dict(z)
    np.savez(file, **arrays)
    split = lambda: data.shared(name, "train")  # noqa: E731
    old, kept, print_ = data.load(name, "train"), split(), data.fingerprint(name, "train")
    change = dict(images=255 - arrays["images"], labels=(arrays["labels"] + 1) % 3)
    again(root, **change) if old_times else np.savez(file, **arrays | change, more=np.zeros(1))
    for new in (data.load(name, "train"), split()):
        assert torch.equal(new.labels, torch.from_numpy(change["labels"]).long()) and not torch.equal(
            new.images, old.images
        )
        assert data.fingerprint(name, "train")["digest"] == new.digest != old.digest == print_["digest"]
    assert torch.equal(kept.labels, old.labels)  # what was handed out before stays what it was


def test_all_that_rests_on_the_other_half_follows_it(root):
    put(root, classes=None), put(root, split="test", classes=None)
    scaled, old = data.load("own", "test", scale="standardised"), data.load("own", "test")
    put(root, classes=None, images=np.full((12, 5, 4, 3), 9, np.uint8), labels=np.array([3] * 12))
    assert data.load("own", "test").classes == data.shared("own", "test").classes == tuple("0123") != old.classes
    assert not torch.equal(
        data.load("own", "test", scale="standardised").images, scaled.images
    )  # by the training set's moments
    assert data.fingerprint("own", "test")["digest"] == old.digest
    put(
        root,
        classes=None,
        images=np.zeros((20, 5, 4, 3), np.uint8),
        labels=np.zeros(20, np.int64),
        lossy=np.array([19]),
    )
    assert data.size("own", "train") == 20 and data.fingerprint("own", "train")["lossy"] == 1
    put(root, images=np.zeros((12, 5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"agree in height, width and channels"):
        data.load("own", "test")


def test_a_file_written_twice_in_one_tick_of_the_clock_is_seen(root):
    for k in range(20):
        put(root, labels=np.full(12, k % 3, np.uint8))
        assert data.load("own", "train").labels.tolist() == [k % 3] * 12


def test_a_set_that_goes_is_missed(root):
    file = put(root)
    data.load("own", "train"), data.shared("own", "train")
    file.unlink()
    for read in (data.load, data.shared, data.size):
        with pytest.raises(ValueError, match="unknown data set 'own'"):
            read("own", "train")
    assert data.fingerprint("own", "train") is None


# what a record says of its data

OWN = Train("own", "lenet_300_100", Recipe(lr=0.1, batch=4, epochs=2), width=5)


def new_pixels(root, split="train", **change):
    """Write a half anew with the same labels."""
    return put(root, split=split, images=np.full((12, 5, 4, 3), 9, np.uint8), **change)


@pytest.fixture
def halves(root, store_folder, tmp_path, monkeypatch):
    """A small set of two halves and two empty shelves."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    store.forget()
    return [put(root, split=split) for split in ("train", "test")]


def while_it_trains(monkeypatch, does, when):
    """The net's training does something on its way: before it reads, or when it has ended."""

    def compute(net, was=Train.compute):
        if when == "before":
            does()
        result = was(net)
        if when == "after":
            does()
        return result

    monkeypatch.setattr(Train, "compute", compute)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_replaced_while_a_net_trains_leaves_no_record(halves, root, monkeypatch, split, when):
    def replaces():
        new_pixels(root, split)
        store.scratch(OWN).parent.mkdir(parents=True, exist_ok=True)
        store.scratch(OWN).write_bytes(b"as a checkpoint of that training would lie there")

    with monkeypatch.context() as patch:
        while_it_trains(patch, replaces, when)
        with pytest.raises(data.Changed, match=f"files of own/{split} were replaced while .* run it again"):
            store.run(OWN)
    assert not list(store.folder_of(OWN).parent.glob("*")) and not store.scratch(OWN).exists()
    assert store.run(OWN).meta["data"][f"own/{split}"] == data.fingerprint("own", split)


def test_a_file_that_becomes_unreadable_while_a_net_trains_leaves_no_record(halves, monkeypatch):
    while_it_trains(monkeypatch, lambda: halves[0].write_bytes(b"half a file"), "after")
    with pytest.raises(data.Changed, match="data files became unreadable while .*cannot be read as .npz"):
        store.run(OWN)
    assert not store.folder_of(OWN).exists()


def test_a_file_written_anew_with_the_same_bytes_or_gone_meanwhile_is_the_one_that_was_read(halves, root, monkeypatch):
    read = OWN.data_read()
    with monkeypatch.context() as patch:
        while_it_trains(patch, lambda: put(root), "after")
        assert store.run(OWN).meta["data"] == read
    other = replace(OWN, seed=1)
    while_it_trains(monkeypatch, halves[0].unlink, "after")
    assert store.run(other).meta["data"] == read and store.find(other).notes == ()


def test_a_set_that_a_run_downloads_is_the_one_that_it_read(halves, monkeypatch):
    net = replace(OWN, dataset="mnist")
    pixels = np.arange(240, dtype=np.uint8).reshape(12, 5, 4, 1)
    monkeypatch.setitem(data.DOWNLOADS, "mnist", lambda *_: npz.Raw(pixels, np.arange(12) % 3, ("x", "y", "z")))
    assert net.data_read() == {}
    assert store.run(net).meta["data"] == net.data_read() and net.data_read().keys() == {"mnist/train", "mnist/test"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_run_stores_on_its_way_is_refused_with_it(halves, root, monkeypatch, when):
    look, put_before = Snapshots(OWN, ("fc1",), (0, 6), sample=5), store.put

    def late(e, result):
        if when == "before":
            new_pixels(root)
        put_before(e, result)
        assert store.find(e).meta["data"] == e.data_read()
        if when == "after":
            new_pixels(root)

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", late)
        with pytest.raises(data.Changed, match="own/train were replaced while"):
            store.run(look)
    assert store.find(look) is None and store.find(OWN) is None
    assert store.folder_of(OWN).exists() == (when == "after")  # what was stored before is sound, of those bytes
    store.run(look)
    assert store.find(OWN).meta["data"] == OWN.data_read()


def test_a_broken_data_file_stops_no_look_at_records_and_is_said_once(halves, capsys):
    store.run(OWN)
    halves[1].write_bytes(b"half a file")
    store.forget()
    capsys.readouterr()
    assert store.find(OWN).notes == () and store.find(OWN) is not None
    out = capsys.readouterr().out
    assert out.startswith("records cannot be compared with their data: ") and str(halves[1]) in out
    assert out.count("\n") == 1
    with pytest.raises(ValueError, match="cannot be read as .npz"):
        store.run(replace(OWN, seed=1))


SCALED = [("own", "standardised", 4), ("gaussian:own", "unit", 4), ("gaussian:own", "unit", None)]


@pytest.mark.parametrize("name, scale, limit", SCALED)
def test_the_images_that_give_mean_and_sd_are_in_the_record_whatever_the_limit(halves, root, name, scale, limit):
    net = replace(OWN, dataset=name, scale=scale, limit=limit)
    read, whole = net.data_read(), "own/train, whole"
    assert read == {
        f"{name}/train": data.fingerprint(name, "train", limit),
        f"{name}/test": data.fingerprint(name, "test"),
        whole: data.fingerprint("own", "train"),
    }
    before = store.run(net)
    assert before.meta["data"] == read and before.notes == ()
    images = np.load(halves[0])["images"].copy()
    images[7] = 3
    put(root, images=images)  # beyond the limit
    now = net.data_read()
    assert {k for k in now if now[k] != read[k]} == {whole} and store.find(net) is None
    again = store.run(net)
    assert again.table.train_loss[0] != before.table.train_loss[0] and again.meta["data"] == now


UNSCALED = [("own", "unit", 4), ("gaussian:own", "standardised", 4)]


@pytest.mark.parametrize("name, scale, limit", [*UNSCALED, ("own", "standardised", None)])
def test_the_whole_half_is_named_only_where_the_others_do_not_say_it(halves, name, scale, limit):
    net = replace(OWN, dataset=name, scale=scale, limit=limit)
    assert net.data_read().keys() == {f"{name}/train", f"{name}/test"}


def test_a_record_of_before_that_does_not_name_the_whole_half_counts(halves, root):
    net = replace(OWN, scale="standardised", limit=4)
    store.run(net)
    file = store.folder_of(net) / "record.json"
    meta = json.loads(file.read_text())
    del meta["data"]["own/train, whole"]
    file.write_text(json.dumps(meta))
    assert store.find(net).notes == () and store.run(net).meta["data"].keys() == {"own/train", "own/test"}


@pytest.mark.parametrize("name, scale, limit", [*SCALED, *UNSCALED, ("own", "standardised", None)])
def test_a_split_says_by_which_images_it_was_scaled(halves, name, scale, limit):
    base = data.scaled_by(name, scale)
    expected = data.fingerprint(base, "train")["digest"] if base else ""
    for read in (data.load, data.shared):
        for split in ("train", "test"):
            assert read(name, split, scale=scale, limit=limit).scaled_by == expected
    assert bool(expected) == ((name, scale) in {("own", "standardised"), ("gaussian:own", "unit")})


def test_images_that_are_looked_at_beyond_those_trained_on_are_in_the_record(halves, root):
    few = replace(OWN, limit=4)
    curve, plain = (UnitCurve(few, "fc1", (name,), repeats=1, sample=8) for name in ("activation", "norm"))
    look, first = Snapshots(few, ("fc1",), (0,), sample=8), "own/train, first 8"
    for e in (curve, look):
        assert e.data_read() == few.data_read() | {first: data.fingerprint("own", "train", 8)}
    assert plain.data_read() == few.data_read() == replace(curve, sample=4).data_read()
    whole = replace(few, limit=None)
    assert replace(curve, parent=whole).data_read() == whole.data_read() and whole.seen(None) == {}
    assert few.seen(None) == {"own/train, whole": data.fingerprint("own", "train")}
    scaled = replace(few, scale="standardised")
    assert replace(curve, parent=scaled).data_read() == scaled.data_read()  # which names the whole half
    assert store.run(curve).meta["data"].keys() == {"own/train", "own/test", first}
    images = np.load(halves[0])["images"].copy()
    images[7] = 3
    put(root, images=images)
    assert store.find(curve) is None and store.find(few) is not None


def test_a_net_names_the_data_of_the_net_that_it_starts_from(halves, root):
    put(root, "other"), put(root, "other", "test", images=np.zeros((12, 5, 4, 3), np.uint8))
    first = replace(OWN, dataset="other")
    later, same, fewer = (replace(OWN, start=s) for s in (first, OWN, replace(OWN, limit=4)))
    assert later.data_read() == OWN.data_read() | {
        "other/test, of its start": data.fingerprint("other", "test"),
        "other/train, of its start": data.fingerprint("other", "train"),
    }
    assert same.data_read() == OWN.data_read()
    assert fewer.data_read() == OWN.data_read() | {"own/train, of its start": data.fingerprint("own", "train", 4)}
    assert store.run(fewer).meta["data"] == fewer.data_read() and store.run(later).meta["data"] == later.data_read()
    put(root, "other", images=np.full((12, 5, 4, 3), 9, np.uint8))
    assert store.find(later) is None and store.find(fewer) is not None


# gaussian:


@pytest.mark.parametrize("size", [None, 16])
def test_gaussian_images_have_the_labels_and_moments_of_the_real_ones(size):
    for split in ("train", "test"):
        real, noise = (data.load(name, split, image_size=size) for name in ("digits", "gaussian:digits"))
        assert (
            torch.equal(real.labels, noise.labels)
            and real.images.shape == noise.images.shape
            and noise.classes == real.classes
        )
        assert noise.images.min() < 0 and noise.images.max() > 1  # not clipped
    real, noise = (data.load(name, "train", image_size=size).images for name in ("digits", "gaussian:digits"))
    n = real.numel()
    assert abs(real.mean() - noise.mean()) < 4 * real.std() / n**0.5
    assert abs(real.std() / noise.std() - 1) < 4 / (2 * n) ** 0.5
    scaled = data.load("gaussian:digits", "train", image_size=size, scale="standardised").images
    assert abs(scaled.mean()) < 4 / n**0.5 and abs(scaled.std() - 1) < 4 / (2 * n) ** 0.5


def test_gaussian_images_are_one_fixed_draw_of_which_a_limit_takes_the_first():
    whole = data.load("gaussian:digits", "train", scale="standardised")
    loading._load.cache_clear()
    torch.manual_seed(99)
    again = data.load("gaussian:digits", "train", scale="standardised")
    assert torch.equal(whole.images, again.images) and whole.digest == again.digest
    assert torch.equal(data.load("gaussian:digits", "train", scale="standardised", limit=10).images, whole.images[:10])
    test = data.load("gaussian:digits", "test", scale="standardised").images
    assert not torch.equal(test[:10], whole.images[:10])  # the halves are drawn apart


def test_a_limit_takes_the_first_of_the_draw_for_images_of_any_size(root):
    put(root)
    whole, part = (data.load("gaussian:own", "train", scale="standardised", limit=n).images for n in (None, 3))
    assert torch.equal(part, whole[:3])


def test_gaussian_images_scale_per_channel(root):
    put(root, images=(np.random.default_rng(2).random((12, 5, 4, 3)) * [255, 60, 5]).astype(np.uint8))
    real = data.load("own", "train").images
    noise, scaled = (data.load("gaussian:own", "train", scale=s).images for s in data.SCALES)
    mean, sd = real.mean((0, 2, 3), keepdim=True), real.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(noise, scaled * sd + mean)


# errors


def test_an_unknown_name_lists_the_known(root):
    put(root)
    known = r"cifar10, digits, fashion_mnist, mnist, own\. .*train\.npz"
    with pytest.raises(ValueError, match=f"unknown data set 'minst'; known here: {known}"):
        data.load("minst", "train")


@pytest.mark.parametrize("name", ["../own", "own/", "/own", "a/own", "a\\own", "my own", " own", "own\n", "",
                                  "gaussian:", "gaussian:../own", "gaussian:my own", "other:own", "..", ".", "-x", ".x",
                                  "...", "gaussian:..", "gaussian:.", "gaussian:-x"])  # fmt: skip
def test_names_that_are_no_single_folder_are_refused(root, tmp_path, name):
    put(root), put(tmp_path), put(root / "a")  # what a path might reach is there, and sound
    for odd in ("my own", " own", "other:own", "..", ".", "-x", ".x", "..."):
        put(root, odd)
    for read in (data.load, data.fingerprint):
        with pytest.raises(ValueError, match="is no name of a data set: letters, digits") as caught:
            read(name, "train")
        assert repr(name) in str(caught.value)


def test_names_may_hold_letters_digits_and_dots(root):
    for name in ("own", "my-own_2.1", "Größe"):
        put(root, name)
        assert data.load(name, "train").name == name and data.load(f"gaussian:{name}", "train").classes == (
            "a",
            "b",
            "c",
        )


@pytest.mark.parametrize("bad", [dict(split="val"), dict(scale="z"), dict(limit=0), dict(limit=-1)], ids=str)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="|".join(bad)):
        data.load("digits", **{"split": "train", **bad})


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_without_network_and_file_the_error_says_what_to_put_where(root, monkeypatch, name):
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(socket, "create_connection", offline)
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, "test")
    assert str(root / name / "test.npz") in str(caught.value) and "PRUNING_LAB_DATA" in str(caught.value)
    assert not (root / name).exists()  # nothing half-made stays behind


BROKEN = {
    "no labels": (dict(labels=None), "expected arrays 'images' and 'labels'"),
    "no channels": (dict(images=np.zeros((12, 5, 4), np.uint8)), "expected"),
    "four channels": (dict(images=np.zeros((12, 5, 4, 4), np.uint8)), "C 1 or 3"),
    "fewer labels": (dict(labels=np.zeros(11, np.uint8)), "expected"),
    "empty": (dict(images=np.zeros((0, 5, 4, 1), np.uint8), labels=np.zeros(0, np.uint8)), "N > 0"),
    "label too large": (dict(labels=np.full(12, 3, np.uint8)), "labels from 3 to 3, but 3 classes"),
    "label below zero": (dict(labels=np.full(12, -1)), "labels from -1 to -1"),
    "below zero, unnamed": (dict(labels=np.arange(12) - 1, classes=None), "labels from -1"),
    "labels with fractions": (dict(labels=np.zeros(12)), "whole numbers"),
    "not a number": (dict(images=np.full((12, 5, 4, 1), np.nan, np.float32)), "240 pixels are NaN"),
    "infinite": (dict(images=np.full((12, 5, 4, 1), np.inf, np.float32)), "infinite"),
    "not scaled": (dict(images=np.full((12, 5, 4, 1), 2, np.float32)), r"expected \[0, 1\]"),
    "whole numbers, not bytes": (dict(images=np.zeros((12, 5, 4, 1), np.int64)), "uint8"),
    "pickled": (dict(labels=np.array([None] * 12)), "without pickles"),
}


@pytest.mark.parametrize("change, says", BROKEN.values(), ids=BROKEN)
def test_a_bad_file_is_named_and_what_was_expected(root, change, says):
    file = put(root, **change)
    with pytest.raises(ValueError, match=says) as caught:
        data.load("own", "train")
    assert str(file) in str(caught.value)


def npy(array=None, header=None, version=b"\x01\x00", tail=b""):
    """The bytes of an `.npy` array, its header or what follows it changed."""
    out = io.BytesIO()
    np.save(out, np.arange(12) % 3 if array is None else array)
    magic, length, body = out.getvalue()[:6], out.getvalue()[8:10], out.getvalue()[10:]
    if header is not None:
        size = int.from_bytes(length, "little")
        body = header.encode().ljust(size - 1)[: size - 1] + b"\n" + body[size:]
    return magic + version + length + body + tail


def members(root, split="train", **change):
    """A sound half as a zip of members; those in `change` are bytes, or left out if None; `__` stands for the dot of a
    name.
    """
    file = put(root, split=split)
    with np.load(file) as z:
        whole = {f"{name}.npy": npy(z[name]) for name in z.files}
    whole |= {name.replace("__", "."): value for name, value in change.items()}
    with zipfile.ZipFile(file, "w") as z, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that two have one name is what is tried
        for name, value in whole.items():
            for part in value if isinstance(value, list) else [value]:
                if part is not None:
                    z.writestr(name, part)
    return file


IMAGES = np.zeros((12, 5, 4, 3), np.uint8)
UNSOUND = {
    "classes a scalar": dict(classes=np.array("a")),
    "classes a number": dict(classes=np.array(3)),
    "classes in rows": dict(classes=np.array([["a", "b", "c"]])),
    "classes none": dict(classes=np.zeros(0, "U1")),
    "classes too few": dict(classes=np.array(["a", "b"])),
    "classes complex": dict(classes=np.zeros(3, complex)),
    "classes of times": dict(classes=np.zeros(3, "M8[s]")),
    "classes of columns": dict(classes=np.zeros(3, [("a", "U1")])),
    "classes no text": dict(classes=np.array([b"\xff\xfe", b"b", b"c"])),
    "classes of 20 MB": dict(classes=np.zeros(6_000_000, "U1")),
    "classes objects": dict(classes=np.array(["a", "b", None])),
    "lossy text": dict(lossy=np.array(["1", "4"])),
    "lossy a scalar": dict(lossy=np.array(1)),
    "lossy in rows": dict(lossy=np.array([[1, 4]])),
    "lossy above": dict(lossy=np.array([1, 12])),
    "lossy below": dict(lossy=np.array([-1, 4])),
    "lossy twice": dict(lossy=np.array([4, 4])),
    "lossy a mask": dict(lossy=np.arange(12) % 2 == 0),
    "lossy fractions": dict(lossy=np.array([1.0, 4.5])),
    "lossy too many": dict(lossy=np.arange(13)),
    "lossy objects": dict(lossy=np.array([None])),
    "lossy huge": dict(lossy=np.array([2**64 - 1], np.uint64)),
    "images long doubles": dict(images=np.zeros((12, 5, 4, 3), np.longdouble)),
    "images of other byte order": dict(images=np.zeros((12, 5, 4, 3), np.dtype(np.float32).newbyteorder())),
    "images complex": dict(images=np.zeros((12, 5, 4, 3), complex)),
    "images bool": dict(images=np.zeros((12, 5, 4, 3), bool)),
    "images int8": dict(images=np.zeros((12, 5, 4, 3), np.int8)),
    "images text": dict(images=np.zeros((12, 5, 4, 3), "U1")),
    "images objects": dict(images=np.full((12, 5, 4, 3), None)),
    "images of columns": dict(images=np.zeros((12, 5, 4, 3), [("r", "u1")])),
    "images a scalar": dict(images=np.array(1, np.uint8)),
    "images flat": dict(images=IMAGES.reshape(12, -1)),
    "images in five axes": dict(images=IMAGES[None]),
    "channels first": dict(images=IMAGES.transpose(0, 3, 1, 2)),
    "two channels": dict(images=IMAGES[..., :2]),
    "no channel": dict(images=IMAGES[..., :0]),
    "height 0": dict(images=IMAGES[:, :0]),
    "width 0": dict(images=IMAGES[:, :, :0]),
    "no images": dict(images=IMAGES[:0], labels=np.zeros(0, np.uint8)),
    "no images key": dict(images=None),
    "infinite below": dict(images=np.full((12, 5, 4, 3), -np.inf, np.float16)),
    "just below 0": dict(images=np.full((12, 5, 4, 3), -1e-7)),
    "just above 1": dict(images=np.full((12, 5, 4, 3), 1 + 1e-7)),
    "labels a scalar": dict(labels=np.array(1)),
    "labels one-hot": dict(labels=np.eye(12, 3, dtype=np.uint8)),
    "labels too many": dict(labels=np.zeros(13, np.uint8)),
    "labels text": dict(labels=np.array(list("abcabcabcabc"))),
    "labels bool": dict(labels=np.zeros(12, bool)),
    "labels spans of time": dict(labels=np.zeros(12, "m8[s]")),
    "labels complex": dict(labels=np.zeros(12, complex)),
    "labels of columns": dict(labels=np.zeros(12, [("a", "i8")])),
    "labels past int64": dict(labels=np.full(12, 2**63, np.uint64)),
    "labels past int64, unnamed": dict(labels=np.full(12, 2**64 - 1, np.uint64), classes=None),
    "labels all below 0, unnamed": dict(labels=np.full(12, -1), classes=None),
}
ODD = {
    "two arrays of a name": dict(images__npy=[npy(IMAGES), npy(IMAGES + 1)]),
    "a name with and without ending": dict(labels=npy()),
    "two arrays of class names": dict(classes=npy(np.array(["x", "y", "z"]))),
    "in a folder": dict(images__npy=None, **{"x/images__npy": npy(IMAGES)}),
    "above its folder": dict(labels__npy=None, **{"../labels__npy": npy()}),
    "in capitals": dict(images__npy=None, Images__npy=npy(IMAGES)),
    "no array": dict(labels__npy=b"1, 2, 3"),
    "nothing": dict(labels__npy=b""),
    "a version to come": dict(labels__npy=npy(version=b"\x09\x00")),
    "a header of no sense": dict(labels__npy=npy(header="{'descr': ")),
    "a header with another key": dict(labels__npy=npy(header="{'descr': '<i8', 'shape': (12,)}")),
    "a header with code": dict(labels__npy=npy(header="__import__('os').getcwd()")),
    "an unknown type": dict(labels__npy=npy(header="{'descr': '<q9', 'fortran_order': False, 'shape': (12,)}")),
    "more told than there": dict(labels__npy=npy(header="{'descr': '<i8', 'fortran_order': False, 'shape': (13,)}")),
    "a petabyte told": dict(
        images__npy=npy(header="{'descr': '|u1', 'fortran_order': False, 'shape': (12,10000000,10000000,1)}")
    ),
    "less told than there": dict(labels__npy=npy(header="{'descr': '<i4', 'fortran_order': False, 'shape': (12,)}")),
    "fewer than none": dict(labels__npy=npy(header="{'descr': '<i8', 'fortran_order': False, 'shape': (-12,)}")),
    "fewer than none twice": dict(labels__npy=npy(header="{'descr': '<i8', 'fortran_order': False, 'shape': (-3,-4)}")),
    "something behind": dict(labels__npy=npy(tail=b"more")),
    "cut short": dict(labels__npy=npy()[:-1]),
    "pickled": dict(lossy__npy=npy(header="{'descr': '|O', 'fortran_order': False, 'shape': (12,)}")),
}


def refused(file, *splits):
    """Each of these halves is refused by all that read it, in a sentence that names the file."""
    for split in splits:
        for read in (data.load, data.shared, data.fingerprint):
            with pytest.raises(ValueError) as caught:
                read("own", split)
            assert type(caught.value) is ValueError and str(file) in str(caught.value)
            assert any(
                words in str(caught.value) for words in ("expected", "write it again", "no array 'classes' that names")
            )


@pytest.mark.parametrize("change", UNSOUND.values(), ids=UNSOUND)
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unsound_array_is_refused(root, split, change):
    refused(put(root, split=split, **change), split)


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_member_is_refused(root, change):
    file = members(root, **change)
    put(root, split="test")
    refused(file, "train")
    with pytest.raises(ValueError, match=str(file)):
        data.load("own", "test")  # nor is the other half of such a set one


UNLIKE = {
    "height": dict(images=IMAGES.transpose(0, 2, 1, 3)),
    "width": dict(images=np.zeros((12, 5, 5, 3), np.uint8)),
    "channels": dict(images=IMAGES[..., :1]),
    "more classes": dict(classes=np.array(["a", "b", "c", "d"])),
    "fewer classes": dict(classes=np.array(["a", "b"]), labels=np.zeros(12, np.uint8)),
    "other names": dict(classes=np.array(["a", "b", "C"])),
    "another order": dict(classes=np.array(["b", "a", "c"])),
}


@pytest.mark.parametrize("change", UNLIKE.values(), ids=UNLIKE)
def test_halves_that_do_not_go_together_are_refused(root, change):
    files = put(root), put(root, split="test", **change)
    for file, split in zip(files, ("train", "test"), strict=True):
        refused(file, split)


OTHER_LABELS = {
    "fractions": np.zeros(12),
    "rows": np.zeros((12, 1), int),
    "text": np.array(["a"] * 12),
    "bool": np.zeros(12, bool),
    "fewer": np.zeros(11, int),
}


@pytest.mark.parametrize("labels", OTHER_LABELS.values(), ids=OTHER_LABELS)
@pytest.mark.parametrize("own, other", [("train", "test"), ("test", "train")])
def test_labels_of_the_other_half_are_checked_before_classes_are_counted(root, own, other, labels):
    put(root, split=own, classes=None)
    refused(put(root, split=other, classes=None, labels=labels), own)


PIXELS = np.random.default_rng(5).integers(0, 256, (12, 5, 4, 3), np.uint8)  # as `put` has them
SOUND = {
    "as it is": ({}, "60a4c8273b094948"),
    "empty lossy": (dict(lossy=np.array([])), "60a4c8273b094948"),
    "class numbers": (dict(classes=np.array([7, 8, 9])), "60a4c8273b094948"),
    "two classes of one name": (dict(classes=np.array(["crane", "crane", "c"])), "60a4c8273b094948"),
    "other arrays": (dict(notes=np.array(["x"]), Labels=np.zeros(3)), "60a4c8273b094948"),
    "columns first in memory": (dict(images=np.asfortranarray(PIXELS)), "60a4c8273b094948"),
    "float16": (dict(images=np.linspace(0, 1, 720, dtype=np.float16).reshape(12, 5, 4, 3)), "c82290f16ff7ff7e"),
    "float64": (dict(images=np.linspace(0, 1, 720).reshape(12, 5, 4, 3)), "f88423e801544444"),
    "labels of other byte order": (dict(labels=(np.arange(12) % 3).astype(">i4")), "60a4c8273b094948"),
    "labels uint64": (dict(labels=np.arange(12, dtype=np.uint64) % np.uint64(3)), "60a4c8273b094948"),
}


@pytest.mark.parametrize("change, digest", SOUND.values(), ids=SOUND)
def test_unusual_sets_that_are_sound_are_read(root, change, digest):
    with np.load(put(root, **change)) as z:
        images, white = z["images"], 255 if z["images"].dtype == np.uint8 else 1
    split = data.load("own", "train")
    assert split.digest == digest
    np.testing.assert_array_equal(
        split.images, torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / white
    )
    assert split.labels.tolist() == [0, 1, 2] * 4


def test_what_nobody_needs_is_not_read(root):
    file = put(root)
    with np.load(file) as z:
        arrays = dict(z)
    np.savez(file, **arrays, more=np.frombuffer(b"here it lies" * 9, np.uint8))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"here it lies", b"HERE IT LIES", 1))  # its checksum does not fit any more
    assert data.load("own", "train").labels.tolist() == arrays["labels"].tolist()


def test_a_flipped_bit_is_refused_or_changes_nothing(root):
    file = put(root, lossy=np.array([2, 5]))
    put(root, split="test")
    whole, sound = file.read_bytes(), data.load("own", "train")
    refusals = 0
    for place in np.random.default_rng(1).permutation(len(whole) * 8)[:250].tolist():
        spoilt = bytearray(whole)
        spoilt[place // 8] ^= 1 << place % 8
        file.write_bytes(spoilt)
        try:
            found = npz.read(file)
        except ValueError as error:
            assert str(file) in str(error)
            refusals += 1
        else:
            assert (
                found.classes == sound.classes
                and found.lossy.tolist() == [2, 5]
                and found.labels.tolist() == sound.labels.tolist()
            )
            assert digests.digest(found.images, found.labels) == sound.digest
    assert refusals > 125


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_named(root, keep):
    file = put(root)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(ValueError, match="cannot be read") as caught:
        data.load("own", "train")
    assert str(file) in str(caught.value)


# torchvision and the binary CIFAR-10


def test_what_was_downloaded_is_kept_as_npz(root, monkeypatch):
    calls = []

    def fetch(_, split):
        calls.append(split)
        return npz.Raw(np.arange(60, dtype=np.uint8).reshape(3, 5, 4, 1), np.array([2, 0, 1]), ("x", "y", "z"))

    monkeypatch.setitem(data.DOWNLOADS, "mnist", fetch)
    first = data.load("mnist", "train")
    files.read_half.cache_clear(), loading._load.cache_clear(), digests.marks_of.cache_clear()
    again = data.load("mnist", "train")
    assert calls == ["train"] and torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert first.digest == again.digest and first.classes == again.classes
    assert [f.name for f in (root / "mnist").iterdir()] == ["train.npz"]


def test_a_download_that_failed_is_not_tried_again_for_a_while(root, monkeypatch):
    tried = []

    def fails(*_):
        tried.append(1)
        raise OSError("no network")

    monkeypatch.setitem(data.DOWNLOADS, "mnist", fails)
    words = set()
    for _ in range(3):
        with pytest.raises(FileNotFoundError, match="could not be downloaded .no network.") as caught:
            data.load("mnist", "train")
        words.add(str(caught.value))
    assert len(tried) == len(words) == 1
    monkeypatch.setattr(downloads, "_PATIENCE", 0.0)
    with pytest.raises(FileNotFoundError):
        data.size("mnist", "train")
    assert len(tried) == 2
    put(root, "mnist")
    assert len(data.load("mnist", "train")) == 12


def test_a_write_that_fails_leaves_nothing(root, monkeypatch):
    def full(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setitem(
        data.DOWNLOADS, "mnist", lambda *_: npz.Raw(np.zeros((2, 5, 4, 1), np.uint8), np.array([0, 1]), ("x", "y"))
    )
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="disk full"):
        data.load("mnist", "train")
    assert not [f for f in root.rglob("*") if f.is_file()]


def test_the_binary_version_of_cifar10_is_read(root, monkeypatch):
    from torchvision.datasets import utils

    r = np.random.default_rng(3)
    images, labels = r.integers(0, 256, (12, 32, 32, 3), np.uint8), r.integers(0, 10, 12)
    rows = np.concatenate([labels[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(12, -1)], 1)

    def fetch(url, download_root, md5):
        assert url.endswith("binary.tar.gz") and len(md5) == 32
        folder = Path(download_root) / "cifar-10-batches-bin"
        folder.mkdir()
        for k in range(5):
            rows[2 * k : 2 * k + 2].tofile(folder / f"data_batch_{k + 1}.bin")
        rows[10:].tofile(folder / "test_batch.bin")
        (folder / "batches.meta.txt").write_text("airplane\nship\n" + "\n".join("cdefghij") + "\n\n")

    monkeypatch.setattr(utils, "download_and_extract_archive", fetch)
    train = data.load("cifar10", "train")
    shutil.rmtree(root / "cifar-10-batches-bin")
    test = data.load("cifar10", "test")
    for split, part in ((train, slice(10)), (test, slice(10, 12))):
        np.testing.assert_allclose(split.images.numpy(), images[part].transpose(0, 3, 1, 2) / 255, rtol=1e-6)
        assert split.labels.tolist() == labels[part].tolist()
    assert train.classes[:3] == ("airplane", "ship", "c") and len(train.classes) == 10


@pytest.mark.data
def test_mnist_as_torchvision_has_it_becomes_our_npz(tmp_path, monkeypatch, require):
    shared = environment.data_root()
    raw = shared / "MNIST" / "raw"
    require("data", raw.is_dir(), "the data root has no MNIST/raw")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for file in raw.glob("*.gz"):
        shutil.copyfile(file, tmp_path / "MNIST" / "raw" / file.name)
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", offline)  # all files are there: nothing may be fetched
    found = data.load("mnist", "test", limit=50)
    with np.load(shared / "mnist" / "test.npz") as theirs, np.load(tmp_path / "mnist" / "test.npz") as ours:
        assert np.array_equal(theirs["images"], ours["images"]) and np.array_equal(theirs["labels"], ours["labels"])
        np.testing.assert_allclose(found.images.numpy(), theirs["images"][:50].transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    again = data.fingerprint("mnist", "test", 50)
    monkeypatch.setenv("PRUNING_LAB_DATA", str(shared))
    assert again == data.fingerprint("mnist", "test", 50) and found.digest == again["digest"]


@pytest.mark.data
def test_our_copy_of_cifar10_says_which_images_are_lossy():
    assert [data.fingerprint("cifar10", s)["lossy"] for s in ("train", "test")] == [81, 23]
    first = data.load("cifar10", "test", limit=100)
    assert first.images.shape == (100, 3, 32, 32) and first.lossy == data.fingerprint("cifar10", "test", 100)["lossy"]


# the records' own files


def test_a_clone_that_changes_line_ends_keeps_the_bytes_of_records(tmp_path):
    root, shelf = Path(__file__).resolve().parents[1], Path("book/results/Kind/key")
    files = {shelf / "table.csv": b"a,b\n1,2\n", shelf / "record.json": b'{\n "a": 1\r\n}\n',
             shelf / "arrays.npz": b"PK\x03\x04\n\r\n\x00", shelf / "table.csv.gz": b"all text\n",
             Path("elsewhere/train.npz"): b"text\nfor\nall that git sees\n", Path("README.md"): b"a\nb\n"}  # fmt: skip
    there, here = tmp_path / "there", tmp_path / "here"
    for name, content in (files | {Path(".gitattributes"): (root / ".gitattributes").read_bytes()}).items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes(content)
    own = dict(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a",
               GIT_AUTHOR_EMAIL="a@example.org", GIT_COMMITTER_NAME="a",
               GIT_COMMITTER_EMAIL="a@example.org")  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | own

    def git(*words, cwd=there):
        subprocess.run(["git", *words], cwd=cwd, env=clean, check=True, capture_output=True)

    git("init", "-q"), git("add", "."), git("commit", "-q", "-m", "all")
    git("clone", "-q", "-c", "core.autocrlf=true", str(there), str(here), cwd=tmp_path)
    assert (here / "README.md").read_bytes() == b"a\r\nb\r\n"  # it does change line ends
    assert {name: (here / name).read_bytes() for name in files} == files | {Path("README.md"): b"a\r\nb\r\n"}


def test_bytes_are_summed_alike_on_every_device():
    stretches = torch.arange(-(2**31), 2**31 - 1, 4_000_037).int().split(400)
    weights = sharing._weights(torch.device("cpu"))
    assert sharing._summed(stretches, weights) == sharing._dotted(stretches, weights) and len(stretches) == 3


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path, monkeypatch):
    file = tmp_path / "train.npz"
    np.savez(file, images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.arange(4))
    arrays = npz._arrays
    monkeypatch.setattr(npz, "_arrays", lambda file, names: {k: v[:2] for k, v in arrays(file, names).items()})
    with pytest.raises(ValueError, match="train.npz was changed while it was read; load it again"):
        npz.read(file)


def test_an_array_that_goes_on_behind_its_end_is_named(tmp_path):
    file = tmp_path / "train.npz"
    np.savez(file, images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.arange(4))
    with zipfile.ZipFile(file) as z:
        members = {name: z.read(name) for name in z.namelist()}
    with zipfile.ZipFile(file, "w") as z:
        for name, content in members.items():
            z.writestr(name, content + b"more" * (name == "labels.npy"))
    with pytest.raises(ValueError, match="train.npz"):
        npz.read(file)
    with pytest.raises(ValueError, match="goes on behind its end"):
        npz._arrays(file, ("labels",))


def test_images_larger_than_any_memory_are_refused():
    for wrong in (8193, 10**7, 10**30):
        with pytest.raises(ValueError, match="image_size must be at most 8,192 pixels, got"):
            data.load("digits", "train", image_size=wrong)


def test_a_name_is_known_or_is_none_and_nothing_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path))
    monkeypatch.setitem(data.DOWNLOADS, "mnist", lambda *_: pytest.fail("fetched"))
    for name in ("digits", "gaussian:digits", "mnist", "gaussian:mnist"):
        data.check_known(name)
    for name in ("nope", "gaussian:nope"):
        with pytest.raises(ValueError, match="unknown data set 'nope'; known here: .*digits"):
            data.check_known(name)
    with pytest.raises(ValueError, match="is no name of a data set"):
        data.check_known("../x")
