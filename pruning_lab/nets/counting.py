"""Multiply-adds of a net for one image, counted while it runs on tensors that have sizes alone."""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from .given import check_whole, shown
from .layers import check_copy, check_model

_ATEN = torch.ops.aten


def multiplications(model: nn.Module, in_shape: Sequence[int]) -> int:
    """Multiply-adds of one image of `in_shape` (C, H, W) in convolutions and matrix products, in evaluation mode.

    These are the products of linear, convolutional, recurrent and attention layers and of a forward of one's own
    (`F.linear`, `matmul`, `einsum`, ...), each as often as it is carried out. Left out, as in all published numbers:
    norms, activations, numbers multiplied one by one, how a parametrised weight is made, and what a call of
    `F.scaled_dot_product_attention` multiplies (of `nn.MultiheadAttention` it is counted).

    The net runs on the meta device; where its code needs numbers, a copy runs on an image of zeros.
    ValueError: a model that is scripted, or that torch's pruning holds, or that does not run on such an image.
    """
    check_model(model, values=False)
    check_copy(model)
    _check_shape(in_shape)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    try:
        return _counted(on_meta(model).eval(), torch.empty(1, *in_shape, device="meta", dtype=dtype))
    except Exception as first:  # whatever a model's own code makes of tensors without numbers
        return _with_numbers(model, in_shape, dtype, first)


def on_meta(model: nn.Module) -> nn.Module:
    """A copy whose tensors have sizes alone: none of the model's numbers is copied."""

    def empty(tensor: Tensor) -> Tensor:
        made = torch.empty_like(tensor, device="meta", requires_grad=False)
        return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made

    held = [t for t in _held(model) if t.layout == torch.strided]
    return copy.deepcopy(model, {id(t): empty(t) for t in held})


def _held(model: nn.Module) -> list[Tensor]:
    """The tensors in a model's modules: parameters, buffers and plain attributes."""
    held = [t for m in model.modules() for t in (*m._parameters.values(), *m._buffers.values(), *vars(m).values())]
    return [t for t in held if isinstance(t, Tensor)]


def _check_shape(in_shape: Sequence[int]) -> None:
    if not isinstance(in_shape, Sequence) or isinstance(in_shape, str) or not in_shape:
        raise ValueError(f"in_shape={shown(in_shape)}: expected the sizes of one image, as (channels, height, width)")
    for k, size in enumerate(in_shape):
        check_whole(f"in_shape[{k}]", size)


def _with_numbers(model: nn.Module, in_shape: Sequence[int], dtype: torch.dtype, first: Exception) -> int:
    """The same of a copy on the model's own device; ValueError where that does not run either."""
    device = next((t.device for t in _held(model)), torch.device("cpu"))
    shared: dict[int, Any] = {id(t): t for t in _held(model) if t.layout != torch.strided}  # which torch does not copy
    try:
        if device.type == "meta":
            raise first
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return _counted(copy.deepcopy(model, shared).eval(), torch.zeros(1, *in_shape, device=device, dtype=dtype))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"the model does not run on one image of shape {list(in_shape)} ({shown(str(error))}): expected the "
            "(channels, height, width) that it reads, and a model that can be copied"
        ) from error


def _counted(model: nn.Module, image: Tensor) -> int:
    """The multiply-adds of one pass; the model is a copy."""
    with ExitStack() as during, torch.no_grad(), torch.device(image.device):
        during.enter_context(parametrize.cached())  # made once, before anything is counted
        for module in model.modules():
            for name in module.parametrizations if parametrize.is_parametrized(module) else ():
                getattr(module, name)
            _make_once(module)
        during.enter_context(sdpa_kernel(SDPBackend.MATH))  # matrix products, which are counted
        counter = during.enter_context(FlopCounterMode(display=False, custom_mapping=_FORMULAS))
        fused = during.enter_context(_Fused(counter))
        model(image)
        return (counter.get_total_flops() - fused.flops) // 2


def _make_once(module: nn.Module) -> None:
    """Fix what `nn.utils.spectral_norm` makes of a weight in every call, in a module that is a copy."""
    for key, hook in tuple(module._forward_pre_hooks.items()):
        if isinstance(hook, SpectralNorm):
            made = hook.compute_weight(module, do_power_iteration=False)
            del module._forward_pre_hooks[key]
            setattr(module, hook.name, made)


class _Fused(TorchFunctionMode):
    """Counts what calls of `F.scaled_dot_product_attention` multiply; not inside `nn.MultiheadAttention`, whose own
    function is one call here.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counter, self.flops = counter, 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        before = self.counter.get_total_flops()
        out = func(*args, **(kwargs or {}))
        self.flops += self.counter.get_total_flops() - before
        return out


def _raw(formula: Callable[..., int]) -> Callable[..., int]:
    """Given the tensors themselves, not their shapes."""
    formula._get_raw = True
    return formula


def _of_matrices(left: Tensor, right: Tensor) -> int:
    """Twice the multiply-adds of a product of a matrix, stored whole or in compressed rows, with a matrix or vector."""
    stored = left.numel() if left.layout == torch.strided else left._nnz()
    return 2 * stored * right.shape[1:].numel()


def _of_bilinear(first: torch.Size, weight: torch.Size, out: torch.Size) -> int:
    """Twice the multiply-adds of `nn.Bilinear`: of its weight [outputs, a, b] with one input, then with the other."""
    return 2 * (first[:-1].numel() * weight.numel() + out.numel() * weight[1])


_FORMULAS = {  # beside those of torch, where these have none, or none of compressed rows
    _ATEN.mm: _raw(lambda left, right, *_, **__: _of_matrices(left, right)),
    _ATEN.mv: _raw(lambda left, right, *_, **__: _of_matrices(left, right)),
    _ATEN.addmm: _raw(lambda _, left, right, *__, **___: _of_matrices(left, right)),
    _ATEN.addmv: _raw(lambda _, left, right, *__, **___: _of_matrices(left, right)),
    _ATEN.dot: lambda left, *_, **__: 2 * left.numel(),
    _ATEN.vdot: lambda left, *_, **__: 2 * left.numel(),
    _ATEN.addbmm: lambda _, left, right, *__, **___: 2 * left.numel() * right[2],
    _ATEN.mkldnn_rnn_layer: lambda given, first, second, *_, **__: (
        2 * given[:-1].numel() * (first.numel() + second.numel())
    ),
    _ATEN._trilinear: lambda first, weight, *_, out_shape, **__: _of_bilinear(first, weight, out_shape),
}
