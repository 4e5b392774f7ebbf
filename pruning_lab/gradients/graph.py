"""Autograd's graph: which parameters the loss reaches, and through whose calls alone."""

import torch
from torch import Tensor

from .calls import Call


def passed(total: Tensor, skipped: list[Call]) -> set:
    """Nodes of autograd's graph on the way from the loss, going from some calls' outputs straight to their inputs."""
    jumps = _jumps(skipped)
    seen, stack = set(), [total.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack += jumps[node] if node in jumps else [following for following, _ in node.next_functions]
    return seen


def leaves(nodes: set) -> set[Tensor]:
    """Tensors that wait for a gradient at some nodes."""
    return {node.variable for node in nodes if hasattr(node, "variable")}


def reached(total: Tensor, skipped: list[Call]) -> set[Tensor]:
    """Leaves that autograd's graph reaches from the loss going from some calls' outputs straight to their inputs."""
    return leaves(passed(total, skipped))


def _jumps(calls: list[Call]) -> dict:
    jumps = {edge.node: call.sources for call in calls for edge in call.edges if edge is not None}
    # a call that hands on its input is no step
    return {node: sources for node, sources in jumps.items() if node not in sources}


class Readers:
    """The graph the other way round: which nodes read what a node gives."""

    def __init__(self, total: Tensor):
        self.readers: dict = {total.grad_fn: []}
        self.leaves: dict[Tensor, torch.autograd.graph.Node] = {}
        stack = [total.grad_fn]
        while stack:
            node = stack.pop()
            if hasattr(node, "variable"):
                self.leaves[node.variable] = node
            for following, _ in node.next_functions:
                if following is not None:
                    if following not in self.readers:
                        self.readers[following] = []
                        stack.append(following)
                    self.readers[following].append(node)

    def all_inside(self, p: Tensor, calls: list[Call]) -> bool:
        """Whether the loss depends on a parameter through these calls alone."""
        jumps = _jumps(calls)
        outside = {source for call in calls for source in call.sources}
        seen, stack = set(), [self.leaves[p]]
        while stack:
            node = stack.pop()
            if node in seen or node in jumps:
                continue
            seen.add(node)
            if node in outside or not self.readers[node]:  # what the calls read depends on it, or it is the loss
                return False
            stack += self.readers[node]
        return True
