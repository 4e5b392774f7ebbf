"""Accuracy without some units of a group, where what runs before anything reads them is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..nets.surgery import copied
from ..samples import wide
from ..units.coupled import Group
from ..units.coupled.cuts import zero
from .parts import weighted
from .quiet import BATCH, like, quiet

BYTES = 2**29  # of outputs that are kept; what is beyond is computed each time


class Prefix:
    """What the layers of a net give for the first `limit` images of a split, kept by layer and batch.

    A net runs in an order, and what ends before a module starts cannot depend on that module's weights. So a copy in
    which some layers' columns are zero needs no layer that ends before the first of them.
    """

    def __init__(self, model: nn.Module, split, limit: int) -> None:
        target = like(model)
        self.model, self.labels = model, split.labels[:limit].to(target.device)
        self.batches = [x.to(target) for x in split.images[:limit].split(BATCH)]
        self.starts: dict[str, int] = {}  # module -> when its first call starts
        self.ends: dict[str, int] = {}  # module -> when its last call ends
        self.kept: dict[str, list[Tensor]] = {}
        self._run()

    def accuracy(self, group: Group, removed: Sequence[int]) -> float:
        """In [0, 1], nothing reading these units; as `coupled.group_curve` has it."""
        cuts, hits = [cut for cut in group.cuts if cut.reads], 0
        zero(made := copied(self.model), cuts, list(removed))
        before = self._before({cut.module for cut in cuts})
        with quiet(made):
            for number, x in enumerate(self.batches):
                with _given(made, {name: self.kept[name][number] for name in before}):
                    hits += int((wide(made(x)).argmax(1) == self.labels[number * BATCH :][: len(x)]).sum())
        return hits / len(self.labels)

    def _before(self, readers: set[str]) -> list[str]:
        """The layers whose outputs are kept and that end before the first of these starts."""
        if not readers or not readers <= self.starts.keys():
            return []  # called past its module, so that nobody saw when
        first = min(self.starts[name] for name in readers)
        return [name for name in self.kept if self.ends[name] < first]

    def _run(self) -> None:
        """One pass over all images; a layer that is called more than once is not kept."""
        clock, calls, layers = [0], dict.fromkeys(weighted(self.model), 0), weighted(self.model)
        room = [BYTES]

        def started(name: str) -> Callable:
            def hook(*_: object) -> None:
                self.starts.setdefault(name, len(clock))
                clock.append(0)

            return hook

        def ended(name: str) -> Callable:
            def hook(_: nn.Module, __: object, output: object) -> None:
                self.ends[name] = len(clock)
                clock.append(0)
                if name in layers and isinstance(output, Tensor):
                    calls[name] += 1
                    room[0] -= output.numel() * output.element_size()
                    if room[0] > 0:
                        self.kept.setdefault(name, []).append(output.detach().clone())

            return hook

        named = list(self.model.named_modules())
        handles = [m.register_forward_pre_hook(started(n)) for n, m in named]
        handles += [m.register_forward_hook(ended(n)) for n, m in named]
        try:
            with quiet(self.model):
                for number, x in enumerate(self.batches):
                    self.model(x)
                    if not number:
                        self.first = dict(self.ends)
        finally:
            for handle in handles:
                handle.remove()
        self.ends = self.first  # of the first batch, as the starts are
        whole = len(self.batches)
        self.kept = {n: k for n, k in self.kept.items() if calls[n] == len(k) == whole}


@contextmanager
def _given(made: nn.Module, outputs: dict[str, Tensor]) -> Iterator[None]:
    """These layers of a copy give what is known of them, each time anew: an activation in place may write into it."""
    layers = {name: made.get_submodule(name) for name in outputs}
    for name, layer in layers.items():
        layer.forward = lambda *_, output=outputs[name], **__: output.clone()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers.values():
            del layer.forward
