"""Networks by name: plain, flat `nn.Sequential`s with named layers, and their initialisations.

>>> from pruning_lab import models
>>> for name in ("conv_2", "conv_4", "conv_6"):
...     print(name, models.prunable(models.build(name, (1, 8, 8), width=4)))
conv_2 ['conv1', 'conv2', 'fc1', 'fc2']
conv_4 ['conv1', 'conv2', 'conv3', 'conv4', 'fc1', 'fc2']
conv_6 ['conv1', 'conv2', 'conv3', 'conv4', 'conv5', 'conv6', 'fc1', 'fc2']
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from ..numeric import checked
from ..registry import holder
from .counting import multiplications as multiplications
from .given import check_seed, check_whole, shown
from .layers import check_model, current

INITS = ("default", "glorot")
DEEPEST = 1_000  # layers, or blocks, in a row
SIZE = (1, 2**20)  # of an image, in classes, in units of the first layer
Layers = OrderedDict[str, nn.Module]
MODELS: dict[str, Callable[..., Layers]] = {}
MANY, ANY = (1, DEEPEST), (0, DEEPEST)
sized = checked(in_shape=SIZE, classes=SIZE, width=SIZE, patch=MANY, heads=MANY, depth=ANY)


def register(function: Callable[..., Layers]) -> Callable[..., Layers]:
    """Makes a net known to `build` under the function's name; a module or a cell that runs again may replace its own.

    Raises:
        ValueError: the name is another function's.

    >>> from collections import OrderedDict
    >>> from torch import nn
    >>> from pruning_lab import models
    >>> @models.register
    ... def one_layer(in_shape, classes, width):
    ...     return OrderedDict(flatten=nn.Flatten(), out=nn.Linear(in_shape[1] * in_shape[2], classes))
    >>> models.build("one_layer", (1, 8, 8)).out
    Linear(in_features=64, out_features=10, bias=True)
    >>> del models.MODELS["one_layer"]  # an example leaves nothing behind
    """
    if not callable(function) or not hasattr(function, "__name__"):
        raise ValueError(f"{shown(function)} has no name to be registered under: expected a function (def ...)")
    if by := holder(MODELS, function):
        name = function.__name__
        raise ValueError(f"model {name!r} is registered already, by {by}: give the new function another name")
    MODELS[function.__name__] = function
    return function


def build(
    name: str,
    in_shape: tuple[int, int, int],
    classes: int = 10,
    width: int | None = None,
    seed: int = 0,
    init: str = "default",
    **options: object,
) -> nn.Sequential:
    """A fresh net on the CPU for images of `in_shape` (C, H, W); its last layer is called `out`.

    Args:
        width: units of the first layer; the other hidden layers keep their ratio to it. None: the source's width.
        init: "default" (PyTorch's uniform) or "glorot" (normal weights, variance 2 / (fan in + fan out), zero biases;
            Glorot & Bengio 2010).
        options: what one model alone knows, such as `hidden=3` or `hidden=(300, 100)` of `mlp`.

    Raises:
        ValueError: unknown model, initialisation or option; numbers that are not whole or too small; images too small
            for the pooling layers.

    >>> from pruning_lab import models
    >>> net = models.build("mlp", (1, 8, 8), classes=10, width=4, hidden=2)
    >>> list(dict(net.named_children()))
    ['flatten', 'fc1', 'relu_fc1', 'fc2', 'relu_fc2', 'out']
    >>> net.fc1.weight.shape
    torch.Size([4, 64])
    """
    _check(in_shape, classes, width, seed)
    if not isinstance(name, str) or name not in MODELS or init not in INITS:
        raise ValueError(
            f"no model {name!r} with init {init!r}; models: {', '.join(MODELS)}; inits: {', '.join(INITS)}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        try:
            made = MODELS[name](in_shape, classes, width, **options)
        except TypeError as error:
            raise ValueError(f"{name} does not take {sorted(options)}: {error}") from error
        model = _in_a_row(name, made)
        if init == "glorot":
            _glorot(model)
    return model


def check_options(name: str, options: Mapping[str, object]) -> None:
    """ValueError: options that a model does not take, or no mapping; of a model that is not here nothing is said.

    >>> from pruning_lab import models
    >>> models.check_options("mlp", {"hidden": 2})
    >>> models.check_options("mlp", {"depth": 2})
    Traceback (most recent call last):
        ...
    ValueError: mlp does not take the options ['depth']: it takes hidden
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"options={shown(options)}: expected a mapping from names to values, as {{'hidden': 2}}")
    if name not in MODELS:
        return
    taken = inspect.signature(MODELS[name]).parameters
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return
    own = [n for n in taken if n not in ("in_shape", "classes", "width")]
    if unknown := sorted(options.keys() - set(own)):
        raise ValueError(f"{name} does not take the options {unknown}: it takes {', '.join(own) or 'none'}")


def _in_a_row(name: str, made: object) -> nn.Sequential:
    """The layers that a model's function made, in a row; ValueError where it made something else."""
    if not isinstance(made, Mapping) or not all(isinstance(layer, nn.Module) for layer in made.values()):
        raise ValueError(f"the function of {name!r} gives {shown(made)}: expected a dictionary of layers by name")
    return nn.Sequential(OrderedDict(made))


def weight_count(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d)) -> int:
    """Number of weights in the layers of one kind, biases left out.

    ValueError: a kind that is no class of layers with weights.

    >>> from pruning_lab import models
    >>> models.weight_count(models.build("mlp", (1, 8, 8), width=4, hidden=1))  # 64 x 4 + 4 x 10
    296
    """
    check_model(model, values=False)
    try:
        return sum(current(m, "weight").numel() for m in model.modules() if isinstance(m, kind))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"kind={shown(kind)}: expected classes of layers that have a weight, as nn.Linear") from error


def prunable(model: nn.Sequential) -> list[str]:
    """Names of the layers whose units can be removed: every linear and convolutional layer but the last.

    >>> from pruning_lab import models
    >>> models.prunable(models.build("lenet_300_100", (1, 8, 8)))
    ['fc1', 'fc2']
    """
    check_model(model, values=False)
    return [n for n, m in model.named_children() if isinstance(m, nn.Linear | nn.Conv2d)][:-1]


def _check(in_shape: object, classes: object, width: object, seed: object) -> None:
    """ValueError unless these are sizes of an image, numbers of classes and of units, and a seed."""
    if not isinstance(in_shape, Sequence) or isinstance(in_shape, str) or len(in_shape) != 3:
        raise ValueError(f"in_shape={shown(in_shape)}: expected three whole numbers, (channels, height, width)")
    for k, size in enumerate(in_shape):
        check_whole(f"in_shape[{k}]", size)
    check_whole("classes", classes)
    check_whole("width", width, least=None, none=True)
    if width is not None and width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    check_seed(seed)


def _glorot(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            nn.init.xavier_normal_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def _scaled(units: int, width: int | None, base: int) -> int:
    return units if width is None else max(1, math.floor(units * width / base + 0.5))


def _head(layers: Layers, inputs: int, widths: list[int], classes: int) -> Layers:
    """Fully-connected layers fc1, fc2, ... with ReLU, then `out`."""
    for k, units in enumerate(widths, 1):
        layers[f"fc{k}"], layers[f"relu_fc{k}"] = nn.Linear(inputs, units), nn.ReLU()
        inputs = units
    layers["out"] = nn.Linear(inputs, classes)
    return layers


@register
@sized
def lenet_300_100(in_shape: tuple[int, int, int], classes: int, width: int | None) -> Layers:
    """LeNet-300-100 (LeCun et al. 1998).

    >>> from pruning_lab import models
    >>> net = models.build("lenet_300_100", (1, 28, 28))
    >>> models.weight_count(net)
    266200
    """
    return _head(
        OrderedDict(flatten=nn.Flatten()), math.prod(in_shape), [_scaled(u, width, 300) for u in (300, 100)], classes
    )


@register
@sized
def mlp(in_shape: tuple[int, int, int], classes: int, width: int | None, hidden: int | tuple[int, ...] = 4) -> Layers:
    """`hidden` layers of equal width (512); four have the 3 w^2 + 3082 w weights of Yauney's formula on CIFAR-10.

    hidden=(300, 100): layers of these widths; with a `width` the first has that one, and the others keep their ratio.

    >>> from pruning_lab import models
    >>> models.weight_count(models.build("mlp", (3, 32, 32))) == 3 * 512**2 + 3082 * 512
    True
    >>> models.build("mlp", (1, 8, 8), width=30, hidden=(300, 100)).fc2
    Linear(in_features=30, out_features=10, bias=True)
    """
    if isinstance(hidden, tuple):
        for k, units in enumerate(hidden):
            check_whole(f"hidden[{k}]", units)
        widths = [_scaled(units, width, hidden[0]) for units in hidden]
    else:
        check_whole("hidden", hidden, 0, DEEPEST)
        widths = [width or 512] * hidden
    return _head(OrderedDict(flatten=nn.Flatten()), math.prod(in_shape), widths, classes)


@register
@sized
def conv_max(in_shape: tuple[int, int, int], classes: int, width: int | None, pool: int | None = None) -> Layers:
    """One convolution (120 filters of 5 x 5), of each the largest rectified response to any position, `out`.

    pool: side of the squares of positions of which each gives its largest response; None: all are one (Brutzkus &
    Globerson 2019, whose text in the sources does not say which).

    ValueError: images too small for the filters or the pooling.

    >>> from pruning_lab import models
    >>> models.build("conv_max", (1, 28, 28), width=3).conv1
    Conv2d(1, 3, kernel_size=(5, 5), stride=(1, 1))
    >>> models.build("conv_max", (1, 28, 28), width=3, pool=12).out
    Linear(in_features=12, out_features=10, bias=True)
    """
    check_whole("pool", pool, least=1, none=True)
    channels, height, wide = in_shape
    units, rows, columns = width or 120, height - 4, wide - 4
    if min(rows, columns) < (pool or 1):
        needed = (pool or 1) + 4
        raise ValueError(f"images of {height} x {wide} are too small: {needed} pixels are needed (image_size={needed})")
    squares = (pool, pool) if pool else (rows, columns)
    return OrderedDict(
        conv1=nn.Conv2d(channels, units, 5),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(squares),
        flatten=nn.Flatten(),
        out=nn.Linear(units * (rows // squares[0]) * (columns // squares[1]), classes),
    )


def _vgg(
    in_shape: tuple[int, int, int],
    blocks: list[list[int]],
    widths: list[int],
    classes: int,
    norm: bool = False,
    average: bool = False,
) -> Layers:
    """Blocks of 3 x 3 convolutions, each block closed by max-pooling, then the fully-connected head."""
    channels, height, wide = in_shape
    side = 2 ** len(blocks)
    if min(height, wide) < side:
        raise ValueError(
            f"images of {height} x {wide} are too small for {len(blocks)} pooling layers; "
            f"{side} pixels are needed (image_size={side})"
        )
    layers: Layers = OrderedDict()
    k = 0
    for b, block in enumerate(blocks, 1):
        for units in block:
            k += 1
            layers[f"conv{k}"] = nn.Conv2d(channels, units, 3, padding=1)
            if norm:
                layers[f"bn{k}"] = nn.BatchNorm2d(units)
            layers[f"relu{k}"] = nn.ReLU()
            channels = units
        layers[f"pool{b}"] = nn.MaxPool2d(2)
    if average:
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    positions = 1 if average else (height // side) * (wide // side)
    return _head(layers, channels * positions, widths, classes)


def _small_vgg(pairs: int) -> Callable[[tuple[int, int, int], int, int | None], Layers]:
    def layers(in_shape: tuple[int, int, int], classes: int, width: int | None) -> Layers:
        blocks = [[_scaled(64 * 2**b, width, 64)] * 2 for b in range(pairs)]
        return _vgg(in_shape, blocks, [_scaled(256, width, 64)] * 2, classes)

    layers.__name__ = f"conv_{2 * pairs}"
    layers.__doc__ = f"Conv-{2 * pairs}: {2 * pairs} convolutions in pairs, 256, 256 (Frankle & Carbin 2019)."
    return sized(layers)


conv_2, conv_4, conv_6 = (register(_small_vgg(pairs)) for pairs in (1, 2, 3))


def _vgg19(in_shape: tuple[int, int, int], classes: int, width: int | None, norm: bool) -> Layers:
    units = [_scaled(u, width, 64) for u in (64, 128, 256, 512, 512)]
    blocks = [[u] * n for u, n in zip(units, (2, 2, 4, 4, 4), strict=True)]
    return _vgg(in_shape, blocks, [units[-1]] * 2, classes, norm=norm, average=True)


@register
@sized
def vgg19(in_shape: tuple[int, int, int], classes: int, width: int | None) -> Layers:
    """VGG19 for 32 x 32 images with Heitmann's head: average pooling, 512, 512 (Simonyan & Zisserman 2015).

    >>> from pruning_lab import models
    >>> net = models.build("vgg19", (3, 32, 32), width=4)
    >>> len(models.prunable(net))  # 16 convolutions and two layers before `out`
    18
    """
    return _vgg19(in_shape, classes, width, norm=False)


@register
@sized
def vgg19_bn(in_shape: tuple[int, int, int], classes: int, width: int | None) -> Layers:
    """`vgg19` with batch normalisation after every convolution.

    >>> from pruning_lab import models
    >>> models.build("vgg19_bn", (3, 32, 32), width=4).bn1
    BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """
    return _vgg19(in_shape, classes, width, norm=True)
