"""Ten points fitted by random features, and beside them where that stands on a measured curve: sliders move both.

The page's own script (`book/_static/descent.js`) fits as the sliders move; without it stands the fit of ten features,
by the library. A test holds the script's fits against the library's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..fits import fourier

SIDE, LEFT, WIDE, TOP, BOTTOM = 300, 46, 300, 14, 258  # of each picture, in units of the SVG
POINTS, MOST, SIGMA, SEED = 10, 60, 0.15, 3
HEIGHT = 3.0  # of the left picture: what lies further from zero is cut off
RIDGES = (0.0, *(10.0**k for k in range(-6, 1)))
RIDGE_WORDS = ("none", "1 millionth", "10 millionths", "100 millionths", "1 thousandth", "1 hundredth", "1 tenth", "1")
NOISES = tuple(round(0.1 * k, 1) for k in range(11))
GRID = 101
NAMED = {  # (noisy, ridged) -> what the line says that stands out
    (noisy, ridged): f"bold: {'a fifth redrawn' if noisy else 'true labels'}, {'ridge' if ridged else 'no ridge'}"
    for noisy in (0, 1)
    for ridged in (0, 1)
}
START = dict(features=POINTS, noise=2, ridge=0)  # numbers of features, and places in `NOISES` and `RIDGES`


@dataclass(frozen=True)
class Toy:
    """Ten places in [0, 1], a curve through them, the noise on it at most, and directions of the features."""

    x: np.ndarray
    curve: np.ndarray
    noise: np.ndarray
    directions: np.ndarray
    grid: np.ndarray
    truth: np.ndarray


def toy() -> Toy:
    """The same each time: a sine, and features as `fits.fourier.Fourier` draws them."""
    x, grid = (np.arange(POINTS) + 0.5) / POINTS, np.linspace(0, 1, GRID)
    noise = np.random.default_rng(SEED + 1).standard_normal(POINTS)
    directions = np.random.default_rng(SEED).standard_normal(MOST // 2) / SIGMA
    return Toy(x, np.sin(2 * np.pi * x), noise, directions, grid, np.sin(2 * np.pi * grid))


def fitted(features: int, noise: float, ridge: float) -> fourier.Fit:
    """The library's fit of the toy; its `test` is on the grid."""
    given, waves = toy(), fourier.Fourier(1, MOST, SIGMA, SEED)
    targets = (given.curve + noise * given.noise)[:, None]
    [fit] = fourier.fits(waves, given.x[:, None], targets, given.grid[:, None], (features,), ridge)
    return fit


Curves = Mapping[tuple[bool, bool], Mapping[float, float]]  # (noisy, ridged) -> features over images -> risk


def picture(curves: Curves, title: str, caption: str, measured: str) -> str:
    """The figure as HTML. measured: what the curves are of, over the right picture; without curves there is no such."""
    given = toy()
    data = {name: np.round(getattr(given, name), 9).tolist() for name in ("x", "curve", "noise", "directions")}
    data |= dict(ridges=RIDGES, noises=NOISES, grid=GRID, left=LEFT, width=WIDE, top=TOP, bottom=BOTTOM, height=HEIGHT)
    data["curves"] = [[*map(int, key), [[ratio, risk] for ratio, risk in line.items()]] for key, line in curves.items()]
    data["frame"] = _frame(curves)
    data["said"] = dict(noise=["none", *(f"sd {sd:g}" for sd in NOISES[1:])], ridge=RIDGE_WORDS)
    data["named"] = [[*key, said] for key, said in NAMED.items()]
    packed = escape(json.dumps(data, separators=(",", ":")), quote=False).replace("'", "&#39;")
    drawn = _svg("Ten points, the curve that they come from, and a fit", _points(given))
    if curves:
        drawn += _svg(f"{measured}: test risk by features over images", _measured(curves, measured))
    head, foot = f"<h3>{escape(title)}</h3>", f"<figcaption>{escape(caption)}</figcaption>"
    inside = f"{head}<div>{drawn}</div>{_controls()}{foot}"
    return f"<figure class=\"lab-descent\" data-descent='{packed}'>{inside}</figure>"


def _svg(told: str, inside: str) -> str:
    return f'<svg role="img" aria-label="{escape(told)}" viewBox="0 0 {LEFT + WIDE + 12} {SIDE}">{inside}</svg>'


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def _place(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a point of the toy stands in the left picture; what is too high is cut off."""
    y = np.clip(y, -HEIGHT, HEIGHT)
    return LEFT + WIDE * x, BOTTOM - (BOTTOM - TOP) * (y + HEIGHT) / (2 * HEIGHT)


def _points(given: Toy) -> str:
    """The toy at the fit that stands there without a script."""
    fit = fitted(START["features"], NOISES[START["noise"]], RIDGES[START["ridge"]])
    axis = f'<path class="lab-axis" d="M{LEFT} {TOP}V{BOTTOM}H{LEFT + WIDE}"/>'
    marks = [_text(LEFT - 6, _place(np.zeros(1), np.array([v]))[1][0] + 4, f"{v:g}", "end") for v in (-2.0, 0.0, 2.0)]
    marks += [_text(LEFT + WIDE * v, BOTTOM + 16, f"{v:g}") for v in (0.0, 0.5, 1.0)]
    marks.append(_text(LEFT + WIDE / 2, BOTTOM + 32, "x"))
    truth = f'<path class="lab-truth" d="{_path(*_place(given.grid, given.truth))}"/>'
    line = f'<path class="lab-fit" d="{_path(*_place(given.grid, fit.test[:, 0]))}"/>'
    places = _place(given.x, given.curve + NOISES[START["noise"]] * given.noise)
    dots = "".join(
        f'<circle class="lab-point" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>' for x, y in zip(*places, strict=True)
    )
    return f"{axis}{''.join(marks)}{truth}{line}{dots}"


def _frame(curves: Curves) -> list[float]:
    """Natural logarithms of the ends of both axes of the right picture: ratios, then risks."""
    ratios = [ratio for line in curves.values() for ratio in line] or [1.0, 2.0]
    risks = [risk for line in curves.values() for risk in line.values()] or [1.0, 2.0]
    return [round(float(np.log(v)), 6) for v in (min(ratios), max(ratios), min(risks), max(risks))]


def _measured(curves: Curves, measured: str) -> str:
    """The curves on logarithmic axes, and the dot that a script moves along them."""
    low, high, least, most = _frame(curves)
    axis = f'<path class="lab-axis" d="M{LEFT} {TOP}V{BOTTOM}H{LEFT + WIDE}"/>'

    def across(ratio: float) -> float:
        return LEFT + WIDE * (np.log(ratio) - low) / (high - low)

    def up(risk: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (np.log(risk) - least) / (most - least)

    marks = [_text(across(v), BOTTOM + 16, f"{v:g}") for v in (0.01, 0.1, 1.0, 10.0) if low <= np.log(v) <= high]
    marks += [
        _text(LEFT - 6, up(v) + 4, _thousands(v), "end") for v in 10.0 ** np.arange(-3, 6) if least <= np.log(v) <= most
    ]
    marks.append(_text(LEFT + WIDE / 2, BOTTOM + 32, "features over images"))
    marks.append(_text(LEFT + 6, TOP + 2, f"test risk, {measured}", "start"))
    marks.append(_text(LEFT + 6, TOP + 17, NAMED[1, 0], "start", "lab-which"))
    lines = []
    for (noisy, ridged), line in curves.items():
        named = f'data-noisy="{int(noisy)}" data-ridged="{int(ridged)}"'
        way = _path([across(r) for r in line], [up(v) for v in line.values()])
        lines.append(f'<path class="lab-line{" chosen" * (noisy and not ridged)}" {named} d="{way}"/>')
    edge = f'<path class="lab-needle" d="M{across(1.0):.1f} {TOP}V{BOTTOM}"/>' if low < 0 < high else ""
    return f'{axis}{"".join(marks)}{edge}{"".join(lines)}<circle class="lab-at" cx="-9" cy="-9" r="5"/>'


def _thousands(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _text(x: float, y: float, said: str, anchor: str = "middle", kind: str = "") -> str:
    named = f' class="{kind}"' * bool(kind)
    return f'<text{named} x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(said)}</text>'


def _controls() -> str:
    """Three sliders and what is read off; a page without scripts does not show them."""
    ends = dict(features=(2, MOST, 2), noise=(0, len(NOISES) - 1, 1), ridge=(0, len(RIDGES) - 1, 1))
    words = dict(features="Features", noise="Noise", ridge="Ridge")
    sliders = "".join(
        f'<label>{words[name]} <input type="range" name="{name}" min="{low}" max="{high}" step="{step}" '
        f'value="{START[name]}"> <span class="lab-value" data-of="{name}"></span></label>'
        for name, (low, high, step) in ends.items()
    )
    return f"<form hidden>{sliders}<output></output></form>"
