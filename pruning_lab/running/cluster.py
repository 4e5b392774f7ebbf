"""Experiments on a Dask cluster: one a worker process, a GPU or a share of it where workers say that they have one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .. import environment
from ..nets import models
from ..records import source
from ..records.experiment import Experiment, Training, named, trainings
from ..records.store import find
from .workers import Here, task, uninterrupted

if TYPE_CHECKING:
    from distributed import Client

# multiply-adds of a training step below which a large GPU mostly waits for the host: in float32, about a millisecond
SMALL = 1e10
SHARE = 0.25  # of a GPU, for a small net
PATIENCE = 60.0  # seconds that a resource may be away (a worker that restarts) and that a shared folder may be late
ANSWER = 10.0  # seconds that a scheduler has to answer
LOOK = 5.0  # seconds between looks at the cluster while nothing finishes


class ClusterError(RuntimeError):
    """The cluster cannot do this sweep: no scheduler, or a worker with other code, another store or several threads."""


def connect(address: str) -> Client:
    """A client of the Dask scheduler at an address such as `tcp://host:8786`; the caller closes it.

    Raises:
        ClusterError: the package `distributed` is not installed, or no scheduler answers within `ANSWER` seconds.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError('a cluster needs the package distributed: pip install ".[cluster]" in its folder') from error
    try:
        return Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        why = f"no Dask scheduler answers at {address} ({type(error).__name__})"
        raise ClusterError(f"{why}: start one with `dask scheduler` and take the address that it prints") from error


def is_client(executor: Any) -> bool:
    """Whether an executor is a Dask client; nothing is imported to find out."""
    return type(executor).__module__.split(".")[0] == "distributed"


def step_work(training: Training) -> float:
    """Multiply-adds of one training step: three passes over a batch."""
    net = training.net
    first = net.split("test", 1)
    shape = tuple(first.images.shape[1:])
    model = models.build(net.model, shape, len(first.classes), net.width, **dict(net.options))
    return 3.0 * training.recipe.batch * models.multiplications(model, shape)


def is_small(e: Experiment) -> bool:
    """Whether it may share a GPU: a step of every net that it is made of takes fewer than `SMALL` multiply-adds."""
    return all(step_work(t) < SMALL for t in trainings(e))


def gpus(e: Experiment, offered: float) -> float:
    """GPUs to ask for where the best worker has so many: 1, or `SHARE` for what is small; at most what it has."""
    return min(SHARE if is_small(e) else 1.0, offered) if offered else 0.0


class Cluster(Here):
    """Where the workers of a Dask client compute; made by `serving`."""

    def __init__(self, client: Client, token: str, call: Callable[[Experiment], float] = task) -> None:
        super().__init__(call)
        self.client, self.token = client, token
        self.asked: dict[Experiment, float] = {}  # GPUs
        self.seen: list[dict[str, Any]] = []  # what the scheduler said of workers
        self.lacking_since: float | None = None
        self.told = False

    def workers(self) -> list[dict[str, Any]]:
        """What the scheduler says of each worker now, or said last where it has gone: futures tell of that.

        It is asked itself: `Client.scheduler_info` answers from a memory that a timer of the client overwrites with an
        answer that leaves the workers out, now and then just before it is read.
        """
        with uninterrupted():
            if (scheduler := self.client.scheduler) is not None:
                with suppress(OSError):
                    self.seen = list(self.client.sync(scheduler.identity, n_workers=-1)["workers"].values())
        return self.seen

    def offered(self) -> float | None:
        """GPUs of the worker that has most; None while there is no worker."""
        return max((w["resources"].get("GPU", 0.0) for w in self.workers()), default=None)

    @property
    def slots(self) -> int:
        """Runs at a time: one a worker, as many as there are now."""
        return max(1, len(self.workers()))

    def start(self, e: Experiment) -> Any:
        """Compute it on a worker that has the GPUs it needs, if any worker has some; a Dask future."""
        self.asked[e] = gpus(e, self.offered() or 0.0)
        here = dict(token=self.token, plugins=environment.plugins(), key=e.key, code=e.code())
        resources = {"GPU": self.asked[e]} if self.asked[e] else None
        with uninterrupted():
            return self.client.submit(_there, e, here, pure=False, resources=resources)

    def look(self) -> None:
        """Submit again what asks for GPUs that no worker has had for `PATIENCE` seconds."""
        offered = self.offered()
        if offered is None and not self.told:
            print("the cluster has no worker; start some: dask worker ADDRESS --nthreads 1", flush=True)
            self.told = True
        lacking = [e for e in self.running if offered is not None and self.asked[e] > offered]
        since, self.lacking_since = self.lacking_since, (self.lacking_since or time.monotonic()) if lacking else None
        for e in lacking if since is not None and time.monotonic() - since >= PATIENCE else ():
            self.running[e].cancel()
            self.submit(e)

    def result(self, e: Experiment) -> float:
        """The seconds that it took, once its record is here; raises what it raised, and ClusterError."""
        if e.alone:
            return super().result(e)
        with uninterrupted():
            seconds = super().result(e)
        self.confirm(e)
        return seconds

    def confirm(self, e: Experiment) -> None:
        """See that the record a worker stored is here. ClusterError: it is not, though there was time to show it."""
        end = time.monotonic() + PATIENCE
        while find(e, e.has_weights) is None:
            if time.monotonic() > end:
                raise ClusterError(f"a worker computed {named(e)}, but its record is not here: {SHARED}")
            time.sleep(LOOK)


SAME = "install the same version on all machines and start it again"
SHARED = "PRUNING_LAB_STORE must name one folder that every machine sees, wherever it is mounted"


@contextmanager
def serving(client: Client, call: Callable[[Experiment], float]) -> Iterator[Cluster]:
    """Where a client's workers compute, and, as long as it lasts, a file by which they know the store for theirs."""
    token = f"sweep-{uuid.uuid4().hex}"
    file = environment.local_shelf() / "locks" / token
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    try:
        yield Cluster(client, token, call)
    finally:
        file.unlink(missing_ok=True)


def _there(e: Experiment, client: dict[str, Any]) -> float:
    """What a worker runs: refuse what would go wrong unseen, then compute."""
    from distributed import get_worker

    if said := _unfit(e, client, get_worker().state.nthreads):
        raise ClusterError(f"worker {get_worker().address} {said}")
    return task(e)


def _unfit(e: Experiment, client: dict[str, Any], threads: int) -> str | None:
    """Why this worker must not compute an experiment of that client; None if it may."""
    if threads > 1:
        how = f"start it with --nthreads 1 --nworkers {threads}"
        return f"has {threads} threads, which would draw from one generator: {how}"
    if lacking := set(client["plugins"]) - set(environment.plugins()):
        how = f"start it with PRUNING_LAB_PLUGINS={','.join(client['plugins'])}"
        return f"does not load {', '.join(sorted(lacking))}: {how}"
    if e.code() != client["code"]:
        other = source.differing(client["code"], e.code())
        return f"has other code than this sweep ({other}): {SAME}"
    if e.key != client["key"]:
        return f"knows {type(e).__name__} {client['key']} as {e.key}: {SAME}"
    if not (environment.local_shelf() / "locks" / client["token"]).is_file():
        return f"has another store: {SHARED}"
    return None
