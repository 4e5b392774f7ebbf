"""What a force graph holds: its units, colours, orders and settings, checked, and what is measured of its snapshots."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from . import encoding

EDGES_A_UNIT = 6  # at most, roughly, in the busiest snapshot, where the cut-off starts
KERNELS = ("report", "code")
SPEEDS = (0.5, 1, 2, 4)  # snapshots a second while it plays


def described(
    units: int,
    times: int,
    epochs: Sequence,
    *,
    colours: Mapping,
    orders: Mapping,
    pictures: Any,
    nets: Mapping[str, int] | None,
    title: str,
    name: str,
    time: str,
) -> tuple[dict, bytes, bytes]:
    """What is known of a graph before its snapshots are measured, the bytes of its colours and of its pictures.

    ValueError: numbers of epochs or units that do not fit, or a name that cannot stand in an address.
    """
    epochs = [e.item() if hasattr(e, "item") else e for e in epochs]
    if len(epochs) != times:
        raise ValueError(f"{times} snapshots need as many epochs, not {len(epochs)}")
    nets = dict(nets or {"": units})
    if sum(nets.values()) != units:
        raise ValueError(f"the nets have {sum(nets.values())} units, the snapshots {units}")
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"the name {name!r} stands in the page's address: letters, digits and _ only")
    groups, colour_meta = _groups(colours, nets, units, times)
    image, shape = encoding.pictures(pictures, units) if pictures is not None else (b"", [])
    meta = {"title": title, "name": name, "time": time, "units": units, "epochs": epochs,
            "nets": list(nets.items()), "speeds": SPEEDS, "colours": colour_meta,
            "orders": _orders(orders, units), "picture": shape}  # fmt: skip
    return meta, groups, image


def measured(
    parts: Sequence[np.ndarray], measure: Callable, nets: Sequence[tuple[str, int]], most: int
) -> tuple[list, np.ndarray, np.ndarray]:
    """Of each snapshot the strongest pairs, in `most` bytes, the norms [T, U] and the shares of frame potential."""
    kept, norms, shares = [], [], []
    for number, part in enumerate(parts):
        norm, cosines = measure(part, f"snapshot {number}")
        kept.append(encoding.strongest(cosines, norm > 0, most))
        norms.append(norm)
        shares.append(encoding.shares(cosines, [size for _, size in nets]))
    return kept, np.stack(norms), np.stack(shares)


def sixteen(values: np.ndarray) -> tuple[bytes, float]:
    """Non-negative numbers as 16-bit parts of the largest, and the largest."""
    peak = float(values.max(initial=0.0))
    return np.rint(values * (65535 / peak if peak > 0 else 0)).astype("<u2").tobytes(), peak


def _groups(colours: Mapping, nets: Mapping[str, int], units: int, times: int) -> tuple[bytes, list[dict]]:
    """The label bytes of all colours, and what each is called; norm and share need no bytes of their own."""
    colours = dict(colours)
    if len(nets) > 1:
        colours = {"net": np.repeat(list(nets), list(nets.values())), **colours}
    data, found = b"", []
    for name, values in colours.items():
        codes, names, moving = encoding.labels(values, units, times)
        found.append({"name": name, "labels": names, "moving": moving, "offset": len(data)})
        data += codes
    return data, [*found, *({"name": name} for name in ("share of frame potential", "norm", "none"))]


def _orders(orders: Mapping, units: int) -> list[dict]:
    """Removal orders as JSON; raises ValueError where a unit comes twice, is none, or the curve has another length."""
    found = []
    for name, (order, accuracy) in orders.items():
        order = [int(unit) for unit in order]
        if len(set(order)) != len(order) or not all(0 <= unit < units for unit in order):
            raise ValueError(f"order {name!r} must name each of the units 0 to {units - 1} at most once")
        if accuracy is not None:
            accuracy = [round(float(value), 4) for value in accuracy]
            if len(accuracy) != len(order) + 1 or not all(0 <= value <= 1 for value in accuracy):
                raise ValueError(f"order {name!r} needs {len(order) + 1} accuracies in [0, 1]: after 0, 1, ... units")
        found.append({"name": name, "units": order, "accuracy": accuracy})
    return found


def started(given: Mapping, meta: dict, kept: list) -> dict:
    """Where the controls start; raises ValueError for a setting or a name that is not there."""
    names = {"order": [o["name"] for o in meta["orders"]], "colour": [c["name"] for c in meta["colours"]],
             "kernel": list(KERNELS), "speed": list(SPEEDS)}  # fmt: skip
    start = {"snapshot": 0, "cutoff": _cutoff(kept, meta["units"]), "sigma": 0.7, "charge": 30.0, "distance": 30.0,
             "removed": 0, "order": 0, "colour": 0, "kernel": 0, "speed": SPEEDS.index(1)}  # fmt: skip
    for key, value in given.items():
        if key not in start:
            raise ValueError(f"there is no setting {key!r}: it is one of {', '.join(start)}")
        if key in names and value not in names[key]:
            raise ValueError(f"no {key} {value!r} here: it is one of {', '.join(map(str, names[key])) or 'none'}")
        if key not in names and (
            not isinstance(value, Real) or not math.isfinite(value) or (key == "sigma" and value <= 0)
        ):
            raise ValueError(f"{key} is {value!r}: expected a number{' above 0' * (key == 'sigma')}")
        start[key] = names[key].index(value) if key in names else value
    last = len(meta["epochs"]) - 1
    if not -last - 1 <= start["snapshot"] <= last:
        raise ValueError(f"snapshot {start['snapshot']} is none of 0 to {last}")
    start["snapshot"] %= last + 1
    return start


def _cutoff(kept: list, units: int) -> float:
    """A cut-off at which even the busiest snapshot shows about EDGES_A_UNIT edges a unit, in hundredths."""
    weakest = [np.sort(values)[::-1][: EDGES_A_UNIT * units][-1] for _, values, _ in kept if len(values)]
    return math.floor(100 * max(weakest, default=0)) / 100
