"""Image sets: fixed splits, the layouts that are read, digests, scales, and one clear error for each kind of bad input."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_lab import data, environment


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
    assert train.images.shape[1:] == (1, 8, 8) and train.images.dtype == torch.float32 and train.labels.dtype == torch.int64
    assert train.classes == tuple("0123456789")


def test_digits_are_stratified_and_disjoint():
    from sklearn.datasets import load_digits

    whole = load_digits()
    train, test = data.load("digits", "train"), data.load("digits", "test")
    for k in range(10):
        n = (whole.target == k).sum()
        assert abs((test.labels == k).sum().item() - n / 4) < 1
    rows = [(tuple(x.ravel()), int(y)) for x, y in zip(whole.images / 16, whole.target, strict=True)]
    found = [(tuple(x.ravel().tolist()), int(y)) for s in (train, test) for x, y in zip(s.images, s.labels, strict=True)]
    assert sorted(rows) == sorted(found)  # every scan once: none is in both halves, none is lost


# a folder of the user's own


def test_own_sets_are_read_channels_first(root):
    file = put(root)
    split = data.load("own", "train")
    with np.load(file) as z:
        expected, labels = z["images"].transpose(0, 3, 1, 2) / 255, z["labels"]
    np.testing.assert_allclose(split.images.numpy(), expected, rtol=1e-6)
    assert split.images.is_contiguous() and split.labels.tolist() == labels.tolist() and split.classes == ("a", "b", "c")
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
    "pickled labels": (lambda f: np.savez(f, images=np.zeros(3), labels=np.array([None])), "cannot be read as .npz without pickles"),
    "no labels": (lambda f: np.savez(f, images=np.zeros(3)), r"holds \['images'\]; expected arrays 'images' and 'labels'"),
}


@pytest.mark.parametrize("own, other", [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("spoil, says", BROKEN_OTHER.values(), ids=BROKEN_OTHER)
def test_a_broken_other_half_from_which_classes_are_counted_is_named(root, own, other, spoil, says):
    file, broken = (put(root, split=split, classes=None) for split in (own, other))
    spoil(broken)
    with pytest.raises(ValueError, match=says) as caught:
        data.load("own", own)
    assert str(broken) in str(caught.value) and str(file) not in str(caught.value)


def test_of_the_other_half_only_the_labels_are_read(root):
    put(root, classes=None)
    put(root, split="test", images=np.array([None]), labels=np.array([4]), classes=None)
    assert data.load("own", "train").classes == tuple("01234")


@pytest.mark.parametrize("lacks", ["train", "test"])
def test_both_halves_have_as_many_classes_where_one_lacks_the_top_one(root, lacks):
    for split in ("train", "test"):
        put(root, split=split, classes=None, labels=np.arange(12, dtype=np.uint8) % (3 if split == lacks else 5))
    halves = {split: data.load("own", split) for split in ("train", "test")}
    assert halves[lacks].labels.max() == 2 and halves["train"].classes == halves["test"].classes == tuple("01234")
    assert data.load("own", lacks, limit=2).classes == tuple("01234")


def test_a_label_too_high_to_be_numbered_is_refused(root):
    put(root, classes=None, labels=np.full(12, 9_999, np.int64))
    assert len(data.load("own", "train").classes) == 10_000
    put(root, "more", classes=None, labels=np.full(12, 10_000, np.int64))
    with pytest.raises(ValueError, match="a label of 10000, and no array 'classes'"):
        data.load("more", "train")


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
    [
        dict(pixel=(0, 0, 0, 0)),
        dict(pixel=(11, 4, 3, 2)),
        dict(label=0),
        dict(label=11),
        dict(shape=(12, 4, 5, 3)),
    ],
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
    monkeypatch.setitem(data._DOWNLOADS, "mnist", offline)
    assert data.fingerprint("mnist", "train") is None and data.fingerprint("gaussian:mnist", "train") is None


# gaussian:


@pytest.mark.parametrize("size", [None, 16])
def test_gaussian_images_have_the_labels_and_moments_of_the_real_ones(size):
    for split in ("train", "test"):
        real, noise = (data.load(name, split, image_size=size) for name in ("digits", "gaussian:digits"))
        assert torch.equal(real.labels, noise.labels) and real.images.shape == noise.images.shape and noise.classes == real.classes
        assert noise.images.min() < 0 and noise.images.max() > 1  # not clipped
    real, noise = (data.load(name, "train", image_size=size).images for name in ("digits", "gaussian:digits"))
    n = real.numel()
    assert abs(real.mean() - noise.mean()) < 4 * real.std() / n**0.5
    assert abs(real.std() / noise.std() - 1) < 4 / (2 * n) ** 0.5
    scaled = data.load("gaussian:digits", "train", image_size=size, scale="standardised").images
    assert abs(scaled.mean()) < 4 / n**0.5 and abs(scaled.std() - 1) < 4 / (2 * n) ** 0.5


def test_gaussian_images_are_one_fixed_draw_of_which_a_limit_takes_the_first():
    whole = data.load("gaussian:digits", "train", scale="standardised")
    data._load.cache_clear()
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


@pytest.mark.parametrize("name", ["../own", "own/", "/own", "a/own", "a\\own", "my own", " own", "own\n", "", "gaussian:",
                                  "gaussian:../own", "gaussian:my own", "other:own", "..", ".", "-x", ".x", "...", "gaussian:..",
                                  "gaussian:.", "gaussian:-x"])  # fmt: skip
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
        assert data.load(name, "train").name == name and data.load(f"gaussian:{name}", "train").classes == ("a", "b", "c")


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
        return data._Raw(np.arange(60, dtype=np.uint8).reshape(3, 5, 4, 1), np.array([2, 0, 1]), ("x", "y", "z"))

    monkeypatch.setitem(data._DOWNLOADS, "mnist", fetch)
    first = data.load("mnist", "train")
    data._raw.cache_clear(), data._load.cache_clear(), data._stored_digest.cache_clear()
    again = data.load("mnist", "train")
    assert calls == ["train"] and torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert first.digest == again.digest and first.classes == again.classes
    assert [f.name for f in (root / "mnist").iterdir()] == ["train.npz"]


def test_a_write_that_fails_leaves_nothing(root, monkeypatch):
    def full(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setitem(data._DOWNLOADS, "mnist", lambda *_: data._Raw(np.zeros((2, 5, 4, 1), np.uint8), np.array([0, 1]), ("x", "y")))
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
