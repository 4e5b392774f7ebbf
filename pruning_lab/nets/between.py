"""What may stand between a layer and the next without mixing units."""

from torch import nn

from .layers import own_forward

_EACH = (  # as many parameters or statistics as units, or positions of units once flattened
    nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm,
)  # fmt: skip
_ANYWHERE = (  # number by number, or drawn by chance
    nn.modules.dropout._DropoutNd, nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU,
    nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanh, nn.Tanhshrink,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Threshold,
)  # fmt: skip
_PICTURES = (  # picture by picture
    nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, nn.Upsample,
    nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd, nn.InstanceNorm2d,
)  # fmt: skip


def keeps_apart(module: nn.Module, pictures: bool) -> bool:
    """Whether what a module gives of a unit depends on that unit alone; `pictures`: it reads [N, units, h, w]."""
    if own_forward(module):
        return False
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if isinstance(module, _PICTURES):
        return pictures and _flat_sides(module)
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return pictures and len(module.normalized_shape) == 2
    return isinstance(module, (*_EACH, *_ANYWHERE, nn.PReLU))


def owned(module: nn.Module) -> bool:
    """Whether a module that keeps units apart has something for each of them, which goes with the unit."""
    each = isinstance(module, (*_EACH, nn.InstanceNorm2d, nn.GroupNorm))
    return each or (isinstance(module, nn.PReLU) and module.num_parameters > 1)


def _flat_sides(module: nn.Module) -> bool:
    """Whether at most the two sides of pictures are padded, and no dimension of units."""
    padding = getattr(module, "padding", 0)
    return not isinstance(padding, tuple) or len(padding) <= 4
