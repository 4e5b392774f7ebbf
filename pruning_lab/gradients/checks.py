"""What is asked of `statistics`, and whether it can be answered: each refusal says what was wrong and what to do."""

from collections.abc import Collection
from numbers import Real

import torch
from torch import nn

from .. import samples

_WANT = frozenset({"mean", "diffs", "coherence"})
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm,
           nn.modules.batchnorm._BatchNorm)  # fmt: skip


def checked(model, split, loss, chunk, want, groups, silent):
    """The images and labels of a split, if everything asked for makes sense."""
    images, labels = samples.checked(split)
    if not _words(want) or set(want) - _WANT:
        raise ValueError(f"want={want!r}: expected a set of some of {sorted(_WANT)}")
    if chunk is not None and (not _whole(chunk) or chunk < 1):
        raise ValueError(f"chunk={chunk!r}: expected at least 1 sample, a whole number, or None")
    if groups is not None and not _whole(groups) or groups and not 2 <= groups <= len(images):
        raise ValueError(f"groups={groups!r}: expected 0 (no error bar) or 2 to {len(images)}, the number of samples")
    if not isinstance(silent, Real) or isinstance(silent, bool) or not 0 <= silent < 1e6:
        raise ValueError(f"silent={silent!r}: expected a number of times the precision's eps, from 0 (every sign "
                         "counts) to below a million")  # fmt: skip
    if not callable(loss):
        raise ValueError(f"loss={loss!r}: expected a function (outputs, labels) -> one number a sample, [n]")
    _check_kind(model)
    _check_model(model)
    return images, labels


def _words(want: object) -> bool:
    several = isinstance(want, Collection) and not isinstance(want, str) and len(want) > 0
    return several and all(isinstance(name, str) for name in want)


def _whole(number: object) -> bool:
    return hasattr(number, "__index__") and not isinstance(number, bool)


def _check_kind(model):
    """ValueError for what no pass goes through, or only without a look at its layers."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {type(model).__name__}: expected a torch.nn.Module")
    scripted = [name or type(m).__name__ for name, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        raise ValueError(
            f"{some(scripted)}: scripted or traced by torch.jit, which hides its layers: give the model it was made of"
        )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    if lazy := [name for name, t in tensors if isinstance(t, nn.parameter.UninitializedTensorMixin)]:
        raise ValueError(f"{some(lazy)}: not initialised yet: pass one batch through the model first")
    if empty := [name for name, t in tensors if t.is_meta]:
        raise ValueError(
            f"{some(empty)}: on the meta device, which has shapes and no numbers: "
            "build the model on a device, or load its weights (model.to_empty(device=...), model.load_state_dict(...))"
        )


def _check_model(model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the model requires a gradient: unfreeze some (requires_grad_())")
    if kinds := {p.dtype for p in parameters} - {torch.float32, torch.float64}:
        raise ValueError(
            f"parameters are {', '.join(map(str, kinds))}: expected float32 or float64; "
            "convert the model (model.float())"
        )
    if empty := [name or type(m).__name__ for name, m in model.named_modules() if _is_empty(m)]:
        raise ValueError(
            f"{some(empty)}: layers without units or without inputs, through which nothing passes: expected at least "
            "one of each; leave such a layer out"
        )
    batch = [name for name, m in model.named_modules() if _mixes(m)]
    if batch:
        raise ValueError(
            f"{some(batch)}: batch statistics depend on all samples of a batch, so that a sample has no gradient of "
            "its own: use model.eval(), which takes the stored statistics, freeze these layers (layer.eval()), "
            "or build with GroupNorm"
        )
    chance = {name: m for name, m in model.named_modules() if m.training and _draws(m)}
    if chance:
        kind = "RReLU" if all(isinstance(m, nn.RReLU) for m in chance.values()) else "dropout"
        raise ValueError(
            f"{some(list(chance))}: {kind} in training mode draws random numbers, "
            "so that a sample has not one gradient but many: use model.eval(), or freeze these layers (layer.eval())"
        )


def _is_empty(module):
    own = [p for p in module._parameters.values() if p is not None]
    return isinstance(module, _LAYERS) and any(p.numel() == 0 for p in own)


def _mixes(module):
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None)


def _draws(module):
    p = getattr(module, "p", 0) if isinstance(module, nn.modules.dropout._DropoutNd) else getattr(module, "dropout", 0)
    return isinstance(module, nn.RReLU) or (isinstance(p, float) and p > 0)


def some(names):
    """The first few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more


def check_finite(gradients, which):
    """ValueError where one of some gradients (or None) is not finite."""
    sums = [g.sum() for g in gradients if g is not None]
    if sums and not torch.stack(sums).isfinite().all():
        raise ValueError(
            f"gradients of {which} are not finite, though their losses are: check the model for 0/0 and overflow"
        )
