"""What the environment says, and a torchvision whose compiled operators are missing."""

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pruning_lab import data, environment
from pruning_lab.environment import repairs

ROOT = Path(__file__).resolve().parents[1]


def test_folders_follow_their_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("DATA", "STORE", "RESULTS"):
        monkeypatch.delenv(f"PRUNING_LAB_{name}", raising=False)
    assert environment.data_root() == tmp_path / "pruning_lab" / "data"
    assert environment.local_shelf() == tmp_path / "pruning_lab" / "store"
    assert environment.published_shelf() == ROOT / "book" / "results"
    for name, folder in (
        ("DATA", environment.data_root),
        ("STORE", environment.local_shelf),
        ("RESULTS", environment.published_shelf),
    ):
        monkeypatch.setenv(f"PRUNING_LAB_{name}", str(tmp_path / name))
        assert folder() == tmp_path / name
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert environment.cache_folder() == Path.home() / ".cache" / "pruning_lab"


def test_a_home_in_a_setting_is_expanded_also_where_no_command_was_given(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = dict(DATA=environment.data_root, STORE=environment.local_shelf, RESULTS=environment.published_shelf)
    for name, folder in found.items():
        monkeypatch.setenv(f"PRUNING_LAB_{name}", "~/x")
        assert folder() == tmp_path / "x"
        monkeypatch.setenv(f"PRUNING_LAB_{name}", "~no_such_user/x")
        with pytest.raises(ValueError, match=f"PRUNING_LAB_{name}='~no_such_user/x' is no folder"):
            folder()
        monkeypatch.setenv(f"PRUNING_LAB_{name}", "")


HOMELESS = """
import os, pwd, sys
for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
    os.environ.pop(name, None)
def nobody(*_):
    raise KeyError("uid not found")
pwd.getpwuid = pwd.getpwnam = nobody
from pruning_lab import Recipe, Train, data, run
from pruning_lab.__main__ import main
try:
    record = run(Train("digits", "mlp", Recipe(epochs=1), width=4, limit=40))
except ValueError as error:
    sys.exit(str(error))
assert len(data.load("digits", "test")) and not record.notes and main(["clean", "data"]) == main(["clean"]) == 0
"""


def test_a_user_without_a_home_computes_where_both_folders_are_named_and_else_is_told_to_name_them(tmp_path):
    named = {"PRUNING_LAB_STORE": str(tmp_path / "store"), "PRUNING_LAB_DATA": str(tmp_path / "data")}
    for given in ({}, *({name: folder} for name, folder in named.items()), named):
        others = {name: value for name, value in os.environ.items() if name not in named}
        more = dict(PYTHONPATH=str(ROOT), PRUNING_LAB_RESULTS=str(tmp_path / "none"))
        done = subprocess.run(
            [sys.executable, "-c", HOMELESS], env=others | more | given, capture_output=True, text=True
        )
        if given == named:
            assert done.returncode == 0, done.stderr
        else:
            told = "this user has no home folder: set PRUNING_LAB_STORE and PRUNING_LAB_DATA to folders of yours"
            assert done.returncode == 1 and done.stderr.strip() == told, done.stderr


def test_plugins_are_named_with_commas(monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_PLUGINS", " one, two.three,,")
    assert environment.plugins() == ["one", "two.three"]
    monkeypatch.delenv("PRUNING_LAB_PLUGINS")
    assert environment.plugins() == []


def test_the_device_named_is_taken(monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_DEVICE", "cpu")
    assert environment.device() == torch.device("cpu")
    monkeypatch.delenv("PRUNING_LAB_DEVICE")
    assert environment.device().type in ("cuda", "mps", "cpu")


KNOWN = ["xpu", "ipu", "hpu", "xla", "vulkan", "mtia", "hip", "ve", "fpga", "maia", "lazy", "mkldnn", "opengl"]


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cpu:x", "meta", "meta:0", " ", "CPU", "7", *KNOWN, "x" * 500])
def test_a_device_that_is_not_there_is_named(monkeypatch, name):
    if name in KNOWN and getattr(getattr(torch, name, None), "is_available", bool)():
        pytest.skip("this machine has one")
    monkeypatch.setenv("PRUNING_LAB_DEVICE", name)
    for call, called in (
        (environment.device, "PRUNING_LAB_DEVICE"),
        (lambda: data.load("digits", "test", device=name), "device"),
        (lambda: data.shared("digits", "test", device=name), "device"),
    ):
        with pytest.raises(ValueError) as told:
            call()
        said = str(told.value)
        assert said.startswith(f"{called}='{name[:50]}") and " cannot be used here: " in said
        assert (
            said.endswith("; expected cpu, cuda or mps, as this machine has") and "\n" not in said and len(said) < 300
        )


def test_a_device_has_a_name():
    for wrong in (5, ["cpu"], 1.5):
        with pytest.raises(ValueError, match="device=.* cannot be used here: it is a .*, no name of a device"):
            data.load("digits", "test", device=wrong)
    assert data.load("digits", "test", device=torch.device("cpu"), limit=2).images.device.type == "cpu"


@pytest.mark.parametrize("text", ["999999999", "1025", "9" * 5000, "00001025"])
def test_more_workers_than_any_machine_has_use_for_are_refused(monkeypatch, text):
    monkeypatch.setenv("PRUNING_LAB_WORKERS", text)
    with pytest.raises(ValueError, match="PRUNING_LAB_WORKERS='.*': expected a number of .*, at most 1,024$") as told:
        environment.workers()
    assert len(str(told.value)) < 150
    for fine in ("1", "0002", "1024"):
        monkeypatch.setenv("PRUNING_LAB_WORKERS", fine)
        assert environment.workers() == int(fine)


def python(code, path):
    more = dict(PYTHONPATH=os.pathsep.join(map(str, path)), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=os.environ | more, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


USE = """
import torch
torch.set_num_threads(1)
from pruning_lab import environment
from pruning_lab.environment import repairs
torchvision = environment.import_torchvision()
from torchvision import datasets, models, ops, transforms
net = models.resnet18(weights=None).eval()
with torch.inference_mode():
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
assert environment.import_torchvision() is torchvision
assert torch.ops.torchvision.nms is not None and datasets.MNIST
"""


def test_the_torchvision_installed_here_is_usable():
    python(USE, [ROOT])


def test_a_torchvision_without_its_operators_is_made_usable(tmp_path):
    """The package without its compiled part fails at import just as a CUDA build beside a CPU-only torch does."""
    package = Path(find_spec("torchvision").origin).parent
    shutil.copytree(
        package,
        tmp_path / "torchvision",
        ignore=shutil.ignore_patterns("*.so*", "*.pyd", "*.dll", "*.dylib", "__pycache__"),
    )
    fails = """
try:
    import torchvision
except RuntimeError as error:
    assert "torchvision::nms" in str(error)
else:
    raise SystemExit("this copy works by itself: the test says nothing")
import sys
for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
    del sys.modules[name]
"""
    python(
        fails + USE + f"assert repairs._LIBRARIES and torchvision.__file__.startswith({str(tmp_path)!r})",
        [tmp_path, ROOT],
    )


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A function that puts a package named torchvision, with the source given, in the place of the real one."""
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "torchvision"}

    def put(source):
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(repairs, "_LIBRARIES", [])

    yield put
    sys.modules.pop("torchvision", None)
    sys.modules.update(real)


def test_a_torchvision_that_fits_is_left_alone(stub):
    stub("fits = True\n")
    assert environment.import_torchvision().fits and not repairs._LIBRARIES


def test_other_failures_of_torchvision_come_through(stub):
    stub("raise RuntimeError('something else')\n")
    with pytest.raises(RuntimeError, match="something else"):
        environment.import_torchvision()
    assert not repairs._LIBRARIES


FAULTS = """
import resource
from pruning_lab import environment
import torch
def faults():
    count = []
    for _ in range(12):
        torch.ones(2**24).sum()
        count.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return count[-1] - count[1]
before = faults()
assert environment.reuse_memory()
print(faults(), before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_used_again():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    reused, before = map(int, done.stdout.split())
    assert 100 * reused < before  # pages that the system had to clear


def test_without_glibc_memory_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(repairs.ctypes, "CDLL", lambda _: object())
    environment.reuse_memory.cache_clear()
    assert environment.reuse_memory() is False
    environment.reuse_memory.cache_clear()


def test_where_the_system_does_not_say_the_age_what_was_computed_counts(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda self: "nothing of that kind")
    assert 0 < environment.age() <= time.process_time()
