"""What a layer is beside its class and its `weight`: looked at before anything is read of it, copied or changed.

A layer may have a `forward` of its own, hooks, weights that other layers share, or weights that are computed from
others. Whoever takes one for its class asks here first.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_COMPUTES = ("forward", "_conv_forward", "__call__")  # what a subclass may do its own way
_MAKERS = (prune.BasePruningMethod, WeightNorm, SpectralNorm)  # hooks that compute a weight before a layer runs


def check_model(model: nn.Module, values: bool = True) -> None:
    """ValueError unless the layers of a model can be told, and their weights read (sizes alone: `values=False`)."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}: expected an nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            "the model is scripted or traced (torch.jit), so that its layers have no classes: pass the module that it "
            "was made from"
        )
    for name, module in model.named_modules():
        _check_readable(module, name)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise ValueError(f"{name!r} has no sizes yet, as its layer is lazy: run the model on a few images first")
        if values and tensor.is_meta:
            raise ValueError(
                f"{name!r} lies on the meta device, which holds no values: give the model some first, by "
                "to_empty(device=...) and load_state_dict(...)"
            )


def _check_readable(module: nn.Module, name: str) -> None:
    """ValueError where a part of a model has weights that no tensor of a layer holds: scripted, traced or quantized."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{name!r} is scripted or traced (torch.jit), so that it has no class of layer: put the module that it was "
            "made from in its place"
        )
    if inspect.isfunction(getattr(type(module), "weight", None)):
        raise ValueError(
            f"{name!r}, a {type(module).__name__}, holds its weight in another form (quantized): put the layer that it "
            "was made from in its place"
        )


def check(model: nn.Module, names: Collection[str], hooks: bool = True, shared: bool = True) -> None:
    """ValueError unless each of these layers is just what its class says, with parameters that it alone holds.

    `hooks=False`: forward hooks are fine; `shared=False`: weights that other layers have as well are.
    """
    for name in names:
        module = model.get_submodule(name)
        check_plain(module, name)
        if kind := own_forward(module):
            raise ValueError(
                f"{name!r}, a {type(module).__name__}, computes in a way of its own (its forward is not "
                f"nn.{kind.__name__}'s), so that its weight does not say what it gives: put a plain "
                f"nn.{kind.__name__} in its place"
            )
        if hooks and hooked(module):
            raise ValueError(
                f"{name!r} has forward hooks (its own, or those of all modules), which may change what it gives: take "
                "them away first (the handle's .remove())"
            )
    if shared:
        check_alone(model, names)


def check_plain(module: nn.Module, name: str, attributes: Collection[str] = ("weight", "bias")) -> None:
    """ValueError where one of these tensors of a layer is computed from others."""
    if made := [a for a in attributes if computed(module, a)]:
        raise ValueError(
            f"the {made[0]} of {name!r} is computed from others: make it plain, as {_undone(module, made[0])} does"
        )


def check_copy(model: nn.Module) -> None:
    """ValueError where a module holds a computed tensor, as torch's pruning leaves one: `copy.deepcopy` refuses it."""
    for name, module in model.named_modules():
        if any(isinstance(held, Tensor) and not held.is_leaf for held in vars(module).values()):
            check_plain(module, name)
            raise ValueError(f"{name!r} holds a tensor that is part of an autograd graph: detach it, so that it can be "
                             "copied")  # fmt: skip


def check_alone(model: nn.Module, names: Collection[str]) -> None:
    """ValueError where one of these layers stands in a model twice, or shares a parameter or its memory."""
    places: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        places.setdefault(module, []).append(name)
    for name in names:
        module = model.get_submodule(name)
        if len(places[module]) > 1 and next(module.parameters(), None) is not None:
            raise ValueError(f"{name!r} stands in the model twice: units of shared weights cannot go one by one")
    held = [(name, p) for name, p in model.named_parameters(remove_duplicate=False) if p.numel()]
    for own, tensor in [(n, p) for n, p in held if n.rpartition(".")[0] in names]:
        for other, p in held:
            if other != own and overlap(tensor, p):
                raise ValueError(
                    f"{own!r} and {other!r} are one weight or share memory: units of shared weights cannot go one by "
                    "one; give each layer weights of its own (.clone())"
                )


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one, or lie in the same memory in part."""
    if a is b or a.is_meta or b.is_meta or a.device != b.device or {a.layout, b.layout} != {torch.strided}:
        return a is b
    (first, last), (start, stop) = _range(a), _range(b)
    return first < stop and start < last


def own_forward(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch from which a module is derived, if it does not compute as that does; None if it does."""
    kind = next((k for k in type(module).__mro__ if k.__module__.startswith("torch.nn.")), nn.Module)
    own = any(getattr(type(module), name, None) is not getattr(kind, name, None) for name in _COMPUTES)
    return kind if own or any(name in vars(module) for name in _COMPUTES) else None


def hooked(module: nn.Module) -> bool:
    """Whether forward hooks run with a module: its own, or those registered for all modules."""
    of_all = nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks
    return bool(module._forward_hooks or module._forward_pre_hooks or of_all)


def computed(module: nn.Module, attribute: str = "weight") -> bool:
    """Whether a tensor of a layer is computed from others; a parametrised one is not asked, as it may take a step."""
    if parametrize.is_parametrized(module, attribute):
        return True
    held = getattr(module, attribute, None)
    return isinstance(held, Tensor) and held is not module._parameters.get(attribute)


def current(module: nn.Module, attribute: str) -> Tensor | None:
    """The tensor that a layer would compute with now: its parameter, or what is made of others, not when it last ran.

    Nothing is changed: a spectral norm takes no step.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _MAKERS) and attribute == getattr(hook, "name", getattr(hook, "_tensor_name", None)):
            if isinstance(hook, prune.BasePruningMethod):
                return hook.apply_mask(module)
            return hook.compute_weight(module, *[False] * isinstance(hook, SpectralNorm))
    if parametrize.is_parametrized(module, attribute):
        with _still(module.parametrizations[attribute]):
            return getattr(module, attribute)
    return getattr(module, attribute)


def source(module: nn.Module, attribute: str) -> object:
    """What identifies a layer's tensor: the parameter itself, or the first of those that it is computed from."""
    if attribute in module._parameters:
        return module._parameters[attribute]
    if parametrize.is_parametrized(module, attribute):
        return next(module.parametrizations[attribute].parameters(recurse=False), module)
    return module._parameters.get(f"{attribute}_orig", module)


def aliases(model: nn.Module) -> Mapping[str, list[str]]:
    """All names of each parameter that has several, by each of them."""
    names: dict[Tensor, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return {name: several for several in names.values() if len(several) > 1 for name in several}


def _undone(module: nn.Module, attribute: str) -> str:
    """What makes a computed tensor plain again."""
    if parametrize.is_parametrized(module, attribute):
        return "torch.nn.utils.parametrize.remove_parametrizations"
    kinds = {type(hook) for hook in module._forward_pre_hooks.values()}
    if WeightNorm in kinds or SpectralNorm in kinds:
        return f"torch.nn.utils.remove_{'weight' if WeightNorm in kinds else 'spectral'}_norm"
    if any(issubclass(kind, prune.BasePruningMethod) for kind in kinds):
        return "torch.nn.utils.prune.remove"
    return f"a layer whose {attribute} is an nn.Parameter"


def _range(tensor: Tensor) -> tuple[int, int]:
    """Addresses of a tensor's first byte and of the one behind its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which what computes a weight takes no step; afterwards as it was."""
    flags = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in flags:
            m.training = training
