"""What the page on large networks says, from its tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from pandas import DataFrame

from ..metrics import rank_correlation
from .evidence import reference
from .large import GLOBAL, NAMES, level, lost, of_kind
from .large_claims import BEST_DIFF, resnet_statements, vit_statements
from .large_views import best_minus_worst, choices, from_dense
from .numbers import side, spoken
from .page import Page
from .why import why

LEARNING = {  # has any masked transformer learnt its images?
    True: "the best of them has",
    False: "none of the masks has got there: this compares how fast they learn",
}
NOT_RUN = "Not run at this size yet."
VOTES = ("LN3", "ViT, local: diff, best minus magnitude, best")
REASONS = {
    "collapse": ("LN1", "ResNet50: 50 % minus diff, best"),
    "random": ("LN1", "ResNet50: random minus dense"),
    "votes": VOTES,
}


def sentences(
    page: Page, nets: DataFrame, layers: DataFrame, epochs: DataFrame, resnet: str, vit: str
) -> dict[str, str]:
    """What the page says of a ResNet50 and the transformer, by the names that its prose has for it."""
    both, said = (resnet, vit), pd.concat([resnet_statements(nets, layers, resnet), vit_statements(nets)])
    return dict(
        noise_read=noise(), readings_read=tally(said),
        resnet_read=ends(nets, resnet), vit_read=f"{ends(nets, vit)} {fit(nets)}",
        resnet_layers=thinned(layers, resnet), vit_layers=thinned(layers, vit), dense_read=sides(nets, both),
        inverse_read=inverses(nets, both), epochs_read=gaps(epochs),
        oq7_read=responses(nets, layers, both), rate_read=varied(page, nets, both), lost_read=failures(nets, resnet),
    )  # fmt: skip


def numbers(judged: DataFrame, nets: DataFrame, resnet: str) -> dict[str, str]:
    """What the answer's sentences ask for: the best-diff ResNet's test accuracy, votes against size, and reasons."""
    votes = judged[(judged.claim == VOTES[0]) & (judged.part == VOTES[1])].iloc[0]
    reasons = {f"why_{name}": why(judged, *part) for name, part in REASONS.items()}
    diff = level(nets, resnet, BEST_DIFF).mean()
    return dict(votes=f"{abs(votes['mean']):.0f}", nets=str(votes.n), diff=f"{diff:.0f}") | reasons


def noise() -> str:
    """By how much two dense nets of the source differ."""
    both = reference("yauney_resnet50"), reference("yauney_vit")
    resnet, vit = (100 * abs(theirs["local_10"]["none"] - theirs["global_10"]["none"]) for theirs in both)
    return f"its two ResNet50s differ by {resnet:.1f} points and its two transformers by {vit:.1f}, so much is noise"


def _means(nets: DataFrame, model: str, column: str) -> pd.Series:
    """Means over the usual nets of a model, by label."""
    return nets[(nets.model == model) & (nets.variant == "")].groupby("label")[column].mean().dropna()


def ends(nets: DataFrame, model: str) -> str:
    """Where dense nets and the lowest and highest mask end."""
    means = _means(nets, model, "test")
    if "dense" not in means or len(means) < 2:
        return f"The {NAMES[model]} has not been run at this size."
    under = means.drop("dense").sort_values()
    low, high = (f"{mean:.1f} % ({label})" for label, mean in (*under.head(1).items(), *under.tail(1).items()))
    return f"Dense, {NAMES[model]} ends at {means['dense']:.1f} %; under masks from {low} to {high}."


def fit(nets: DataFrame) -> str:
    """Have the masked transformers learnt their images?"""
    best = _means(nets, "vit", "train").drop("dense", errors="ignore").max()
    told = f"In the end the training accuracy of its masked nets is at most {best:.0f} %; {LEARNING[best >= 90]}."
    return told if best == best else ""


def thinned(layers: DataFrame, model: str) -> str:
    """Which layers the best-diff mask thins most and least, and whether a mask mirrors its inverse."""
    best = of_kind(layers, model, BEST_DIFF)
    if best.empty:
        return NOT_RUN
    floored, means = best.groupby("seed").floored.sum().mean(), best.groupby("depth").density.mean()
    magnitude, diff = (mirrored(layers, model, criterion) for criterion in ("magnitude", "diff"))
    return (
        f"Under the best-diff mask layers keep from {means.min():.1f} % (layer {means.idxmin()}) to {means.max():.1f} "
        f"% (layer {means.idxmax()}); on average {floored:.1f} of {len(means)} sit on the floor. Are layers thick "
        f"under a mask thin under its inverse? The rank correlation of the two densities is {magnitude:+.2f} for "
        f"magnitude and {diff:+.2f} for diff."
    )


def responses(nets: DataFrame, layers: DataFrame, models: Iterable[str]) -> str:
    """How far apart each kind of net ends under the global masks, and whether accuracy goes with its thinnest layer."""
    told = []
    for model in models:
        thin = {kind: of_kind(layers, model, kind).groupby("seed").density.min().mean() for kind in GLOBAL}
        test = {kind: level(nets, model, kind).mean() for kind in GLOBAL}
        both = DataFrame(dict(test=test, thin=thin), dtype=float).dropna()
        if len(both) > 2:
            rank = rank_correlation(both.test.to_numpy(), both.thin.to_numpy())
            said = "one of them is the same for all" if np.isnan(rank) else f"{rank:+.2f}"
            told.append(f"{NAMES[model]} ends up to {np.ptp(both.test):.1f} points apart ({said})")
    begin = "By global mask (in brackets the rank correlation of accuracy with what the thinnest layer keeps):"
    return f"{begin} {'; '.join(told)}." if told else NOT_RUN


def mirrored(layers: DataFrame, model: str, criterion: str) -> float:
    """Rank correlation of layer densities under a global mask and its inverse, mean over nets (NaN: none has both)."""
    best, worst = (of_kind(layers, model, ("global", criterion, end)) for end in ("best", "worst"))
    both = best.merge(worst, on=["seed", "depth"]).groupby("seed")
    return float(np.mean([part.density_x.corr(part.density_y, "spearman") for _, part in both] or [np.nan]))


def sides(nets: DataFrame, models: Iterable[str]) -> str:
    """How many masks end surely below and above dense."""
    found = [side(values, 2) for model in models for values in from_dense(nets, model)["values"]]
    told = f"{found.count('below')} end below dense and {found.count('above')} above it"
    return f"Of {len(found)} masks on both kinds of net, {told}, with an interval that excludes zero."


def _sure(rows: DataFrame) -> tuple[int, str]:
    """Of rows of differences: how many intervals exclude zero, and which do, in brackets."""
    pairs = zip(rows.label, rows["values"], strict=True)
    said = [f"{label}: {spoken(values)} points" for label, values in pairs if side(values, 2) in ("above", "below")]
    return len(said), f" ({'; '.join(said)})" if said else ""


def inverses(nets: DataFrame, models: Iterable[str]) -> str:
    """Which masks differ surely from their inverses."""
    rows = best_minus_worst(nets, models)
    count, which = _sure(rows)
    return f"Intervals that exclude zero: {count} of {len(rows)}{which}." if len(rows) else NOT_RUN


def _theirs(mask: str) -> tuple[float, float]:
    """Training and test accuracy of the source's ResNet50 under a global mask, in %."""
    theirs = reference("yauney_resnet50")
    return 100 * theirs["train_global_10"][mask], 100 * theirs["global_10"][mask]


def gaps(epochs: DataFrame) -> str:
    """How far training accuracy is above test accuracy, over all children of ResNet50s, beside a net of the source."""
    part = epochs[epochs.model != "vit"]
    if part.empty:
        return NOT_RUN
    means = (100 * (part.train_accuracy - part.test_accuracy)).groupby(part.epoch).mean()
    train, test = _theirs("coherence_best")
    return (
        f"Averaged over all children of ResNet50, training accuracy is {means.max():.1f} points above test accuracy in "
        f"epoch {means.idxmax()} and {means.iloc[-1]:.1f} in the last. The source's best-diff ResNet50 ends at "
        f"{train:.1f} % on training images and {test:.1f} % on test ones."
    )


def tally(statements: DataFrame) -> str:
    """How many statements are borne out by nets in the regime of the claims."""
    yes, no = ((statements["borne out"] == word).sum() for word in ("yes", "no"))
    if not yes + no:
        return f"Which of them is right our nets cannot say yet: none of {len(statements)} statements is decided."
    return (
        f"Of {len(statements)} single statements there our nets find {yes} true and {no} false; of the rest they "
        "cannot tell."
    )


def varied(page: Page, nets: DataFrame, models: Iterable[str]) -> str:
    """Which other choices surely matter, and how many nets of this build have no record."""
    rows, planned = choices(nets, models), page.plan(page.profile)
    count, which = _sure(rows.assign(label=rows.label.str.replace("; ", ", ")))
    missing = f"Of this build's {len(planned)} nets {len(planned) - len(page.own.experiments)} have no record."
    if rows.empty:
        return f"No other choice has been run at this size yet. {missing}"
    return f"Of {len(rows)} other choices {count} have an interval that excludes zero{which}. {missing}"


def failures(nets: DataFrame, model: str) -> str:
    """How many nets of a ResNet50 never learnt, and how many of those learn at rate 0.1."""
    failed, (train, test) = lost(nets, model), _theirs("coherence_worst")
    own = nets[(nets.model == model) & (nets.variant == "")]
    if failed.empty:
        return f"Of {own.train.notna().sum()} nets there is none."
    unstarved, tried = (failed.ranking == "local").sum(), failed.again.notna().sum()
    return (
        f"Of {len(own)} nets there are {len(failed)}, in the table; {unstarved} had a local mask and so no starved "
        f"layer. Of {tried} tried at rate 0.1 {failed.learns.eq(True).sum()} learn. The source's worst-diff ResNet50 "
        f"has {train:.1f} % on its training images and {test:.1f} % on test ones: it never learnt either. One net "
        "cannot tell a bad mask from a bad start."
    )
