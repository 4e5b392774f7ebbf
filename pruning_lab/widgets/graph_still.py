"""The force graph on paper: a few snapshots side by side as one SVG, laid out here with the same forces."""

from __future__ import annotations

from html import escape

import numpy as np

from .still import Still

SIDE = 240  # of one panel, in units of the SVG
STRONGEST = 2500  # edges drawn in a panel
NETS = {
    "#0072B2": "blue",
    "#D55E00": "orange",
    "#009E73": "green",
    "#E69F00": "yellow",
    "#56B4E9": "light blue",
    "#CC79A7": "pink",
}  # fills of the units, one a net, in the order of the page's palette


def still(meta: dict, norms: np.ndarray, edges: dict, *, sigma: float, kernel: int, cutoff: float, seed: int) -> Still:
    """One panel a snapshot of `edges` (snapshot -> i, j, cosines); nodes stay near where the panel before has them."""
    sizes = [size for _, size in meta["nets"]]
    places, panels = np.random.default_rng(seed).normal(size=(meta["units"], 2)) * 0.3, []
    for column, (number, (i, j, cosines)) in enumerate(edges.items()):
        weights = np.exp(-(((1 - cosines) / 2) ** 2 if kernel else 1 - cosines) / sigma**2)
        places = settle(places, i, j, weights)
        title = f"{meta['time']} {_written(meta['epochs'][number])}: {len(i):,} edges"
        top = np.argsort(-cosines, kind="stable")[:STRONGEST]
        panels.append(_panel(column, title, places, i[top], j[top], norms[number] / max(norms.max(), 1e-30), sizes))
    width = (SIDE + 10) * len(panels)
    told = meta["nets"] if len(meta["nets"]) <= len(NETS) else []
    colours = "; ".join(f"{word} {name}" for word, (name, _) in zip(NETS.values(), told, strict=False) if name)
    units = f"{meta['units']} units" + f" ({colours})" * bool(colours)
    caption = (f"{meta['title']}: {units}, area by norm, an edge where the cosine is at least {cutoff:.2f}; "
               f"{meta['time']}s {', '.join(_written(meta['epochs'][n]) for n in edges)}.")  # fmt: skip
    svg = (f'<svg role="img" aria-label="{escape(caption)}" viewBox="0 0 {width} {SIDE + 22}" width="100%" '
           f'style="max-width:{width}px;color:inherit">{"".join(panels)}</svg>')  # fmt: skip
    return Still(svg, caption)


def _written(number) -> str:
    return f"{number:,}" if isinstance(number, int) else str(number)


def settle(places: np.ndarray, i: np.ndarray, j: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Positions [U, 2] after charge, links and the pull to the centre have acted for a while; size about one."""
    places, units = places.astype(np.float32), len(places)
    steps = int(np.clip(6e7 / units**2, 30, 120))
    length = np.float32(1 / np.sqrt(units))
    degree = np.maximum(np.bincount(np.r_[i, j], minlength=units), 1)
    pull = (weights / np.minimum(degree[i], degree[j])).astype(np.float32)[:, None]
    for step in range(steps):
        square = np.square(places).sum(axis=1)
        near = 1 / (np.maximum(square[:, None] + square - 2 * places @ places.T, 0) + 0.05 * length**2)
        push = (places * near.sum(axis=1, keepdims=True) - near @ places) * length**2
        link = places[j] - places[i]
        far = np.sqrt(np.square(link).sum(1, keepdims=True)) + 1e-6
        tug = link / far * (far - length) * pull * 0.5
        move = 0.3 * push - 0.25 * places
        np.add.at(move, i, tug)
        np.add.at(move, j, -tug)
        size = np.sqrt(np.square(move).sum(1, keepdims=True)) + 1e-9
        places = places + move / size * np.minimum(size, 0.3 * (1 - step / steps) + 0.01)
    return places - places.mean(axis=0)


def _panel(
    column: int, title: str, places: np.ndarray, i: np.ndarray, j: np.ndarray, size: np.ndarray, nets: list[int]
) -> str:
    reach = max(float(np.abs(places).max()), 1e-6)
    x, y = np.round(SIDE / 2 + places.T / reach * (SIDE / 2 - 8), 1)
    lines = "".join(f"M{x[a]:g} {y[a]:g}L{x[b]:g} {y[b]:g}" for a, b in zip(i, j, strict=True))
    most = 8 / np.sqrt(max(len(x) / 60, 1))
    dots = [
        f'<circle cx="{a:g}" cy="{b:g}" r="{max(r, 0.6):.1f}"/>'
        for a, b, r in zip(x, y, most * np.sqrt(size), strict=True)
    ]
    ends = np.cumsum([0, *nets])
    filled = "".join(
        f'<g fill="{list(NETS)[k % len(NETS)]}">{"".join(dots[ends[k] : ends[k + 1]])}</g>' for k in range(len(nets))
    )
    return (f'<g transform="translate({column * (SIDE + 10)} 0)"><text x="{SIDE / 2}" y="14" text-anchor="middle" '
            f'font-size="13" fill="currentColor">{escape(title)}</text><g transform="translate(0 20)">'
            f'<path d="{lines}" fill="none" stroke="currentColor" stroke-opacity=".3" stroke-width=".6"/>'
            f"{filled}</g></g>")  # fmt: skip
