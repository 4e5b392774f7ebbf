"""What the chapter on double descent says of its tables, and what its figures carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..experiments import RandomFeatures
from . import beneath, claims, descent, evidence, reads
from .descent import ALL, ARMS, CLEAN, FRESH, NEAR, NOISY, OVER_IMAGES, OVER_NK, TO
from .evidence import Evidence
from .page import Page

if TYPE_CHECKING:
    from IPython.display import HTML

COLOURS = {
    CLEAN: "#0072B2", NOISY: "#D55E00", f"{CLEAN}, ridge 1": "#009E73", f"{NOISY}, ridge 1": "#B5508A",
    TO: "#D55E00", FRESH: "#0072B2", ALL: "#009E73", f"{FRESH}, {NOISY}": "#B5508A",
    f"{TO}: decides": "#D55E00",
    "one tree": "#0072B2", "many trees": "#D55E00", "full-grown trees": "#0072B2",
}  # fmt: skip
OF_FEATURES = {
    "test_risk": "test risk",
    "norm": "norm of the solution",
    "train_risk": "training risk",
    "test_error": "test error, %",
}
OF_NETS = {
    "test_risk": "test risk",
    "train_risk": "training risk",
    "test_error": "test error, %",
    "train_error": "training error, %",
}
OF_FORESTS = {"test_risk": "test risk", "test_error": "test error, %"}
FIGURES = {  # name -> what is drawn, in words for who does not see it, along what, on logarithmic axes, of what
    "features": (
        "Fits on random features", "Medians of risks, norm and error by random features over images.", OVER_IMAGES,
        (OVER_IMAGES, "test_risk", "norm"), "fits",
    ),
    "starts": (
        "Nets by parameters over n K", "Risks and errors of nets by size, a line a way to start.", OVER_NK,
        (OVER_NK,), "nets",
    ),
    "noise": (
        "Nets at fresh weights by parameters over n K", "Risks and errors of nets by size, with and without noise.",
        OVER_NK, (OVER_NK,), "nets",
    ),
    "leaves": (
        "Forests by leaves of a tree", "Risk and error by leaves, one tree and many.", "leaves", ("leaves",), "forests",
    ),
    "trees": (
        "Forests by number of full-grown trees", "Risk and error by number of trees.", "trees", ("trees",), "forests",
    ),
}  # fmt: skip
WAYS = ["lowest risk before", "highest at the threshold", "of the widest net", "last net below it to first above"]
NOTHING = "Not run at this size yet."
PAGE = "11_double_descent"
MEDIANS = ("features",)  # figures whose lines are medians: at the threshold one draw may be a hundred times another
# A net of one hidden unit has a weight a pixel already.
ASIDE = "No net here is on the other side of the threshold: smaller images (`-p image_size 8`) have some."


def drawn(page: Page, found: Evidence, name: str) -> dict[str, object]:
    """What a figure of `FIGURES` is drawn by, beside its rows and measures: lines, axes, colours, title, command."""
    words, alt, x, log, of = FIGURES[name]
    what = descent.own(found).data()
    title, file = f"{words}{', ' * bool(what)}{what}", f"{name}-{found.profile}"
    how = dict(by="line", x=x, log=log, of=of, colours=COLOURS, centre="median" if name in MEDIANS else "mean")
    how |= dict(bold=[decided(arm) for arm in decide()]) if name == "starts" else {}
    reads.note(descent.drawn(found, name))
    return how | page.about(file, title=title, alt=alt, found=found)


def decide() -> list[str]:
    """The ways to start, of `descent.ARMS`, that a source's own part of DD2 speaks of."""
    theirs = [part.name for part in claims.load()["DD2"].parts if part.by == "source"]
    return [arm for arm in ARMS if any(name.startswith(f"nets, {arm}: ") for name in theirs)]


def decided(arm: str) -> str:
    """How the figure of all ways to start calls one that decides."""
    return f"{arm}: decides"


def starts(table: pd.DataFrame) -> pd.DataFrame:
    """Of `descent.nets` those on true labels, the line that decides named so."""
    names = {arm: decided(arm) for arm in decide()}
    return table[table.noise == 0].assign(line=lambda rows: rows.line.replace(names))


def toy(found: Evidence, table: pd.DataFrame) -> HTML:
    """Ten points that are fitted as sliders move, and the median test risks of `descent.features` beside them."""
    from IPython.display import HTML

    from ..widgets import descent as widget

    curves = {
        (bool(noise), bool(ridge)): {
            float(f"{r:.4g}"): float(f"{v:.4g}") for r, v in medians(line, "test_risk").items()
        }
        for (noise, ridge), line in table.groupby(["noise", "ridge"])
    }
    images = int(table.images.max()) if len(table) else 0
    measured = f"{descent.own(found).data()}, {images:,} images"
    caption = (
        "Left: the line is the fit, the dashed curve the truth, dots are the points; beyond 3 it is cut off. Right: "
        f"{measured}, median test risk of {table.seed.nunique()} draws, by features over images; the dot is where the "
        f"left picture stands, which ends at {widget.MOST // widget.POINTS} features a point. Noise is there a fifth "
        f"of the labels redrawn, the ridge {table.ridge.max() if len(table) else 1:g}."
    )
    drawn = widget.picture(curves, "How many features are too many?", caption, measured)
    reads.only(found.of(RandomFeatures))
    medians_of = [(*key, ratio, risk) for key, line in curves.items() for ratio, risk in line.items()]
    rows = pd.DataFrame(medians_of, columns=["noise", "ridge", "features_over_images", "median_test_risk"])
    command = f"python -m pruning_lab run {PAGE} --profile {found.profile}"
    return HTML(drawn + beneath.tools(beneath.saved(rows, "toy.csv", PAGE), "toy.csv", command, reads.used()))


def axes(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Of `descent.forests` what the figure of one axis draws: leaves of one and of many trees, or trees."""
    if axis == "trees":
        return table[table.axis == "trees"].assign(line="full-grown trees")
    one = table[(table.axis == "leaves") | ((table.axis == "trees") & (table.trees == 1))].assign(line="one tree")
    return pd.concat([one, table[table.axis == "leaves of many trees"].assign(line="many trees")])


def means(table: pd.DataFrame, column: str) -> pd.Series:
    """The mean over seeds by ratio."""
    return table.groupby("ratio")[column].mean()


def medians(table: pd.DataFrame, column: str) -> pd.Series:
    """The median over seeds by ratio: at the threshold one draw of the features may be a hundred times another."""
    return table.groupby("ratio")[column].median()


def one(risk: pd.Series) -> float:
    """Of numbers by ratio the one at as many features as images, or the nearest to it."""
    return risk.iloc[np.abs(risk.index - 1).argmin()]


def features_read(table: pd.DataFrame) -> str:
    """Where the risk of the clean fits is lowest before the threshold, and what it is at it and at the end."""
    clean = table[(table.ridge == 0) & (table.noise == 0)]
    if clean.empty:
        return NOTHING
    risk, norm = medians(clean, "test_risk"), medians(clean, "norm")
    less = risk[risk.index < 1]
    return (
        f"Medians of the draws, here as in the figure (a single draw may lift a mean): of fewer features "
        "than images the "
        f"test risk is lowest, {less.min():.2f}, at "
        f"{less.idxmin():g} an image; at one an image it is {one(risk):,.0f}, and the norm "
        f"{one(norm) / norm[less.idxmin()]:,.0f} times as large; at {risk.index[-1]:g} an image it is "
        f"{risk.iloc[-1]:.2f}."
    )


def ridge_read(table: pd.DataFrame) -> str:
    """What a ridge leaves of the peak, and what noise makes of it."""
    clean, noisy = ((table.noise == 0), (table.noise > 0))
    plain, ridged = table.ridge == 0, table.ridge > 0
    if not (clean & ridged).any() or not (noisy & plain).any():
        return NOTHING
    at = {name: medians(table[rows], "test_risk") for name, rows in
          (("noisy", noisy & plain), ("ridged", clean & ridged), ("both", noisy & ridged))}  # fmt: skip
    ridge = table.ridge.max()
    return (
        f"With a fifth of the labels redrawn the risk is {one(at['noisy']):,.0f} at the threshold and "
        f"{at['noisy'].iloc[-1]:.2f} at the end. A ridge of {ridge:g} leaves {one(at['ridged']):.2f} at the threshold, "
        f"with redrawn labels {one(at['both']):.2f}."
    )


def course(table: pd.DataFrame) -> tuple[float, float, float] | None:
    """The mean test risk of one arm at its dip, at the threshold and at the end; None of nothing."""
    risk = means(table, "test_risk")
    if risk.empty:
        return None
    near = risk[(risk.index >= NEAR[0]) & (risk.index <= NEAR[1])]
    return risk[risk.index < NEAR[0]].min(), near.max(), risk.iloc[-1]


def ways(table: pd.DataFrame) -> pd.DataFrame:
    """Mean test risk of nets on true labels, a row a way to start: the lowest before the threshold, the highest at it,
    that of the widest, and the step over the threshold itself.
    """
    rows = []
    for arm in ARMS:
        line = table[(table.arm == arm) & (table.noise == 0)]
        if found := course(line):
            told = ["–" if np.isnan(risk) else f"{risk:.2f}" for risk in found]
            step = _step(line)
            rows.append([arm, *told, f"{step[0]:.2f} to {step[1]:.2f}" if step else "–"])
    return evidence.plain(pd.DataFrame(rows, columns=["way to start", *WAYS]))


def _step(line: pd.DataFrame) -> tuple[float, float] | None:
    """The mean test risk of the largest net of at most n K parameters, and of the next; None: all are on one side."""
    risk = means(line, "test_risk")
    below, above = risk[risk.index <= 1], risk[risk.index > 1]
    return (below.iloc[-1], above.iloc[0]) if len(below) and len(above) else None


def cliff_read(table: pd.DataFrame) -> str:
    """At which way to start the risk moves most from the largest net of at most n K parameters to the next."""
    lines = {arm: table[(table.arm == arm) & (table.noise == 0)] for arm in ARMS}
    if any(line.empty for line in lines.values()):
        return NOTHING
    found = {arm: _step(line) for arm, line in lines.items()}
    if not all(found.values()):
        return ASIDE
    steps = {arm: np.divide(*step[::-1]) for arm, step in found.items()}
    most = max(steps, key=lambda arm: abs(np.log(steps[arm])))
    others = " and ".join(f"{steps[arm]:.2f}" for arm in ARMS if arm != most)
    return (
        f"Over the threshold itself the mean risk moves most with {most}: the first net above has {steps[most]:.2f} "
        f"times that of the last below. With the other two ways it has {others} times."
    )


def noise_read(table: pd.DataFrame) -> str:
    """The same of nets at fresh weights where labels are redrawn, and in how many seeds those past n K fit them."""
    noisy = table[(table.arm == FRESH) & (table.noise > 0)]
    if noisy.empty:
        return NOTHING
    seeds = noisy.seed.nunique()
    fit, (dip, peak, end) = seeds - len(descent.unfitted(noisy)), course(noisy)
    if np.isnan(dip + peak):
        return ASIDE
    return (
        f"Where a fifth of the labels is redrawn the mean test risk is {dip:.2f} before, {peak:.2f} at the threshold, "
        f"{end:.2f} at the end; in {fit} of {seeds} seeds "
        "every net of more than n K parameters fits its images."
    )


def forests_read(table: pd.DataFrame) -> str:
    """The best small tree, the full-grown one, the forest, and what leaves do to a forest."""
    if table.empty:
        return NOTHING
    risk = table.groupby(["axis", "full", "leaves", "trees"]).test_risk.mean()
    few, many = risk["leaves"], risk["trees"]
    broad = risk["leaves of many trees"]
    best = few.idxmin()
    return (
        f"One tree has its lowest test risk, {few.min():.2f}, at {best[1]:g} leaves, and {many.iloc[0]:.2f} where it "
        f"is full-grown; {many.index[-1][2]} such trees have {many.iloc[-1]:.2f}. With that many trees the risk goes "
        f"from {broad.iloc[0]:.2f} to {broad.iloc[-1]:.2f} as leaves are added, and is lowest at "
        f"{broad.idxmin()[1]:g} leaves a tree."
    )


def errors_read(table: pd.DataFrame) -> str:
    """From where on nets at fresh weights make no error in training, and what their test error does from there."""
    rows = table[(table.arm == FRESH) & (table.noise == 0)]
    if rows.empty:
        return NOTHING
    train, test = means(rows, "train_error"), means(rows, "test_error")
    zero = train.index[train == 0]
    if not len(zero):
        return "At no size do all nets fit every training image."
    return (
        f"From {zero[0]:.2g} n K parameters on no net makes an error in training; from there to {test.index[-1]:.2g} "
        f"n K the mean test error goes from {test[zero[0]]:.1f} to {test.iloc[-1]:.1f} %."
    )


def sentences(fits: pd.DataFrame, nets: pd.DataFrame, forests: pd.DataFrame) -> dict[str, str]:
    """What the page says of its tables, by the names that its prose has for it."""
    return dict(
        features_read=features_read(fits), ridge_read=ridge_read(fits), forests_read=forests_read(forests),
        cliff_read=cliff_read(nets), noise_read=noise_read(nets),
        errors_read=errors_read(nets),
    )  # fmt: skip


def numbers(fits: pd.DataFrame, nets: pd.DataFrame) -> dict[str, str]:
    """What the answer's sentences ask for: how often an image the most features are, and points of test error."""
    clean = fits[(fits.ridge == 0) & (fits.noise == 0)]
    most = clean.ratio.max() if len(clean) else np.nan
    fallen, _ = descent.past_zero(nets[(nets.arm == FRESH) & (nets.noise == 0)])
    return dict(most=f"{most:g}", points=f"{abs(fallen.mean()):.1f}")
