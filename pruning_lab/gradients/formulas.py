"""Which formula gives the gradients of a layer: that of its class, or, for any other layer, the one that autograd
confirms.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from . import conv, embedding, linear, norms, told
from .calls import Call, Place
from .parts import Formula

FORMULAS = linear.FORMULAS | conv.FORMULAS | norms.FORMULAS | embedding.FORMULAS
_FORWARD = {base: base.forward for base in (*FORMULAS, nn.MultiheadAttention)}  # as PyTorch has them
_SCALES = (1.0, 30.0, 1e3)  # of the noise that a layer reads while formulas are tried: nothing may be cut off


def formula(module: nn.Module, where: list[tuple[list, list]], calls: list[Call]) -> Formula | None:
    """What gives a layer's gradients from what each of its calls reads and from the gradient of what it gives."""
    base = next((kind for kind in type(module).__mro__ if kind in FORMULAS), None)
    if base is None or not _one_tensor(where, calls) or not _parameters_alone(module):
        return None
    own, fits = FORMULAS[base]
    shapes = [(*read[0], call.read[0].ndim) for call, (read, _) in zip(calls, where, strict=True)]
    if not changed(module, base):
        return own if all(fits(module, *shape) for shape in shapes) else None
    if not calls[0].read[0].is_floating_point():
        return None
    candidates = [
        told.Tried(own, base, told.plain),
        told.Tried(partial(followed, base, own), base, told.followed),
        *([told.Tried(channels_second, base, told.channels_second)] if base is nn.LayerNorm else []),
    ]
    return next(
        (c for c in candidates if all(_holds(module, c, *each) for each in zip(calls, where, strict=True))), None
    )


def changed(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether a module may do something else than a class that it belongs to."""
    own = type(module) is not base or "forward" in vars(module) or type(module).forward is not _FORWARD[base]
    everywhere = torch.nn.modules.module._global_forward_hooks or torch.nn.modules.module._global_forward_pre_hooks
    return own or bool(module._forward_hooks or module._forward_pre_hooks or everywhere)


def _parameters_alone(module: nn.Module) -> bool:
    """Whether weight and bias are parameters, not computed from something else."""
    bias = getattr(module, "bias", None)
    return isinstance(module.weight, nn.Parameter) and (bias is None or isinstance(bias, nn.Parameter))


def _one_tensor(where: list[tuple[list, list]], calls: list[Call]) -> bool:
    return all(
        len(read) == len(gave) == 1 and read[0] == gave[0] and isinstance(call.read[0], Tensor)
        for call, (read, gave) in zip(calls, where, strict=True)
    )


def followed(base: type[nn.Module], own: Formula, module: nn.Module, x: Tensor, d: Tensor):
    """A layer that its own children follow, such as a norm with its activation: `d` is taken back through these."""
    with torch.enable_grad():
        inner = base.forward(module, x).detach().requires_grad_()
        (d,) = torch.autograd.grad(told.behind(module, inner), inner, d)
    return own(module, x, d)


def channels_second(module: nn.LayerNorm, x: Tensor, d: Tensor):
    """A LayerNorm over the channels of images, [n, channels, ...]."""
    return norms.layer_norm(module, x.movedim(1, -1), d.movedim(1, -1))


def _holds(module: nn.Module, candidate: Formula, call: Call, where: tuple[list[Place], list[Place]]) -> bool:
    """Whether a formula gives what autograd gives, on what the layer has read and on noise of several scales."""
    try:
        return all(_agrees(module, candidate, x, call, where) for x in _trials(call.read[0].detach()))
    except Exception:  # a formula for other shapes, or arguments that the layer lacks
        return False


def _trials(x: Tensor) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    yield x
    for scale in _SCALES:
        yield (scale * torch.randn(x.shape, generator=generator, dtype=x.dtype)).to(x.device)


def _agrees(module: nn.Module, candidate: Formula, x: Tensor, call: Call, where: tuple[list, list]) -> bool:
    parameters = {name: p for name, p in module.named_parameters(recurse=False) if p.requires_grad}
    args, kwargs = call.arguments([x.clone()])
    out = module(*args, **kwargs)
    d = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype).to(out.device)
    exact = torch.autograd.grad(out, list(parameters.values()), d)
    (read,), (gave,) = where
    with torch.no_grad():
        parts = candidate(module, read.first(x), gave.first(d))
        sums = [parts[name]().form(slice(None)).sum(0).view_as(p) for name, p in parameters.items()]
    return all(_near(a, b) for a, b in zip(sums, exact, strict=True))


def _near(a: Tensor, b: Tensor) -> bool:
    return bool(b.any() and (a - b).abs().max() <= 1e-3 * b.abs().max())
