"""Widths of parents: a net of w' with r times the weights of one of w."""

import math

from ..nets.given import check_whole, is_number, shown


def mlp_weights(width: int, inputs: int = 3072, classes: int = 10, hidden: int = 4) -> int:
    """Weights of `models.mlp`, biases left out: (hidden - 1) w^2 + (inputs + classes) w; 3 w^2 + 3082 w on CIFAR-10.

    ValueError: numbers that are not whole, or too small.

    >>> from pruning_lab import masks
    >>> masks.mlp_weights(512) == 3 * 512**2 + 3082 * 512
    True
    """
    check_whole("width", width, least=0)
    check_whole("hidden", hidden)
    _check_ends(inputs, classes)
    return (hidden - 1) * width**2 + (inputs + classes) * width


def scaled_width(width: int, ratio: float, inputs: int = 3072, classes: int = 10, hidden: int = 4) -> int:
    """The width at which `models.mlp` has `ratio` times its weights at `width`, to the nearest unit (003, section 5.3).

    The weights are a quadratic polynomial in the width; it is solved for its positive root. ValueError: nothing to
    scale.

    >>> from pruning_lab import masks
    >>> masks.scaled_width(512, 0.1)
    72
    >>> round(masks.mlp_weights(72) / masks.mlp_weights(512), 2)
    0.1
    """
    check_whole("width", width, least=None)
    check_whole("hidden", hidden, least=None)
    _check_ends(inputs, classes)
    if not is_number(ratio) or not math.isfinite(ratio):
        raise ValueError(f"ratio={shown(ratio)}: expected a number above 0")
    if width < 1 or ratio <= 0 or hidden < 1:
        raise ValueError(f"width={width}, ratio={ratio}, hidden={hidden}: expected at least 1, above 0 and at least 1")
    square, linear, wanted = hidden - 1, inputs + classes, ratio * mlp_weights(width, inputs, classes, hidden)
    root = 2 * wanted / (linear + math.sqrt(linear**2 + 4 * square * wanted))
    return max(1, math.floor(root + 0.5))


def _check_ends(inputs: int, classes: int) -> None:
    check_whole("inputs", inputs, least=0)
    check_whole("classes", classes)
