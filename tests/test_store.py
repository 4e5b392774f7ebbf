"""Records: keys that say what determines an answer, sound or not used, whole or absent, and nothing private in them."""

import dataclasses
import getpass
import gzip
import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_lab import Recipe, Train, UnitCurve, UnitImportance, criteria, environment
from pruning_lab.nets import models
from pruning_lab.records import provenance, record, source, store
from pruning_lab.records.experiment import flat, lineage
from pruning_lab.records.store import Experiment, Result
from pruning_lab.running import chapters

RECIPE = Recipe(lr=0.1, epochs=1)
NET = Train("digits", "lenet_300_100", RECIPE)


@dataclass(frozen=True)
class Inner:
    depth: int = 2
    rates: tuple[float, ...] = ()


@dataclass(frozen=True)
class Toy(Experiment):
    """An experiment that takes no time, and says in a file that it was computed."""

    has_weights: ClassVar[bool] = True

    name: str
    seed: int = 0
    rate: float = 0.1
    inner: Inner = field(default_factory=Inner)

    def compute(self):
        with open(os.environ["TOY_LOG"], "a") as log:
            print(self.name, self.seed, file=log, flush=True)
        time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
        table = pd.DataFrame(dict(step=[0, 1], value=[0.1 + 0.2, 1e-17 / 3], word=["a", "b,c"]))
        return Result(
            table, dict(a=np.arange(6).reshape(2, 3), half=np.float16([0.5])), dict(w=torch.ones(2, 2).T * self.seed)
        )

    def label(self):
        return f"toy-{self.name}"


@dataclass(frozen=True)
class Child(Experiment):
    parent: Toy
    layer: str = "fc1"

    def compute(self):
        return Result(store.run(self.parent, weights=True).table[["value"]])


@dataclass(frozen=True)
class Grandchild(Experiment):
    parent: Child

    def compute(self):
        return Result(store.run(self.parent).table)


@dataclass(frozen=True)
class Maker(Experiment):
    """Makes the answer of its part itself, and leaves it behind."""

    part: Toy

    def needs(self):
        return []

    def compute(self):
        result = self.part.compute()
        store.put(self.part, replace(result, seconds=1.5))
        return Result(result.table[["step"]])


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves, and a log of what was computed."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    store.forget()
    return store_folder, tmp_path / "results"


def computed():
    """How many times a toy was computed in this test."""
    log = Path(os.environ["TOY_LOG"])
    return len(log.read_text().splitlines()) if log.exists() else 0


def folder(e, shelf="local"):
    return store.folder_of(e, shelf)


def tamper(e, shelf="local", **change):
    """Change fields of a stored record.json; a value of None takes the field away."""
    file = folder(e, shelf) / "record.json"
    meta = json.loads(file.read_text()) | change
    file.write_text(json.dumps({k: v for k, v in meta.items() if v is not None}))
    store.forget()


# keys


def test_keys_are_readable_and_stay_as_they_are():
    """These are names of records on disk: a key that changes here orphans every published record."""
    assert Toy("a").key == "toy-a-ba86912fb4"
    assert NET.key == "lenet_300_100-digits-s0-bade37ddf3"
    assert UnitCurve(NET, "fc1").key == "lenet_300_100-digits-s0-fc1-norm_frame_potential_random-5490704804"
    assert UnitImportance(NET, "fc1").key == "lenet_300_100-digits-s0-fc1-bc39c621e1"
    assert replace(NET, dataset="gaussian:mnist").key.startswith("lenet_300_100-gaussian-mnist-s0-")


def test_defaults_said_aloud_do_not_change_the_key():
    assert Toy("a", 0, 0.1, Inner(2, ())).key == Toy("a").key
    assert replace(NET, init="default", width=None, recipe=replace(RECIPE, shuffle=True, drops=())).key == NET.key
    assert UnitCurve(NET, "fc1", repeats=5).key == UnitCurve(NET, "fc1").key


def changed(value):
    """Another sound value for a field."""
    if isinstance(value, bool):
        return not value
    return {int: 7, float: 0.7, str: "other", tuple: (7,), type(None): 7}[type(value)]


def test_every_field_changes_the_key():
    curve = UnitCurve(NET, "fc1")
    keys = [NET.key, curve.key]
    for f in dataclasses.fields(Train):
        if f.name not in ("recipe", "options"):
            value = replace(NET, seed=9) if f.name == "start" else changed(getattr(NET, f.name))
            keys.append(replace(NET, **{f.name: value}).key)
    other = replace(NET, model="mlp")
    keys += [other.key, replace(other, options=dict(hidden=(7,))).key]
    words = dict(optimizer="adam", precision="bfloat16", augmentation="crop_flip", keep="lowest_validation_loss")
    words |= dict(loss="squared", stop_margin=(0.9, 2.0))
    for f in dataclasses.fields(Recipe):
        if f.name not in ("iterations", "keep", "stop_reading"):
            keys.append(
                replace(
                    NET, recipe=replace(RECIPE, **{f.name: words.get(f.name, changed(getattr(RECIPE, f.name)))})
                ).key
            )
    keys.append(replace(NET, recipe=replace(RECIPE, epochs=None, iterations=7)).key)
    keys.append(replace(NET, recipe=replace(RECIPE, holdout=7, keep=words["keep"])).key)
    keys.append(replace(NET, recipe=replace(RECIPE, stop_loss=7, stop_reading="evaluated")).key)
    for f in dataclasses.fields(UnitCurve):
        if f.name not in ("parent", "group"):
            keys.append(replace(curve, **{f.name: changed(getattr(curve, f.name))}).key)
    keys.append(replace(curve, group=("norm",)).key)
    assert len(set(keys)) == len(keys)


def test_version_class_and_parent_are_in_the_key(monkeypatch):
    keys = {Toy("a").key, Child(Toy("a")).key, Child(Toy("a", 1)).key}
    monkeypatch.setattr(Toy, "version", 2)
    keys |= {Toy("a").key, Child(Toy("a")).key}
    assert len(keys) == 5


def test_a_part_is_in_the_key_also_where_it_is_no_parent():
    toy, maker = Toy("a"), Maker(Toy("a"))
    assert maker.made_of() == [toy] and maker.needs() == [] and Child(toy).made_of() == Child(toy).needs() == [toy]
    assert Toy("a").made_of() == [] and Maker(Toy("a", 1)).key != maker.key == Maker(Toy("a", 0)).key
    assert maker.code() == Child(toy).code() == toy.code() and "test_store.py" in maker.code()


def test_device_and_folders_are_not_in_the_key(monkeypatch):
    key = UnitCurve(NET, "fc1").key
    for name in ("DEVICE", "DATA", "STORE", "RESULTS"):
        monkeypatch.setenv(f"PRUNING_LAB_{name}", "meta" if name == "DEVICE" else "elsewhere")
    assert UnitCurve(NET, "fc1").key == key


def test_the_source_of_a_plugin_s_criterion_is_in_the_key(monkeypatch):
    def plain(weight):
        return weight.flatten(1).sum(1)

    def other(weight):
        return weight.flatten(1).sum(1) * 2

    keys = {UnitCurve(NET, "fc1", ("norm",)).key}
    for function in (plain, other):
        monkeypatch.setitem(criteria.UNIT, "own", function)
        keys.add(UnitCurve(NET, "fc1", ("own",)).key)
    assert len(keys) == 3
    assert UnitCurve(NET, "fc1", ("norm",)).plugin_digests() == {}
    assert UnitCurve(NET, "fc1", ("own",)).plugin_digests().keys() == {"own"}


def test_the_source_of_a_plugin_s_model_is_in_the_key_of_all_that_is_made_of_it(monkeypatch):
    def relu(in_shape, classes, width):
        return {"act": torch.nn.ReLU()}

    def tanh(in_shape, classes, width):
        return {"act": torch.nn.Tanh()}

    net = replace(NET, model="own")
    keys = {NET.key}
    for function in (relu, tanh):
        monkeypatch.setitem(models.MODELS, "own", function)
        keys |= {net.key, UnitCurve(net, "act").key}
        assert net.plugin_digests().keys() == {"own"}
    assert len(keys) == 5 and NET.plugin_digests() == {} == replace(NET, model="vit").plugin_digests()


# storing and finding


def test_what_was_computed_is_what_is_read_back(shelves):
    assert store.find(Toy("a")) is None
    first = store.run(Toy("a", 3))
    store.forget()
    again = store.run(Toy("a", 3))
    assert computed() == 1 and again.shelf == "local" and again.notes == ()
    for found in (first, again):
        expected = pd.DataFrame(dict(step=[0, 1], value=[0.1 + 0.2, 1e-17 / 3], word=["a", "b,c"]))
        pd.testing.assert_frame_equal(found.table, expected, check_exact=True)  # to the last bit
        assert found.arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found.arrays["half"].dtype == np.float16
        assert torch.equal(found.weights()["w"], torch.full((2, 2), 3.0))
    assert sorted(f.name for f in folder(Toy("a", 3)).iterdir()) == [
        "arrays.npz",
        "record.json",
        "table.csv",
        "weights.safetensors",
    ]
    assert [f.name for f in shelves[0].glob("Toy/*")] == [Toy("a", 3).key]  # no temporary folder stays


def test_a_table_taken_from_a_record_may_be_changed():
    table = store.run(Toy("a")).table
    table["value"] = 0
    assert store.run(Toy("a")).table.value[0] == 0.1 + 0.2


def test_a_record_says_where_it_comes_from():
    meta = store.run(Child(Toy("a", 2))).meta
    assert meta["format"] == store.FORMAT and meta["experiment"] == "Child" and meta["key"] == Child(Toy("a", 2)).key
    assert meta["config"] == dict(parent=dict(name="a", seed=2, rate=0.1, inner=dict(depth=2, rates=[])), layer="fc1")
    assert meta["code"] == Child(Toy("a", 2)).code() and meta["library"] and meta["git"].keys() == {"revision", "dirty"}
    assert meta["versions"]["torch"] == torch.__version__ and meta["versions"]["numpy"] == np.__version__
    assert (
        meta["device"].keys() == {"type", "name", "instructions", "threads", "cores"}
        and meta["peak_memory_bytes"] > 1e6
    )
    assert meta["seconds"] >= 0 and abs(pd.Timestamp(meta["time"]) - pd.Timestamp.now("UTC")) < pd.Timedelta("5min")
    assert meta["files"].keys() == {"table.csv", "arrays.npz"}


def test_a_record_names_the_weights_it_started_from():
    toy = Toy("a", 2)
    meta = store.run(Grandchild(Child(toy))).meta
    weights = hashlib.sha256((folder(toy) / "weights.safetensors").read_bytes()).hexdigest()
    assert store.find(toy).meta["parents"] == {} and store.find(Child(toy)).meta["parents"] == {toy.key: weights}
    assert meta["parents"] == {Child(toy).key: None}  # it has none to start from
    assert store.run(Child(Toy("a", 3))).meta["parents"] != {toy.key: weights}


def test_a_child_of_a_published_net_names_the_weights_of_the_local_one():
    toy = Toy("a")
    store.run(toy)
    store.publish(toy)
    weights = hashlib.sha256((folder(toy) / "weights.safetensors").read_bytes()).hexdigest()
    tamper(toy, "published", code={"Toy": "000000000000"})
    record = store.run(Child(toy))
    assert record.meta["parents"] == {toy.key: weights} and record.meta["code"] == toy.code()


def test_what_a_record_says_of_its_making_is_what_was_there_when_it_began(monkeypatch):
    def say(when):
        for name, value in dict(revision=dict(revision=when), library_digest=when,
                                versions=dict(torch="2.0", word=when),
                                device=dict(type="cpu", name=when, threads=1)).items():  # fmt: skip
            monkeypatch.setattr(provenance, name, lambda *_, value=value: value)
        monkeypatch.setattr(source, "code_of", lambda *_: {"toy": when})

    def compute(self):
        say("after")
        return Result(pd.DataFrame(dict(x=[1])))

    monkeypatch.setattr(Toy, "compute", compute)
    say("before")
    with pytest.raises(RuntimeError, match="cannot be read back"):
        store.run(Toy("a"))  # to code that changed meanwhile, this record is another's
    meta = json.loads((folder(Toy("a")) / "record.json").read_text())
    found = (
        meta["git"]["revision"],
        meta["library"],
        meta["versions"]["word"],
        meta["device"]["name"],
        meta["code"]["toy"],
    )
    assert found == ("before",) * 5 and provenance.library_digest() == "after"


def test_where_the_system_does_not_name_its_processor_its_kind_is_named(monkeypatch):
    def gone(*_, **__):
        raise FileNotFoundError("/proc/cpuinfo")

    monkeypatch.setattr(Path, "read_text", gone)
    assert provenance._processor.__wrapped__() in (platform.processor(), platform.machine())
    monkeypatch.setattr(Path, "read_text", lambda _: "processor : 0\nmodel name\t: A 9 : b\nmodel name : other\n")
    assert provenance._processor.__wrapped__() == "A 9 : b"


def test_a_record_names_no_host_user_or_path(tmp_path):
    store.run(Toy("a"))
    text = (folder(Toy("a")) / "record.json").read_text()
    home, here = str(Path.home()), os.getcwd()
    for private in (
        platform.node(),
        getpass.getuser(),
        home,
        here,
        str(tmp_path),
        str(Path(store.__file__).parent),
        sys.prefix,
    ):
        assert len(private) < 3 or private not in text
    assert not any(os.sep in str(v) for k, v in json.loads(text).items() if k not in ("device",))


def test_an_answer_of_arrays_alone_has_an_empty_table(monkeypatch):
    monkeypatch.setattr(Toy, "compute", lambda self: Result(pd.DataFrame(), dict(a=np.ones(2))))
    record = store.run(Toy("a"))
    assert record.table.empty and record.arrays["a"].sum() == 2 and record.weights() == {}


OTHER_DATA = ("data", "made on other data bytes (digits/train)")


def test_data_read_stands_in_the_record(monkeypatch):
    seen = {"digits/train": dict(digest="0123", lossy=0)}
    monkeypatch.setattr(Toy, "data_read", lambda self: seen)
    assert store.run(Toy("a")).meta["data"] == seen and store.run(Toy("a")).notes == ()
    store.publish(Toy("a"))
    monkeypatch.setattr(Toy, "data_read", lambda self: {"digits/train": dict(digest="4567", lossy=0)})
    assert store.run(Toy("a")).notes == (OTHER_DATA,) and computed() == 1
    monkeypatch.setattr(Toy, "data_read", lambda self: {})  # the set is not on this machine: nothing to compare with
    assert store.run(Toy("a")).notes == () and computed() == 1


def test_a_local_record_made_on_other_data_bytes_does_not_count_and_that_is_said_once(monkeypatch, capsys):
    store.run(Toy("a"))
    store.run(Toy("b"))
    monkeypatch.setattr(Toy, "data_read", lambda self: {"digits/train": dict(digest="4567", lossy=0)})
    for name in ("a", "b"):
        tamper(Toy(name), data={"digits/train": dict(digest="0123", lossy=0)})
    store.forget()
    assert store.find(Toy("a")) is store.find(Toy("b")) is None
    assert (
        capsys.readouterr().out == "local records made on other data bytes than today's do not count (digits/train)\n"
    )
    assert store.run(Toy("a")).notes == () and computed() == 3


def test_an_experiment_reads_what_it_is_made_of_reads(monkeypatch):
    seen = {"digits/train": dict(digest="0123", lossy=0)}
    assert Toy("a").data_read() == Grandchild(Child(Toy("a"))).data_read() == {}
    monkeypatch.setattr(Toy, "data_read", lambda self: seen)
    assert Grandchild(Child(Toy("a"))).data_read() == Maker(Toy("a")).data_read() == seen
    assert store.run(Child(Toy("a"))).meta["data"] == seen


def reading(monkeypatch, digest):
    """Experiments that build on others read a split with this digest; None: it is not here."""
    seen = {} if digest is None else {"digits/train": dict(digest=digest, lossy=0)}
    for kind in (Child, Grandchild):
        monkeypatch.setattr(kind, "data_read", lambda self: seen)
    return seen


def test_what_is_made_from_a_parent_on_other_data_names_those_and_is_marked(monkeypatch, capsys):
    child, old = Child(Toy("a")), reading(monkeypatch, "0123")
    store.run(child)
    store.publish(child)
    shutil.rmtree(folder(child))
    reading(monkeypatch, "4567")
    made = store.run(Grandchild(child))
    assert made.meta["data"] == old and made.shelf == "local"
    assert made.notes == (OTHER_DATA,)
    shutil.rmtree(folder(child, "published"))
    assert store.find(Grandchild(child)) is None
    again = store.run(Grandchild(child))
    assert again.notes == () and again.meta["data"]["digits/train"]["digest"] == "4567"


def test_what_is_made_from_a_parent_whose_data_are_not_here_names_them(monkeypatch):
    child, old = Child(Toy("a")), reading(monkeypatch, "0123")
    store.run(child)
    reading(monkeypatch, None)
    assert store.run(Grandchild(child)).meta["data"] == old
    reading(monkeypatch, "4567")
    assert store.find(Grandchild(child)) is None


def test_data_of_a_parent_that_its_child_reads_otherwise_are_not_the_childs(monkeypatch):
    child = Child(Toy("a"))
    reading(monkeypatch, "0123")
    few = {"digits/train": dict(digest="8901", lossy=0)}  # as of the first so many images
    monkeypatch.setattr(Grandchild, "data_read", lambda self: few)
    assert store.run(Grandchild(child)).meta["data"] == few and store.find(Grandchild(child)).notes == ()


def test_other_versions_and_devices_are_said():
    store.run(Toy("a"))
    meta = json.loads((folder(Toy("a")) / "record.json").read_text())
    tamper(
        Toy("a"),
        versions=meta["versions"] | {"torch": "2.0.1+cu118"},
        device=meta["device"] | {"name": "Abacus", "threads": 7},
    )
    here = torch.__version__.split("+")[0]
    expected = dict(torch=f"made with torch 2.0.1, here is {here}", device="made on Abacus")
    expected |= dict(threads="made with 7 CPU threads, here 1")
    assert store.run(Toy("a")).notes == tuple(expected.items()) and computed() == 1


def test_an_answer_does_not_depend_on_the_threads_of_who_asks(monkeypatch):
    seen = []
    monkeypatch.setattr(Toy, "compute", lambda self, was=Toy.compute: seen.append(torch.get_num_threads()) or was(self))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        record = store.run(Toy("a"))
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(Toy, "alone", True)  # it measures time, by all threads there are
        assert store.run(Toy("b")).meta["device"]["threads"] == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2] and record.meta["device"]["threads"] == 1


@pytest.mark.parametrize("recipe", [dict(epochs=2), dict(iterations=30, momentum=0.9)], ids=str)
def test_a_net_is_the_same_at_any_number_of_threads(tmp_path, monkeypatch, recipe):
    tables = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / str(threads)))
            torch.set_num_threads(threads)
            tables.append(store.run(replace(NET, recipe=Recipe(lr=0.1, **recipe))).table)
    finally:
        torch.set_num_threads(before)
    pd.testing.assert_frame_equal(*tables, check_exact=True)


# broken records


def truncate(name):
    def change(path):
        file = path / name
        file.write_bytes(file.read_bytes()[:-3] if name != "record.json" else file.read_bytes()[:100])

    return change


def flip(name):
    def change(path):
        whole = bytearray((path / name).read_bytes())
        whole[len(whole) // 2] ^= 1
        (path / name).write_bytes(whole)

    return change


BROKEN = {
    "table truncated": (truncate("table.csv"), "table.csv is missing or not what record.json says"),
    "arrays truncated": (truncate("arrays.npz"), "arrays.npz is missing or not"),
    "weights truncated": (truncate("weights.safetensors"), "weights.safetensors is missing or not"),
    "record truncated": (truncate("record.json"), "record.json is truncated"),
    "record empty": (lambda path: (path / "record.json").write_text(""), "record.json is truncated"),
    "record of another kind": (lambda path: (path / "record.json").write_text("[1]"), "its format is"),
    "record without fields": (
        lambda path: (path / "record.json").write_text('{"format": 1}'),
        "record.json lacks config, code",
    ),
    "table gone": (lambda path: (path / "table.csv").unlink(), "table.csv is missing"),
    "arrays gone": (lambda path: (path / "arrays.npz").unlink(), "arrays.npz is missing"),
    "table changed": (flip("table.csv"), "table.csv is missing or not"),
    "arrays changed": (flip("arrays.npz"), "arrays.npz is missing or not"),
    "weights changed": (flip("weights.safetensors"), "weights.safetensors is missing or not"),
}


@pytest.mark.parametrize("change, says", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_named_and_computed_again(capsys, change, says):
    e = Toy("a")
    store.run(e)
    change(folder(e))
    store.forget()
    assert store.find(e) is None
    out = capsys.readouterr().out
    assert f"record Toy/{e.key} (local) is not used: " in out and says in out and out.count("\n") == 1
    assert store.run(e).table.value[0] == 0.1 + 0.2 and computed() == 2
    capsys.readouterr()
    assert store.find(e) is not None and capsys.readouterr().out == ""


def test_a_record_without_its_json_is_none_at_all(capsys):
    store.run(Toy("a"))
    (folder(Toy("a")) / "record.json").unlink()
    assert store.run(Toy("a")).table is not None and computed() == 2


@pytest.mark.parametrize(
    "config",
    [
        dict(name="b", seed=0, rate=0.1, inner=dict(depth=2, rates=[])),
        dict(name="a", seed=1, rate=0.1, inner=dict(depth=2, rates=[])),
        dict(name="a", seed=0, rate=0.1, inner=dict(depth=3, rates=[])),
        dict(name="a", seed=0, rate=0.1, inner=dict(depth=2, rates=[0.5])),
        dict(name="a", seed=0, rate=0.1, inner=2),
        dict(name="a", seed=0, rate=0.1, inner=dict(depth=2, rates=[]), more=1),
        dict(seed=0, rate=0.1, inner=dict(depth=2, rates=[])),
    ],
    ids=str,
)
def test_a_record_of_other_settings_under_this_key_is_not_used(capsys, config):
    store.run(Toy("a"))
    tamper(Toy("a"), config=config)
    assert store.find(Toy("a")) is None
    assert "its settings are not those asked for" in capsys.readouterr().out


def test_a_record_from_before_a_field_was_added_is_used_at_its_default():
    store.run(Toy("a"))
    tamper(Toy("a"), config=dict(name="a", inner=dict(depth=2)))
    assert store.find(Toy("a")) is not None


def test_an_unknown_format_is_named(capsys):
    store.run(Toy("a"))
    tamper(Toy("a"), format=99)
    assert store.find(Toy("a")) is None and "its format is 99, this library reads 1" in capsys.readouterr().out


# writing whole or not at all


@pytest.mark.parametrize("where", ["to_csv", "savez_compressed", "save_file", "peak_memory", "write_text", "rename"])
def test_a_write_that_fails_leaves_nothing(shelves, monkeypatch, where):
    def full(*_, **__):
        raise OSError("disk full")

    owner = dict(to_csv=pd.DataFrame, savez_compressed=np, save_file=store, peak_memory=provenance).get(where, Path)
    monkeypatch.setattr(owner, where, full)
    with pytest.raises(OSError, match="disk full"):
        store.run(Toy("a"))
    assert computed() == 1  # it failed in writing and not before
    assert not list(shelves[0].glob("Toy/*")) and not list(shelves[0].glob("Toy/.*"))


def test_a_failed_answer_is_no_record(shelves, monkeypatch):
    def fail(self):
        raise FloatingPointError("loss is not finite")

    monkeypatch.setattr(Toy, "compute", fail)
    with pytest.raises(FloatingPointError) as caught:
        store.run(Toy("a"))
    assert store.find(Toy("a")) is None and not (shelves[0] / "Toy").exists()
    assert (
        caught.value.__notes__ == [f"while computing Toy {Toy('a').key}"] and str(caught.value) == "loss is not finite"
    )
    with pytest.raises(FloatingPointError) as caught:
        store.run(Child(Toy("a")))
    assert caught.value.__notes__ == [
        f"while computing Toy {Toy('a').key}",
        f"while computing Child {Child(Toy('a')).key}",
    ]


KILLED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
import test_store
from pruning_lab.records import store
def stop(file, **arrays):
    print("writing", flush=True)
    time.sleep(600)
np.savez_compressed = stop
store.run(test_store.Toy("a"))
"""


def test_a_kill_while_writing_leaves_no_record_and_no_lock(shelves):
    paths = os.environ | {"PYTHONPATH": str(chapters.FOLDER.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, Path(__file__).parent], stdout=subprocess.PIPE, text=True, env=paths
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=900)
    assert store.find(Toy("a")) is None
    assert store.run(Toy("a")).table.value[0] == 0.1 + 0.2 and computed() == 2


def test_two_processes_compute_one_record_once(monkeypatch):
    monkeypatch.setenv("TOY_SLEEP", "0.5")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=store.run, args=(Toy("a"),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    assert [w.exitcode for w in workers] == [0, 0] and computed() == 1


# answers that another experiment came by


def times(e):
    """When each file of a local record was written."""
    return {f.name: f.stat().st_mtime_ns for f in folder(e).iterdir()}


def test_what_was_put_is_a_record_like_any_other():
    toy = Toy("a", 3)
    record = store.run(Maker(toy))
    assert record.meta["parents"] == {} and computed() == 1
    found = store.run(toy, weights=True)
    assert computed() == 1 and found.shelf == "local" and found.notes == () and found.meta["seconds"] == 1.5
    assert torch.equal(found.weights()["w"], torch.full((2, 2), 3.0))
    place = store.write(toy, toy.compute(), provenance.here() | store.used(toy, toy.code()))
    other = json.loads((place / "record.json").read_text())
    for name in ("config", "code", "data", "files", "key", "parents", "device", "versions", "git", "library"):
        assert found.meta[name] == other[name], name


def test_a_sound_record_is_left_alone_by_put():
    toy = Toy("a")
    store.run(toy)
    before = times(toy)
    store.put(toy, replace(toy.compute(), seconds=9.0))
    assert times(toy) == before and store.find(toy).meta["seconds"] != 9


@pytest.mark.parametrize("lacks", ["table", "weights", "code"])
def test_a_record_that_is_broken_or_stale_or_without_weights_is_replaced_by_put(lacks):
    toy = Toy("a")
    store.run(toy)
    if lacks == "code":
        tamper(toy, code={"Toy": "000000000000"})
    else:
        (folder(toy) / dict(table="table.csv", weights="weights.safetensors")[lacks]).unlink()
        store.forget()
    store.put(toy, replace(toy.compute(), seconds=9.0))
    found = store.find(toy, weights=True)
    assert found.meta["seconds"] == 9 and found.notes == () and found.weights()


def test_put_beside_a_published_record_keeps_the_weights_here():
    toy = Toy("a")
    store.run(toy)
    store.publish(toy)
    shutil.rmtree(folder(toy))
    store.put(toy, replace(toy.compute(), seconds=9.0))
    assert store.find(toy).shelf == "published" and store.find(toy, weights=True).shelf == "local"


def test_put_waits_for_the_process_that_computes_it_and_then_leaves_its_record():
    toy = Toy("a")
    result = replace(toy.compute(), seconds=9.0)
    putting = threading.Thread(target=store.put, args=(toy, result))
    with store.lock(toy):
        putting.start()
        putting.join(0.15)
        assert putting.is_alive() and not folder(toy).exists()
        store.write(toy, result, provenance.here() | store.used(toy, toy.code()) | dict(seconds=2.0))
    putting.join(60)
    assert not putting.is_alive() and store.find(toy).meta["seconds"] == 2


def test_a_run_that_waited_for_another_takes_its_record():
    toy, taken = Toy("a"), []
    waiting = threading.Thread(target=lambda: taken.append(store.run(toy)))
    with store.lock(toy):
        waiting.start()
        waiting.join(0.15)
        assert waiting.is_alive()
        made = provenance.here() | store.used(toy, toy.code()) | dict(seconds=2.0)
        store.write(toy, toy.compute(), made)
    waiting.join(60)
    assert not waiting.is_alive() and taken[0].meta["seconds"] == 2 and computed() == 1


def test_memory_is_counted_from_the_start_of_a_run_and_not_from_a_put(monkeypatch):
    calls = []
    monkeypatch.setattr(provenance, "count_memory", lambda: calls.append(1))
    store.run(Maker(Toy("a")))
    assert calls == [1] and store.find(Toy("a")) and store.find(Maker(Toy("a")))


# shelves and code


def test_the_published_shelf_comes_before_the_local_one():
    store.run(Toy("a"))
    store.publish(Toy("a"))
    assert store.find(Toy("a")).shelf == "published"
    assert store.find(Toy("a"), weights=True).shelf == "local"  # weights are never published
    shutil.rmtree(folder(Toy("a")))
    assert store.run(Toy("a")).shelf == "published" and computed() == 1
    record = store.run(Toy("a"), weights=True)
    assert record.shelf == "local" and record.weights() and computed() == 2


def test_a_broken_published_record_is_passed_over_for_the_local_one(capsys):
    store.run(Toy("a"))
    store.publish(Toy("a"))
    flip("table.csv.gz")(folder(Toy("a"), "published"))
    store.forget()
    assert (
        store.run(Toy("a")).shelf == "local"
        and "(published) is not used" in capsys.readouterr().out
        and computed() == 1
    )


def test_code_that_changed_makes_local_records_stale_and_marks_published_ones(capsys):
    store.run(Toy("a"))
    store.publish(Toy("a"))
    for shelf in ("local", "published"):
        tamper(Toy("a"), shelf, code=Toy("a").code() | {"train": "000000000000"})
    published = store.run(Toy("a"))
    assert published.shelf == "published" and published.standing == "unverified" and computed() == 1
    assert published.notes == (("code", "made by other code than today's (train)"),)
    shutil.rmtree(folder(Toy("a"), "published"))
    store.forget()
    capsys.readouterr()
    assert store.find(Toy("a")) is None and store.find(Toy("a")) is None
    out = capsys.readouterr().out
    assert (
        out.count("\n") == 1
        and "local records of Toy made by other code than today's do not count (train)" in out
        and "certify" in out
    )
    assert store.run(Toy("a")).notes == () and computed() == 2 and store.find(Toy("a")).standing == "current"


def test_the_code_of_a_record_is_what_its_class_and_its_parents_import():
    code = UnitCurve(NET, "fc1").code()
    rooms = {
        "experiments.units",
        "units.removal",
        "criteria.unit",
        "training.fit",
        "data",
        "nets.models",
        "records.store",
    }
    assert rooms <= code.keys()
    assert not {"sweeps", "figures", "experiments.gradients"} & code.keys()
    assert code == dict(sorted(code.items())) and NET.code().items() < code.items()


def test_what_is_made_from_an_unverified_parent_is_used_and_marked():
    toy, child = Toy("a"), Child(Toy("a"))
    store.run(child)
    store.publish(child)
    shutil.rmtree(folder(child))
    other = child.code() | {"test_store.py": "000000000000", "gone": "111111111111"}
    tamper(child, "published", code=other)
    made = store.run(Grandchild(child))
    assert made.meta["code"] == dict(sorted(other.items())) and made.meta["parents"] == {child.key: None}
    assert made.standing == "unverified"
    assert made.notes == (("code", "made by other code than today's (test_store.py)"),)
    shutil.rmtree(folder(child, "published"))
    assert (
        store.find(Grandchild(child)) is None and store.run(Grandchild(child)).standing == "current" and computed() == 1
    )
    assert store.find(toy).standing == "current"


def test_a_child_of_another_training_than_the_published_one_says_so(monkeypatch):
    toy = Toy("a", seed=1)
    store.run(toy, weights=True)
    store.publish(toy)
    assert store.run(Child(toy)).notes == ()
    shutil.rmtree(folder(toy))  # another machine: the weights were never published
    monkeypatch.setattr(
        Toy, "compute", lambda self, was=Toy.compute: replace(was(self), weights=dict(w=torch.full((2, 2), 1.0001)))
    )
    store.run(toy, weights=True)
    other = Child(toy, "fc2")
    assert store.run(other).notes == (("parent", "made from another training of its parent than the published one"),)
    assert store.find(Child(toy)).notes == () and store.find(toy).notes == ()
    store.publish(other)
    assert store.find(other).shelf == "published" and len(store.find(other).notes) == 1
    shutil.rmtree(folder(toy, "published"))
    assert store.find(other).notes == ()


def test_other_code_keeps_its_state_in_another_file(monkeypatch):
    places = [store.scratch(e) for e in (Toy("a"), Toy("a"), Child(Toy("a")), Toy("b"))]
    assert (
        places[0] == places[1] and len(set(places)) == 3 and all(p.name.startswith(("Toy-", "Child-")) for p in places)
    )
    monkeypatch.setattr(source, "code_of", lambda *_: {"toy": "000000000000"})
    key = Toy("a").key
    assert store.scratch(Toy("a")) not in places and key in store.scratch(Toy("a")).name and key in places[0].name
    assert store.scratch(Child(Toy("a"))) not in places  # the net it starts from is another


def test_the_state_of_a_run_goes_once_its_record_is_stored_and_not_before(monkeypatch):
    place = store.scratch(Toy("a"))
    place.parent.mkdir(parents=True)
    place.write_text("half")
    with monkeypatch.context() as patch:
        patch.setattr(store.np, "savez_compressed", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.run(Toy("a"))
    assert place.read_text() == "half"
    store.run(Toy("a"))
    assert not place.exists()


def test_publishing_copies_all_but_the_weights_and_packs_the_table(shelves):
    store.run(Toy("a"))
    target = store.publish(Toy("a"))
    assert target == shelves[1] / "Toy" / Toy("a").key and oct(target.stat().st_mode)[-3:] == "755"
    assert sorted(f.name for f in target.iterdir()) == ["arrays.npz", "record.json", "table.csv.gz"]
    local = folder(Toy("a"))
    assert all((target / name).read_bytes() == (local / name).read_bytes() for name in ("arrays.npz", "record.json"))
    assert gzip.decompress((target / "table.csv.gz").read_bytes()) == (local / "table.csv").read_bytes()
    shutil.rmtree(local)
    pd.testing.assert_frame_equal(store.find(Toy("a")).table, Toy("a").compute().table, check_exact=True)
    opened = pd.read_csv(target / "table.csv.gz")  # as a reader opens it
    pd.testing.assert_frame_equal(opened, Toy("a").compute().table, check_exact=True)
    store.run(Toy("a"), weights=True)
    store.publish(Toy("a"))  # again: replaces
    assert [f.name for f in (shelves[1] / "Toy").iterdir()] == [Toy("a").key]


def test_what_cannot_be_published_is_refused_and_leaves_nothing(shelves, monkeypatch):
    with pytest.raises(LookupError, match=f"no local record of Toy/{Toy('a').key} to publish; run it first"):
        store.publish(Toy("a"))
    store.run(Toy("a"))
    with monkeypatch.context() as patch:
        patch.setattr(Toy, "published", False)
        with pytest.raises(ValueError, match="records of Toy are never published; publish what builds on them"):
            store.publish(Toy("a"))
    shutil.rmtree(folder(Toy("a")))
    noise = np.random.default_rng(0).random(200_000)
    monkeypatch.setattr(Toy, "compute", lambda self: Result(pd.DataFrame(dict(x=[1])), dict(noise=noise)))
    store.run(Toy("a"))
    with pytest.raises(ValueError, match="at most 1,000,000 are published"):
        store.publish(Toy("a"))
    monkeypatch.setattr(store, "ARRAY_LIMIT", 2_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(record, "TABLE_LIMIT", 3)
        with pytest.raises(ValueError, match=f"the table of {Toy('a').key} takes 4 bytes; at most 3 are published"):
            store.publish(Toy("a"))
    copyfile = shutil.copyfile
    monkeypatch.setattr(
        shutil, "copyfile", lambda a, b: copyfile(a, b) if "arrays" in str(a) else copyfile("/nowhere", b)
    )
    with pytest.raises(OSError):
        store.publish(Toy("a"))
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    flip("arrays.npz")(folder(Toy("a")))
    store.forget()
    with pytest.raises(ValueError, match="arrays.npz is missing or not"):
        store.publish(Toy("a"))
    assert not [f for f in shelves[1].rglob("*") if f.is_file() or f.name.startswith(".part")]


# gathering


def test_gather_has_a_column_for_the_seed_and_for_what_varies():
    experiments = [Toy("a", s, rate) for s in (0, 1) for rate in (0.1, 1.0)] + [Toy("a", 9)]
    for e in experiments[:4]:
        store.run(e)
    table = store.gather(experiments)
    # the one that is missing is left out
    assert list(table) == ["seed", "rate", "step", "value", "word"] and len(table) == 8
    assert table.seed.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and table.seed.dtype == np.int64
    assert table.rate.tolist() == [0.1, 0.1, 1.0, 1.0] * 2 and table.step.tolist() == [0, 1] * 4
    assert list(store.gather(experiments[:1])) == ["seed", "step", "value", "word"]
    assert store.gather([Toy("z")]).empty and store.gather([]).empty


def test_gather_names_nested_fields_shortly_and_joins_lists():
    experiments = [
        Child(Toy("a", s, inner=Inner(rates=rates)), layer)
        for s, rates, layer in ((0, (), "fc1"), (1, (0.5, 2), "fc2"))
    ]
    for e in experiments:
        store.run(e)
    table = store.gather(experiments)
    assert table[["seed", "rates", "layer"]].drop_duplicates().values.tolist() == [[0, "", "fc1"], [1, "0.5, 2", "fc2"]]
    assert flat(experiments[1]) == {"name": "a", "seed": 1, "rate": 0.1, "depth": 2, "rates": [0.5, 2], "layer": "fc2"}


def test_gather_refuses_columns_that_mean_two_things(monkeypatch):
    monkeypatch.setattr(Toy, "compute", lambda self: Result(pd.DataFrame(dict(seed=[1]))))
    store.run(Toy("a"))
    with pytest.raises(ValueError, match="'seed'.* are both settings and results"):
        store.gather([Toy("a")])


def test_a_setting_named_like_a_result_has_its_full_name(monkeypatch):
    monkeypatch.setattr(Toy, "compute", lambda self: Result(pd.DataFrame(dict(depth=[7]))))
    experiments = [Toy("a", inner=Inner(depth=n)) for n in (2, 3)]
    for e in experiments:
        store.run(e)
    assert store.gather(experiments)[["inner.depth", "depth"]].to_numpy().tolist() == [[2, 7], [3, 7]]


def test_fields_of_one_name_keep_their_parents_name():
    @dataclass(frozen=True)
    class Two(Experiment):
        parent: Toy
        seed: int = 0

        def compute(self):
            return Result(pd.DataFrame())

    assert flat(Two(Toy("a"), 4))["parent.seed"] == 0 and flat(Two(Toy("a"), 4))["seed"] == 4


# what is published with the book


def test_published_records_have_the_keys_of_their_experiments(monkeypatch):
    """The folder of every published record is the key that its chapter's plan gives today, and its files are sound and
    small.
    """
    monkeypatch.delenv("PRUNING_LAB_RESULTS")
    shelf = environment.published_shelf()
    found = sorted(f for f in shelf.glob("*/*") if f.is_dir())
    planned = {}
    for path in chapters.chapters() if found else ():
        for profile in ("night", "gpu", "paper"):
            for e in chapters.plan(path, profile):
                planned |= {store.folder_of(x, "published"): x for x in lineage([e])}
    for place in found:
        assert place in planned, f"{place.relative_to(shelf)} is in no chapter's plan at night, gpu or paper"
        assert store.checked(planned[place], place).meta["key"] == place.name
        assert sorted(f.name for f in place.iterdir()) == ["arrays.npz", "record.json", "table.csv.gz"]
        assert (place / "arrays.npz").stat().st_size <= 1_000_000
    assert sum(f.stat().st_size for f in shelf.rglob("*") if f.is_file()) <= 30_000_000
