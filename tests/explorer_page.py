"""A page of the book with three explorers, made from a notebook of its own."""

import numpy as np
import pandas as pd

FIRST = """
import sys
sys.path.insert(0, "tests")
from explorer_page import signs, turned, accuracy
from IPython.display import display

chart = signs()
display(chart.fallback(), chart)
"""
SECOND = """
toy = turned()
display(toy.still(), toy)
"""
THIRD = "accuracy()"
FOURTH = """
from explorer_page import layered

layered()
"""
LAYERS = {"LeNet": ["fc1", "fc2", "fc3"], "Conv-2": ["conv1", "conv2", "fc1", "fc2", "fc3"]}
EPOCHS = {"LeNet": [0, 1, 2, 5, 10], "Conv-2": [0, 4, 8, 16]}


def histograms(bins=41, nets=tuple(LAYERS)):
    """Shares that widen with the epoch, and a null curve that holds for all layers and epochs of a net."""
    centres, rows = np.round(np.linspace(-1, 1, bins), 4), []
    for n, net in enumerate(nets):
        null = np.exp(-(centres**2) / 0.02)
        rows.append(
            pd.DataFrame(dict(net=net, layer=None, epoch=np.nan, curve="null", diff=centres, share=null / null.sum()))
        )
        for k, layer in enumerate(LAYERS[net]):
            for epoch in EPOCHS[net]:
                seen = np.exp(-(centres**2) / (0.03 + 0.01 * k + 0.02 * n + 0.01 * epoch))
                rows.append(
                    pd.DataFrame(
                        dict(net=net, layer=layer, epoch=epoch, curve="measured", diff=centres, share=seen / seen.sum())
                    )
                )
    return pd.concat(rows, ignore_index=True)


def signs(**options):
    """Histograms by net, layer and epoch."""
    from pruning_lab.widgets import Explorer

    table = histograms()
    combinations = table.dropna()[["net", "layer", "epoch"]].drop_duplicates()
    captions = combinations.assign(
        caption=[f"{net}, {layer}: after epoch {epoch:g}." for net, layer, epoch in combinations.values]
    )
    given = dict(styles={"measured": "bar"}, captions=captions, title="Signs of gradients", name="signs",
                 labels={"diff": "diff of a weight", "share": "share of weights", "null": "coin flips"})  # fmt: skip
    return Explorer(table, ("net", "layer", "epoch"), **(given | options))


def turned(**options):
    """Three arrows in the plane, turned by a slider."""
    from pruning_lab.widgets import Explorer

    rows = []
    for angle in range(0, 181, 15):
        for k, way in enumerate((0, angle, 2 * angle)):
            x, y = np.cos(np.deg2rad(way)), np.sin(np.deg2rad(way))
            rows += [dict(angle=angle, arrow=f"w{k}", x=0, y=0), dict(angle=angle, arrow=f"w{k}", x=x, y=y)]
        rows += [dict(angle=angle, arrow="wall", x=1.1, y=y) for y in (1, -1)]
    styles = dict.fromkeys(("w0", "w1", "w2"), "arrow") | {"wall": "path"}
    given = dict(series="arrow", x="x", y="y", styles=styles, equal=True, start={"angle": 45}, title="Three arrows",
                 ranges={"x": (-1.2, 1.2), "y": (-1.2, 1.2)}, name="toy")  # fmt: skip
    return Explorer(pd.DataFrame(rows), ("angle",), **(given | options))


def accuracy(**options):
    """Accuracy by iteration for masks, widths and densities; one line ends early, one has a gap."""
    from pruning_lab.widgets import Explorer

    rows, steps = [], np.array([1, 10, 100, 1000, 10_000])
    for width in (16, 64, 256):
        for density in (0.01, 0.1, 1.0):
            for k, mask in enumerate(("norm", "random", "frame_potential")):
                reached = 100 - 90 * (steps / 10.0) ** (-0.3 - 0.05 * np.log10(width * density)) * (1 + 0.2 * k)
                reached = np.clip(reached, 10, 99)
                reached[3 if k == 2 else 9 :] = np.nan
                rows.append(
                    pd.DataFrame(dict(width=width, density=density, mask=mask, iteration=steps, accuracy=reached))
                )
    given = dict(series="mask", x="iteration", y="accuracy", log="x", styles={"random": "dashed"}, title="Accuracy",
                 labels={"accuracy": "accuracy (%)", "iteration": "iterations"}, ranges={"y": (0, 100)})  # fmt: skip
    return Explorer(pd.concat(rows), ("width", "density"), **(given | options))


def layered(**options):
    """What is left of six layers."""
    from pruning_lab.widgets import Explorer

    rows = [
        dict(net=net, curve="kept", layer=k + 1, density=d)
        for net in ("a", "b")
        for k, d in enumerate((1, 2.5, 3, 5, 8, 12))
    ]
    return Explorer(
        pd.DataFrame(rows), ("net",), x="layer", y="density", title="What is left", name="layers", **options
    )
