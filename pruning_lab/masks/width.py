"""Widths of parents: a net of w' with r times the weights of one of w."""

import math


def mlp_weights(width: int, inputs: int = 3072, classes: int = 10, hidden: int = 4) -> int:
    """Weights of `models.mlp`, biases left out: (hidden - 1) w^2 + (inputs + classes) w; 3 w^2 + 3082 w on CIFAR-10."""
    return (hidden - 1) * width**2 + (inputs + classes) * width


def scaled_width(width: int, ratio: float, inputs: int = 3072, classes: int = 10, hidden: int = 4) -> int:
    """The width at which `models.mlp` has `ratio` times its weights at `width`, to the nearest unit (003, section 5.3).

    The weights are a quadratic polynomial in the width; it is solved for its positive root. ValueError: nothing to
    scale.
    """
    if width < 1 or ratio <= 0 or hidden < 1:
        raise ValueError(f"width={width}, ratio={ratio}, hidden={hidden}: expected at least 1, above 0 and at least 1")
    square, linear, wanted = hidden - 1, inputs + classes, ratio * mlp_weights(width, inputs, classes, hidden)
    root = 2 * wanted / (linear + math.sqrt(linear**2 + 4 * square * wanted))
    return max(1, math.floor(root + 0.5))
