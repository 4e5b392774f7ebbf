"""A sweep on a real Dask cluster of two worker processes on this machine: workers die, differ, lack a GPU; it is
stopped.
"""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import distributed
import pandas as pd
import pytest
import torch

from pruning_lab import Recipe, Train, UnitCurve, environment, replace
from pruning_lab.__main__ import main
from pruning_lab.records import store
from pruning_lab.records.store import Experiment, Result
from pruning_lab.running import cluster, sweeps
from pruning_lab.running.budget import Budget
from pruning_lab.running.cluster import ClusterError

ROOT = Path(__file__).resolve().parents[1]
SMALL = Train("digits", "lenet_300_100", Recipe(lr=0.1, batch=32, iterations=5), width=8, limit=64)
LARGE = Train("digits", "conv_2", Recipe(lr=0.1, batch=1000, iterations=5), image_size=16)

# A disk that takes a second for a folder says nothing about a sweep.
pytestmark = pytest.mark.filterwarnings("ignore:Creating scratch directories is taking a surprisingly long time")


@dataclass(frozen=True)
class Net(Experiment):
    """Takes its time, and says in a file who began and who ended it."""

    has_weights: ClassVar[bool] = True
    name: str
    seconds: float = 0.0
    error: bool = False
    after: str = ""  # it waits until this has begun

    def compute(self):
        note("begin", self.name)
        time.sleep(self.seconds)
        until(lambda: self.after in ("", *(name for _, name in noted())))
        if self.error:
            raise FloatingPointError("loss is not finite")
        note("end", self.name)
        return Result(pd.DataFrame(dict(threads=[torch.get_num_threads()])), weights=dict(w=torch.ones(1)))


@dataclass(frozen=True)
class Curve(Experiment):
    parent: Net
    name: str = "curve"

    def compute(self):
        note("begin", f"{self.name} of {self.parent.name}")
        store.run(self.parent, weights=True)
        return Result(pd.DataFrame(dict(x=[1])))


def note(*words):
    with open(os.environ["CLUSTER_LOG"], "a") as log:
        print(os.getpid(), *words, file=log, flush=True)


def noted(word="begin"):
    """(process, name) of what has begun, or ended, in order."""
    file = Path(os.environ["CLUSTER_LOG"])
    lines = [line.split(" ", 2) for line in file.read_text().splitlines()] if file.exists() else []
    return [(int(pid), name) for pid, what, name in lines if what == word]


def until(condition, seconds=900):  # a machine may be busy with other things
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def local(workers=2, **how):
    fixed = dict(threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", protocol="tcp://")
    return distributed.LocalCluster(n_workers=workers, **fixed, **how)


@pytest.fixture(scope="module")
def running():
    """Two worker processes and a client, for all tests of this file that leave them alive."""
    with local() as both, distributed.Client(both, set_as_default=False) as client:
        yield client


@pytest.fixture(autouse=True)
def shelves(store_folder, tmp_path, monkeypatch):
    """Two empty shelves and a log."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CLUSTER_LOG", str(tmp_path / "log"))
    for name in ("CLUSTER", "PLUGINS"):
        monkeypatch.delenv(f"PRUNING_LAB_{name}", raising=False)
    store.forget()
    return store_folder


@pytest.fixture
def client(running, shelves):
    """The client, and workers that have this test's settings."""
    tell(running)
    return running


def tell(client, **more):
    """Give the workers the settings of this process, and some of their own."""
    names = ("PRUNING_LAB_STORE", "PRUNING_LAB_RESULTS", "CLUSTER_LOG")
    client.run(settings, {name: os.environ[name] for name in names} | more)


def settings(values):
    """Of a worker: `os.environ.update` itself would be sent with a copy of the environment here."""
    os.environ.update(values)


def addresses(client):
    """Of the workers, asked of the scheduler itself: what the client remembers may lack them."""
    return list(client.sync(client.scheduler.identity, n_workers=-1)["workers"])


def clients(dask_scheduler):
    """Names of who is connected."""
    return list(dask_scheduler.clients)


async def own(dask_worker, **amounts):
    """Declare what a worker has."""
    await dask_worker.set_resources(**amounts)


def stored(experiments):
    """That each has one whole record with its weights and that nothing else lies beside it."""
    store.forget()
    return all(store.find(e, weights=e.has_weights) for e in experiments) and {e.key for e in experiments} == {
        f.name for kind in ("Net", "Curve") for f in (environment.local_shelf() / kind).glob("*")
    }


# computing


def test_workers_compute_parents_before_children_and_each_once(client, capsys, shelves):
    plan = [Curve(Net(n), f"c{k}") for n in "abc" for k in range(2)]
    workers = addresses(client)
    # as without a nanny
    client.gather([client.submit(torch.set_num_threads, 2, workers=[w], pure=False) for w in workers])
    sweeps.sweep(plan, client)
    assert stored([*plan, *map(Net, "abc")]) and max(Counter(name for _, name in noted()).values()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[-1].startswith("9/9 ") and lines[-1].endswith("about 0 s left")
    assert set(store.find(Net("a")).table.threads) == {1} and os.getpid() not in {pid for pid, _ in noted()}
    assert not list((shelves / "locks").glob("sweep-*"))  # the token is gone
    sweeps.sweep(plan, client)
    assert capsys.readouterr().out == "all 6 records are stored\n"


def test_a_child_does_not_wait_for_other_parents(client):
    slow, quick = Net("slow", after="curve of quick"), Net("quick")
    sweeps.sweep([Curve(slow), Curve(quick)], client)
    assert [name for _, name in noted()].index("curve of quick") < 3 and noted("end")[-1][1] == "slow"


def test_a_worker_that_is_killed_costs_only_what_it_was_at(monkeypatch):
    nets = [Net(f"n{k}", 0.5) for k in range(6)]
    plan = [*nets, *map(Curve, nets)]
    lost = []

    def at_work():
        done = {name for _, name in noted("end")}
        return [(pid, name) for pid, name in noted() if name not in done and "curve" not in name]

    def stopped():  # a worker that stands still in the middle of a net, if there is one
        for pid, name in at_work():
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            if (pid, name) in at_work():
                return [(pid, name)]
            os.kill(pid, signal.SIGCONT)  # it had just ended
        return []

    def kill():
        until(lambda: noted("end"))
        until(lambda: lost.extend(stopped()) or lost)
        os.kill(lost[0][0], signal.SIGKILL)

    with local() as both, distributed.Client(both, set_as_default=False) as client:
        killer = threading.Thread(target=kill)
        killer.start()
        sweeps.sweep(plan, client)
        killer.join()
    assert stored(plan) and not list(environment.local_shelf().rglob(".part-*"))
    begun = Counter(name for _, name in noted())
    flying = {name for pid, name in noted() if pid == lost[0][0]} - {
        name for pid, name in noted("end") if pid == lost[0][0]
    }
    assert lost[0][1] in flying and begun[lost[0][1]] == 2  # it was at work on it, and another did it again
    assert len(begun) == 12 and all(count == 1 for name, count in begun.items() if name not in flying)


def test_a_failure_is_named_and_its_children_are_left_out(client, capsys):
    bad = Net("bad", error=True)
    with pytest.raises(
        sweeps.SweepError, match="^2 of 4 failed, 2 are stored; the first: loss is not finite$"
    ) as caught:
        sweeps.sweep([Curve(bad), Curve(Net("good"))], client)
    assert isinstance(caught.value.__cause__, FloatingPointError) and stored([Net("good"), Curve(Net("good"))])
    assert f"failed: Net {bad.key}: FloatingPointError: loss is not finite" in capsys.readouterr().out
    assert "curve of bad" not in {name for _, name in noted()}


def test_workers_make_again_what_other_code_made(client):
    net = Net("old")
    store.run(net, weights=True)
    file = store.folder_of(net) / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(code=dict(Net="000000000000"))))
    store.forget()
    sweeps.sweep([Curve(net, "first")], client)
    assert [name for _, name in noted()] == ["old", "old", "first of old"]


def test_the_environment_names_the_cluster_and_the_connection_ends(client, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_CLUSTER", client.scheduler.address)
    sweeps.sweep([Net("a")])
    assert noted() != [] and os.getpid() not in {pid for pid, _ in noted()}
    # this test's own, and one that the scheduler has for itself
    until(lambda: len(client.run_on_scheduler(clients)) == 2)
    with sweeps.pool(1) as executor:  # what is given goes before
        sweeps.sweep([Net("b")], executor)
    assert noted()[-1][0] not in client.run(os.getpid).values()


def chapter(folder, source):
    cells = [("parameters", 'profile = "laptop"\n'), ("plan", f"from test_cluster import *\nexperiments = {source}\n")]
    path = folder / "07_toy.ipynb"
    found = [dict(cell_type="code", metadata=dict(tags=[tag]), source=text.splitlines(True)) for tag, text in cells]
    path.write_text(json.dumps(dict(cells=found, metadata={}, nbformat=4, nbformat_minor=5)))
    return path


def test_ctrl_c_says_what_is_stored_and_the_same_command_goes_on(client, tmp_path, monkeypatch):
    path = chapter(tmp_path, "[Net('first'), *(Net(f'n{k}', 1.0) for k in range(8))]")
    more = dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
    words = [sys.executable, "-m", "pruning_lab", "sweep", str(path), "--cluster", client.scheduler.address]
    process = subprocess.Popen(words, env=os.environ | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("1/9 ")
    until(lambda: len(noted("end")) >= 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 130 and "Traceback" not in err
    assert "of 9 are stored; the same command goes on from there" in out.splitlines()[-1]
    until(lambda: len(noted()) == len(noted("end")))  # what workers were at is stored too
    assert len(noted("end")) < 9
    monkeypatch.setenv("PRUNING_LAB_CLUSTER", "")  # set by the command, and put back after the test
    assert main(words[3:]) == 0
    assert max(Counter(name for _, name in noted()).values()) == 1 and len(noted("end")) == 9


def test_a_budget_ends_a_sweep_on_a_cluster_and_takes_back_what_can_be(client, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "LOOK", 0.1)
    nets = [Net(f"n{k}") for k in range(3)]

    class Short(Budget):
        def left(self):
            return 0.0 if {"slow"} & {name for _, name in noted()} and stored(nets) else super().left()

    assert cluster.Cluster(client, "").slots == 2
    sweeps.sweep([*nets, Net("slow", after="later")], client, Short(1e6))
    out = capsys.readouterr().out
    assert "3 of 4 are stored after " in out and f"stopped on its way: Net {Net('slow', after='later').key}" in out
    note("begin", "later")  # lets the worker end what it is at
    until(lambda: "slow" in {name for _, name in noted("end")})


class Pressed:
    """Someone presses Ctrl-C in the middle of every call of a client and of its futures."""

    def __init__(self):
        self.finished = []

    def call(self, name, value):
        signal.raise_signal(signal.SIGINT)
        self.finished.append(name)
        return value

    scheduler = SimpleNamespace(identity=None)

    def sync(self, ask, n_workers):
        return self.call("info", dict(workers={}))

    def submit(self, *args, **options):
        return self.call("submit", self)

    def result(self):
        return self.call("result", 1.0)

    def cancel(self):
        self.call("cancel", None)


def test_ctrl_c_waits_until_the_client_is_done(monkeypatch, capsys):
    client = Pressed()
    served = cluster.Cluster(client, "")
    served.running[Net("a")] = client
    with pytest.raises(KeyboardInterrupt):
        served.offered()
    with pytest.raises(KeyboardInterrupt):
        served.result(Net("a"))
    monkeypatch.setattr(served, "offered", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        served.submit(Net("a"))
    assert client.finished == ["info", "result", "submit"]
    served.running[Net("a")] = client
    with pytest.raises(KeyboardInterrupt):
        served.stop()
    assert client.finished[-1] == "cancel" and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_sweep_in_another_thread_leaves_ctrl_c_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def elsewhere():
        with cluster.uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_scheduler_that_goes_away_stops_the_sweep(capfd):
    with local(1, processes=False) as one, distributed.Client(one, set_as_default=False) as client:
        client._timeout = 1  # seconds that it tries to find the scheduler again
        thread = threading.Thread(target=lambda: (until(noted), one.close()))
        thread.start()
        with pytest.raises(sweeps.SweepError, match=r"the executor gave up what it was given \(.*\); 0 are stored"):
            sweeps.sweep([Net("a", 3.0), Net("b")], client)
        thread.join()
        until(lambda: client.status == "closed")
        served = cluster.Cluster(client, "")
        served.seen = [dict(resources=dict(GPU=1.0))]
        assert (served.slots, served.offered()) == (1, 1.0)  # what it said last
    assert "stopped: 0 of 2 are stored; the same command goes on from there" in capfd.readouterr().out


# connecting


def test_no_scheduler_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    monkeypatch.setenv("PRUNING_LAB_CLUSTER", "")  # set by the command, and put back after the test
    path = chapter(tmp_path, "[Net('a')]")
    for address in ("tcp://127.0.0.1:1", "nowhere://x"):
        assert main(["sweep", str(path), "--cluster", address]) == 2
        err = capsys.readouterr().err
        assert f"pruning_lab: no Dask scheduler answers at {address} (" in err and "dask scheduler" in err
    with pytest.raises(SystemExit):
        main(["sweep", str(path), "--cluster", "tcp://127.0.0.1:1", "--workers", "2"])
    gc.collect()  # clients that never connected close here, not in the middle of another test


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r'pip install "\.\[cluster\]"'):
        cluster.connect("tcp://127.0.0.1:1")


def test_nothing_of_dask_is_imported_without_need():
    code = (
        "import sys; from pruning_lab.running import cluster; "
        "print(cluster.is_client(None), {'dask', 'distributed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False set()\n"


# workers that do not fit


def here(e, **change):
    """What a client says of itself to a worker."""
    return dict(token="sweep-0", plugins=[], key=e.key, code=e.code()) | change


@pytest.mark.parametrize(
    "change, threads, says",
    [
        ({}, 4, "has 4 threads, .* --nthreads 1 --nworkers 4"),
        (dict(plugins=["mine", "os"]), 1, "does not load mine: start it with PRUNING_LAB_PLUGINS=mine,os"),
        (dict(code={"training.fit": "0"}), 1, r"has other code than this sweep \(training.fit\)"),
        (dict(key="net-0"), 1, "knows Net net-0 as record-"),
        ({}, 1, "has another store: PRUNING_LAB_STORE must name one folder"),
    ],
    ids=["threads", "plugins", "code", "key", "store"],
)
def test_a_worker_that_would_go_wrong_unseen_refuses(shelves, monkeypatch, change, threads, says):
    monkeypatch.setenv("PRUNING_LAB_PLUGINS", "os")
    if says.startswith("has another"):
        assert cluster._unfit(Net("a"), here(Net("a"), **change), threads).startswith(says)
    (shelves / "locks").mkdir(parents=True)
    (shelves / "locks" / "sweep-0").touch()
    assert cluster._unfit(Net("a"), here(Net("a")), 1) is None
    if not says.startswith("has another"):
        assert re.match(says, cluster._unfit(Net("a"), here(Net("a"), **change), threads))


def test_workers_with_another_store_stop_the_sweep_before_they_compute(client, tmp_path, capsys):
    tell(client, PRUNING_LAB_STORE=str(tmp_path / "elsewhere"))
    with pytest.raises(ClusterError, match="worker tcp://.* has another store: PRUNING_LAB_STORE must name one folder"):
        sweeps.sweep([Net(n) for n in "abc"], client)
    assert noted() == [] and "stopped: 0 of 3 are stored" in capsys.readouterr().out


def test_a_record_that_does_not_come_is_an_error(monkeypatch, shelves):
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    monkeypatch.setattr(cluster, "LOOK", 0.02)
    e = Net("a")
    with pytest.raises(
        ClusterError, match=f"a worker computed Net {e.key}, but its record is not here: PRUNING_LAB_STORE"
    ):
        cluster.Cluster(None, "").confirm(e)
    monkeypatch.setattr(cluster, "PATIENCE", 60)
    late = threading.Timer(0.1, store.run, (e, True))  # as a folder that is on another machine may be
    late.start()
    cluster.Cluster(None, "").confirm(e)
    late.join()
    assert store.find(e, weights=True)


# GPUs


def test_what_is_small_is_a_matter_of_its_training_steps():
    assert cluster.step_work(SMALL.training()) == 3 * 32 * (64 * 8 + 8 * 3 + 3 * 10)
    assert cluster.is_small(SMALL) and cluster.is_small(UnitCurve(SMALL, "fc1")) and cluster.is_small(Net("a"))
    assert not cluster.is_small(LARGE) and not cluster.is_small(UnitCurve(LARGE, "conv1"))
    assert not cluster.is_small(replace(SMALL, start=LARGE)) and cluster.SMALL == 1e10
    assert [cluster.gpus(SMALL, n) for n in (0, 0.1, 1, 8)] == [0, 0.1, 0.25, 0.25]
    assert [cluster.gpus(LARGE, n) for n in (0, 0.1, 1, 8)] == [0, 0.1, 1, 1]


def test_gpus_are_asked_for_only_where_a_worker_has_some(client, monkeypatch):
    asked, submit = [], client.submit

    def listen(*args, resources, pure, **more):
        asked.append(resources)
        assert pure is False
        return submit(*args, resources=resources, pure=pure, **more)

    monkeypatch.setattr(client, "submit", listen)
    monkeypatch.setattr(cluster, "is_small", lambda e: "small" in e.name)
    first = addresses(client)[0]
    try:
        for k, amount in enumerate((0, 1, 0.5)):
            client.run(own, GPU=amount, workers=[first])
            sweeps.sweep([Net(f"small{k}"), Net(f"large{k}")], client)
            assert asked == [[None, None], [{"GPU": 0.25}, {"GPU": 1}], [{"GPU": 0.25}, {"GPU": 0.5}]][k]
            asked.clear()
    finally:
        client.run(own, GPU=0)
    assert len(noted("end")) == 6


def test_workers_are_seen_though_the_client_s_timer_forgets_them(client, monkeypatch):
    update = client._update_scheduler_info

    async def with_the_timer_in_between(n_workers=0):
        await update(n_workers=n_workers)
        await update()  # what the timer asks for

    monkeypatch.setattr(client, "_update_scheduler_info", with_the_timer_in_between)
    assert not client.scheduler_info(n_workers=-1)["workers"]  # it is what happens now and then
    served = cluster.Cluster(client, "")
    assert (served.slots, served.offered()) == (2, 0.0)


def test_a_gpu_that_goes_away_is_not_waited_for(client, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    monkeypatch.setattr(cluster, "LOOK", 0.1)
    client.run(own, GPU=1)
    go = threading.Timer(1.0, lambda: client.run(own, GPU=0))
    monkeypatch.setattr(
        cluster.Cluster, "offered", lambda self, was=cluster.Cluster.offered: was(self) if go.finished.is_set() else 8.0
    )
    monkeypatch.setattr(cluster, "gpus", lambda e, offered: offered)  # eight: nobody has so many
    go.start()
    sweeps.sweep([Net("a")], client)
    assert [name for _, name in noted("end")] == ["a"]


def test_a_cluster_without_workers_says_so_and_waits(monkeypatch, capsys):
    monkeypatch.setattr(cluster, "LOOK", 0.1)
    with local(0, processes=False) as none, distributed.Client(none, set_as_default=False) as client:
        later = threading.Timer(1.0, none.scale, (1,))
        later.start()
        sweeps.sweep([Net("a")], client)
        later.join()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the cluster has no worker") and len(lines) == 2 and stored([Net("a")])


# Slurm


def test_the_page_s_job_script_starts_one_worker_of_one_thread_on_one_gpu(capsys):
    """The cell of the book, as it stands there; no Slurm is needed to write the script."""
    cells = json.loads((ROOT / "book" / "bigger_machines.ipynb").read_text(encoding="utf-8"))["cells"]
    [source] = [
        text for cell in cells if cell["cell_type"] == "code" and "SLURMCluster(" in (text := "".join(cell["source"]))
    ]
    exec(compile(source, "cell", "exec"), {})
    first, *lines = [line for line in capsys.readouterr().out.splitlines() if line]
    *settings, worker = lines
    assert first == "#!/usr/bin/env bash" and not [
        word for word in " ".join(lines).replace("=", " ").split() if word.startswith("/")
    ]
    assert {"#SBATCH -p gpu", "#SBATCH -t 04:00:00", "#SBATCH --cpus-per-task=1", "#SBATCH --gres=gpu:1"} <= set(
        settings
    )
    assert "export PRUNING_LAB_STORE=$SCRATCH/pruning_lab/store" in settings
    assert worker.startswith("python -m distributed.cli.dask_worker tcp://SCHEDULER:8786 ")
    assert " --nthreads 1 " in worker and worker.endswith(" --resources GPU=1") and "--nworkers" not in worker
