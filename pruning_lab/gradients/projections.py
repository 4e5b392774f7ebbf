"""What attention reads and gives inside: the linear maps of `nn.MultiheadAttention` are no layers that could be hooked.

They are seen where PyTorch's own function calls them; nothing that is computed changes.
"""

from collections.abc import Callable
from types import FunctionType

import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

_ATTENTION = F.multi_head_attention_forward
_PLAIN = {Tensor, nn.Parameter}


class Projection:
    """Rows of a parameter, what they read, and where the gradient of what they give will arrive.

    `weight` and `bias` are a parameter's own name in the module and its first row here; `x` is [tokens, batch, inputs],
    or None for what is repeated over the batch.
    """

    def __init__(self, weight: tuple | None, bias: tuple | None, x: Tensor | None, out: Tensor, batch: int):
        self.weight, self.bias, self.batch = weight, bias, batch
        self.x = None if x is None else x.detach().reshape(-1, batch, x.shape[-1])
        self.edges = [get_gradient_edge(out) if out.requires_grad else None]
        self.sources = [] if x is None or x.grad_fn is None else [x.grad_fn]
        self.read, self.version = x, 0 if x is None else x._version
        self.bytes = ((0 if x is None else x.numel()) + 2 * out.numel()) * out.element_size()

    def untouched(self) -> bool:
        """Whether what was read is still what it was."""
        return self.read is None or self.read._version == self.version


class Projections(TorchFunctionMode):
    """Inside, `note(weight, bias, x, out, batch)` hears of each linear map that attention makes, and of each bias that
    it repeats over the batch.
    """

    def __init__(self, note: Callable[..., None]):
        super().__init__()
        self.note, self.batch = note, None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """One function of PyTorch."""
        kwargs = kwargs or {}
        if function is _ATTENTION and _PLAIN.issuperset(types):
            return self._attention(*args, **kwargs)
        out = function(*args, **kwargs)
        if self.batch is not None and function in (F.linear, Tensor.repeat):
            self._noted(function, out, *args, **kwargs)
        return out

    def _attention(self, query: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor | None]:
        before, self.batch = self.batch, query.shape[1] if query.ndim == 3 else None
        try:
            with self:
                return _opened()(query, *args, **kwargs)
        finally:
            self.batch = before

    def _noted(self, function: Callable, out: Tensor, first: Tensor, *rest, **kwargs) -> None:
        if function is F.linear:
            weight, bias = [*rest, kwargs.get("bias")][:2] if rest else (kwargs["weight"], kwargs.get("bias"))
            self.note(weight, bias, first, out, self.batch)
        elif first.shape[:-1] == (1, 1) and out.shape[:-1] == (1, self.batch):
            self.note(first, None, None, out, self.batch)


def _opened() -> FunctionType:
    """PyTorch's function, which hands itself over as a whole to whoever looks on: here it goes its own way."""
    world = {**_ATTENTION.__globals__, "has_torch_function": lambda tensors: False}
    opened = FunctionType(_ATTENTION.__code__, world, _ATTENTION.__name__, _ATTENTION.__defaults__)
    opened.__kwdefaults__ = _ATTENTION.__kwdefaults__
    return opened


def projection(
    module: nn.Module, weight: Tensor, bias: Tensor | None, x: Tensor | None, out: Tensor, batch: int
) -> Projection | None:
    """What was noted, if all that has a gradient in it is rows of the module's own parameters."""
    names = {p: name for name, p in module.named_parameters()}
    rows = [None if t is None else _rows(t, names) for t in (weight, bias)]
    if any(t is not None and t.requires_grad and own is None for t, own in zip((weight, bias), rows, strict=True)):
        return None
    return Projection(*rows, x, out, batch)


def _rows(t: Tensor, names: dict[Tensor, str]) -> tuple[str, int] | None:
    """Whose rows these are, and which is the first."""
    whole = t if t in names else t._base
    if whole is None or whole not in names or t.shape[1:] != whole.shape[1:] or t.stride() != whole.stride():
        return None
    return names[whole], (t.storage_offset() - whole.storage_offset()) // max(1, whole.stride(0))
