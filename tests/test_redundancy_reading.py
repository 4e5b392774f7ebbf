"""What a user has, by name: nets, images and weights, and one sentence for whatever is not as it should be."""

import importlib
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pruning_lab import environment, redundancy
from pruning_lab.redundancy import reading

IMAGES, LABELS = torch.rand(6, 1, 2, 2), torch.arange(6) % 3
SOURCE = """
import torch
from torch import nn
def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
made = make_net()
data = (torch.rand(6, 1, 2, 2), torch.arange(6) % 3)
def needs(a): return a
class Inside: net = made
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's own in the current folder, by its name."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


class Pairs(Dataset):
    """A data set that has numbers and a length alone."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return IMAGES[i], int(LABELS[i])


def test_a_net_is_found_by_its_name_as_a_function_or_as_a_module(module):
    for name in ("make_net", "made", "Inside.net"):
        found = redundancy.given(f"{module}:{name}", f"{module}:data")
        assert isinstance(found.model, nn.Sequential) and len(found.train.images) == 6 and found.test is None
        assert found.name == f"{module}:{name}"


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, LABELS), [IMAGES, LABELS], SimpleNamespace(images=IMAGES, labels=LABELS),
        TensorDataset(IMAGES, LABELS),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4), DataLoader(Pairs(), batch_size=None), Pairs(),
        lambda: (IMAGES, LABELS),
        (IMAGES.numpy().astype(np.float64), LABELS.numpy()), (IMAGES.numpy().astype(">f4"), LABELS),
    ],
    ids=["tuple", "list", "split", "dataset", "loader", "loader of singles", "numbers and a length", "function",
         "arrays", "an array of other byte order"],
)  # fmt: skip
def test_images_are_read_of_whatever_holds_them(data):
    found = redundancy.given(net(), data)
    assert torch.equal(found.train.images, IMAGES) and torch.equal(found.train.labels, LABELS) and found.test is None


@pytest.mark.parametrize("data", [((IMAGES, LABELS), (IMAGES[:2], LABELS[:2])),
                                  {"test": (IMAGES[:2], LABELS[:2]), "train": Pairs()}])  # fmt: skip
def test_two_halves_are_train_and_test(data):
    found = redundancy.given(net(), data)
    assert len(found.train.images) == 6 and len(found.test.images) == 2


def test_a_loader_is_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(reading, "LIMIT", 5)
    assert len(redundancy.given(net(), DataLoader(Pairs(), batch_size=2)).train.images) == 5
    assert len(redundancy.given(net(), Pairs()).train.images) == 5


def test_a_folder_of_npz_has_both_halves_in_0_to_1(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1) * 10
    for half, n in (("train", 6), ("test", 4)):
        np.savez(tmp_path / f"{half}.npz", images=pixels[:n], labels=LABELS[:n].numpy())
    found = redundancy.given(net(), str(tmp_path))
    torch.testing.assert_close(found.train.images, torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()) / 255)
    assert found.test.images.shape == (4, 1, 2, 2) and found.test.labels.dtype == torch.int64


def test_a_set_that_the_library_knows_is_found_by_its_name():
    assert redundancy.given(net(), "digits").test.images.shape[1:] == (1, 8, 8)


def test_weights_are_loaded_whole_or_not_at_all(tmp_path):
    other, mine = net(), net()
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    redundancy.given(mine, (IMAGES, LABELS), tmp_path / "w.safetensors")
    assert torch.equal(mine[1].weight, other[1].weight)
    before = mine[1].weight.clone()
    save_file({"1.weight": torch.zeros(3, 4), "extra": torch.zeros(1)}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"1 missing, as '1.bias'; 1 not in the net, as 'extra'"):
        redundancy.given(mine, (IMAGES, LABELS), tmp_path / "bad.safetensors")
    save_file({"1.weight": torch.zeros(3, 5), "1.bias": torch.zeros(3)}, tmp_path / "shape.safetensors")
    with pytest.raises(ValueError, match="1 of other shapes, as '1.weight'"):
        redundancy.given(mine, (IMAGES, LABELS), tmp_path / "shape.safetensors")
    (tmp_path / "no.safetensors").write_text("nothing")
    with pytest.raises(ValueError, match="cannot be read as .safetensors"):
        redundancy.given(mine, (IMAGES, LABELS), tmp_path / "no.safetensors")
    assert torch.equal(mine[1].weight, before)


def test_a_module_that_imports_torchvision_has_it_mended(tmp_path, monkeypatch):
    text = "import mended_of_test as m\nif not m.done: raise RuntimeError('operator torchvision::{} does not exist')\n"
    (tmp_path / "mended_of_test.py").write_text("done = []\n")
    for name in ("nms", "other"):
        (tmp_path / f"vision_{name}.py").write_text(text.format(name) + "import torch\nnet = torch.nn.Linear(3, 2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    calls = importlib.import_module("mended_of_test").done
    monkeypatch.setattr(environment, "import_torchvision", lambda: calls.append(1))
    assert isinstance(reading._named("vision_nms:net", "model"), torch.nn.Linear) and calls == [1]
    calls.clear()
    monkeypatch.setattr(environment, "import_torchvision", lambda: None)  # what cannot be mended is told
    with pytest.raises(ValueError, match="operator torchvision::other does not exist"):
        reading._named("vision_other:net", "model")


def test_a_function_that_imports_torchvision_has_it_mended_too(monkeypatch):
    mended = []

    def make():
        if not mended:
            raise RuntimeError("operator torchvision::nms does not exist")
        return torch.nn.Linear(3, 2)

    monkeypatch.setattr(environment, "import_torchvision", lambda: mended.append(1))
    assert isinstance(reading._called(make, "the model"), torch.nn.Linear) and mended == [1]
    with pytest.raises(ValueError, match=r"cannot be called without arguments .*: expected a function that needs none"):
        reading._called(lambda classes: None, "the model")
    with pytest.raises(ValueError, match=r"fails when it is called \(TypeError"):
        reading._called(lambda: len(3), "the model")


def raises():
    raise RuntimeError("no luck")


@pytest.mark.parametrize(
    "model, said",
    [
        ("nowhere_at_all:make", "cannot be imported"), ("make_net", "names no object"),
        ("json:nothing", "'json' has no 'nothing', and nothing in it may be a net, or a function that gives one"),
        (3, "is of type int"), (lambda: 3, "expected an nn.Module"),
        (lambda a: a, "cannot be called without arguments"),
        (raises, r"fails when it is called \(.*no luck.*\): it has to be mended"),
    ],
)  # fmt: skip
def test_what_is_no_net_is_told_in_one_sentence(model, said):
    with pytest.raises(ValueError, match=said) as error:
        redundancy.given(model, (IMAGES, LABELS))
    assert "\n" not in str(error.value)


def test_who_names_what_is_not_there_is_told_what_may_be_meant(monkeypatch):
    mine = types.ModuleType("mine")
    code = (
        "import torch\nfrom torch import nn\nfrom torch.nn import Linear\nimages, labels = torch.rand(4, 3), 10\n"
        "class Block(nn.Module):\n    def __init__(self, size): pass\n"
        "class Net(nn.Module): pass\nclass Other: pass\nready = nn.Identity()\n"
        "def small(): pass\ndef wide(width=8): pass\ndef sized(width): pass\ndef _own(): pass\n"
    )
    exec(code, vars(mine))
    monkeypatch.setitem(sys.modules, "mine", mine)
    with pytest.raises(ValueError, match=r"has no 'nett'; expected one of its own: Net, ready, small, wide$"):
        redundancy.given("mine:nett", (IMAGES, LABELS))
    with pytest.raises(ValueError, match=r"has no 'data'; expected one of its own: images, labels, small, wide$"):
        redundancy.given(torch.nn.Flatten(), "mine:data")


@pytest.mark.parametrize(
    "data, said",
    [
        ("no_such_thing", "no folder"), (3, "are of type int"), ({"a": 1}, "expected 'train' and 'test'"),
        ((IMAGES.byte(), LABELS), "floating-point"),
        ((IMAGES, LABELS[:3]), r"^data .*: split has images .* labels \[3\]: .* same N"),
        (IMAGES, r"are one array \[6, [\d, ]+\]: expected images and their labels"),
        (IMAGES.numpy(), "are one array"),
        ((IMAGES, LABELS.float()), "whole number"),
        ([(np.zeros(3), 1)], "expected tensors"),
        ([(IMAGES[0], 1), (torch.rand(1, 3, 3), 1), (IMAGES[0], 1)], "several sizes"),
        ([5, 6, 7], "give one int after the other: expected pairs"),
        (lambda a: a, "cannot be called without arguments"),
        ((torch.where(IMAGES > 0.9, torch.nan, IMAGES), LABELS), r"\d of 6 images are not finite"),
        ((IMAGES.numpy().astype(str), LABELS.numpy()), "expected numbers"),
    ],
)  # fmt: skip
def test_what_holds_no_images_is_told_in_one_sentence(data, said):
    with pytest.raises(ValueError, match=said) as error:
        redundancy.given(net(), data)
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_told(tmp_path):
    (tmp_path / "tran.npz").touch()
    with pytest.raises(ValueError, match="has neither train.npz nor test.npz"):
        redundancy.given(net(), tmp_path)
