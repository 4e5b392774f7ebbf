"""Numbers that the sources and others print, one by one beside ours: agrees, differs by so much, or not comparable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..experiments import MaskedTraining, UnitCurve
from ..nets import models
from ..running import chapters
from . import evidence, large, standing, units
from .evidence import Evidence, reference
from .numbers import counted
from .standing import WORDS
from .told import Told
from .verdicts import FEWEST, interval

if TYPE_CHECKING:
    from IPython.display import HTML

WIDE = "too wide to tell"
HEAD = ("what", "published", "ours", "so it")

ORDERS = {"max_mag": "norm, lowest first", "min_mag": "norm, highest first", "max_fp": "share, lowest first",
          "min_fp": "share, highest first", "random": "random"}  # fmt: skip
MASKS = {  # the source's names -> criterion and which of the ranked weights stay
    "none": ("dense", ""), "random_10": ("random", ""),
    "magnitude_best": ("magnitude", "best"), "magnitude_worst": ("magnitude", "worst"),
    "coherence_best": ("diff", "best"), "coherence_worst": ("diff", "worst"),
}  # fmt: skip
TABLES = {  # entry -> model here, table by ranking
    "yauney_resnet50": ("resnet", {"global": "table 6.1", "local": "table 6.5"}),
    "yauney_vit": ("vit", {"global": "table 6.2", "local": "table 6.6"}),
}
LATER = {  # entries whose chapters are to come, or whose nets no run here has
    "lottery_recipes": ("Frankle and Carbin, recipes", "lottery_ticket"),
    "synflow_vgg16_bn_cifar10": ("Tanaka et al., VGG16 by compression", "pruning_at_init"),
    "resnet50_cifar10_95_percent_removed": ("ResNet50 at density 0.05", "pruning_at_init"),
    "intrinsic_dimension_mnist": ("Li et al., intrinsic dimension", "intrinsic_dimension"),
}
OTHERS = {  # entries of nets that are trained here only narrow, or on other images
    "heitmann_update_rank10": (
        "Heitmann, table of the projected update; it projects Conv-2 on CIFAR-10 on ten directions, chapter 10 "
        "fully-connected nets on MNIST on powers of two"
    ),
    "resnet50_cifar10_dense": "ResNet50 on CIFAR-10, 160 epochs with augmentation; ours are narrow, without it",
    "vit_patch4_cifar10": "a transformer of patches of 4, long, with RandAugment; ours are shorter, without",
}
WIDEST, SHARE = 10.0, 0.2  # of an interval in points, and over the printed number, to say of it that they agree
SAID = {"heitmann_disagreements", "null_values"}  # no numbers of nets: what differs, and what is derived
DEFAULT = dict(init="default", scale="unit", shuffle=True, keep="last")


@dataclass(frozen=True)
class Row:
    """A published number beside one number a net of ours, in one unit; within `tolerance` they agree.

    apart: what sets our nets apart from theirs, "" if nothing does. count: it is counted, not measured.
    """

    where: str
    what: str
    theirs: float
    ours: Sequence[float]
    unit: str = "%"
    tolerance: float = 0.0
    apart: str = ""
    count: bool = False

    def outcome(self) -> str:
        """agrees; too wide to tell: ...; differs by ...; not comparable: ...; not run."""
        if self.apart:
            return f"not comparable: {self.apart}"
        if not len(self.ours):
            return "not run"
        mean, low, high = interval(self.ours)
        inside = len(self.ours) >= FEWEST and low <= self.theirs <= high
        if inside or abs(mean - self.theirs) <= self.tolerance:
            wide = self.unit == "%" and min(WIDEST, SHARE * self.theirs) < high - low < np.inf
            return f"{WIDE}: an interval of {high - low:.1f} points" if wide else "agrees"
        return f"differs by {mean - self.theirs:+.1f} {'points' if self.unit == '%' else self.unit}"


def rows(told: Mapping[str, Told], units_found: Evidence, masks_found: Evidence) -> list[Row]:
    """All published numbers. told: verdicts of chapters, which say what their nets are; the others: the largest runs of
    chapters 1 and 8.
    """
    return [*heights(units_found), *dense(units_found), *sizes(), *facts(told), *tables(told, masks_found)]


def shown(number: str, profile: str, kind: type) -> Evidence:
    """The largest published run of a chapter, else what is stored of this profile, by what counts there."""
    path = chapters.chapter(number)
    plans = {one: [e for e in chapters.plan(path, one) if isinstance(e, kind)] for one in evidence.SMALLEST_FIRST}
    return evidence.largest(plans) or evidence.stored(profile, chapters.plan(path, profile))


def heights(found: Evidence) -> Iterator[Row]:
    """Figure 2a: accuracy after so many of LeNet's first units went, by order."""
    read = reference("heitmann_lenet_fc1")
    table, apart = units.curves(found, "lenet_300_100", "fc1"), _apart(found, "lenet_300_100", "MNIST")
    for name, points in read["accuracy_after_removing"].items():
        criterion, remove = units.THEIRS[name]
        line = table[(table.criterion == criterion) & (table["remove"] == remove)] if len(table) else table
        for removed, height in points.items():
            at = line[line.removed == removed] if len(line) else line
            ours = 100 * at.groupby("seed").accuracy.mean() if len(at) else []
            what = f"LeNet fc1, {ORDERS[name]}, {removed} removed"
            yield Row("Heitmann, figure 2a", what, height, list(ours), "%", read["read"], apart)


def dense(found: Evidence) -> Iterator[Row]:
    """Accuracies of whole nets."""
    lenet, conv = reference("lenet_dense"), reference("heitmann_update_rank10")["conv2"]
    figure = reference("heitmann_lenet_fc1")
    for where, model, data, theirs, tolerance in (
        ("Heitmann, figure 2a", "lenet_300_100", "MNIST", figure["dense"], figure["read"]),
        ("a reproduction of Frankle and Carbin", "lenet_300_100", "MNIST", lenet["value"], lenet["tolerance"]),
        ("Heitmann, table of the projected update", "conv_2", "CIFAR-10", conv["dense"], 0.0),
    ):
        whole = found.table(UnitCurve, model=model, layer="fc1", **DEFAULT)
        ours = 100 * whole[whole.removed == 0].groupby("seed").accuracy.mean() if len(whole) else []
        yield Row(where, f"{units.NAMES[model]}, whole", theirs, list(ours), "%", tolerance, _apart(found, model, data))


def _apart(found: Evidence, model: str, theirs: str) -> str:
    data = found.data(model)
    return "" if data in (theirs, "") else f"ours see {data}"


def sizes() -> Iterator[Row]:
    """How many weights nets have: printed, and counted in the nets that are built here."""
    for name, printed in reference("heitmann_sizes")["weights"].items():
        number, scale = float(printed[:-1]), {"K": 1e3, "M": 1e6}[printed[-1]]
        shape = (1, 28, 28) if name == "lenet_300_100" else (3, 32, 32)
        ours = models.weight_count(models.build(name, shape)) / scale
        last = 10 ** -len(printed[:-1].partition(".")[2])  # of the digits that are printed
        unit = "thousand weights" if scale == 1e3 else "million weights"
        yield Row("Heitmann, table in figure 1", f"weights of {name}", number, [ours], unit, last, count=True)
    fact = reference("yauney_facts")["child_of_fixed_size"]
    ours = models.weight_count(models.build("mlp", (3, 32, 32), width=fact["width"])) / 1e6
    what = f"weights of a fully-connected net, {fact['width']} wide"
    yield Row(f"Yauney, {fact['where']}", what, float(fact["weights"][:-1]), [ours], "million weights", 0.1,
              count=True)  # fmt: skip


def facts(told: Mapping[str, Told]) -> Iterator[Row]:
    """Widths and sizes in Yauney's text that only nets as large as his could show."""
    read = reference("yauney_facts")
    level, best = read["gap_levels_off"], read["best_parent"]
    yield Row(f"Yauney, {level['where']}", "width at which the gap levels off", level["width"], [], "units a layer", 0,
              _on(told, "05"))  # fmt: skip
    for name, number in (("of_a_tenth", "06"), ("of_a_fixed_child_from", "07"), ("of_a_fixed_child_to", "07")):
        what = f"best parent {name.replace('_', ' ')}"
        yield Row(f"Yauney, {best['where']}", what, best[name], [], "million weights", 0, _on(told, number))


def _on(told: Mapping[str, Told], number: str) -> str:
    """What sets the nets of a chapter apart from the source's, as it says itself; "" where nothing does."""
    heard = next((one for stem, one in told.items() if stem.startswith(number)), None)
    return heard.judged.on.iloc[0] if heard else f"chapter {int(number)} was not executed in this build"


def tables(told: Mapping[str, Told], found: Evidence) -> Iterator[Row]:
    """Yauney's tables of chapter 6: test accuracy by net, ranking and mask."""
    apart, plan = _on(told, "08"), [e for e in found.experiments if isinstance(e, MaskedTraining)]
    nets = large.nets(plan) if plan else pd.DataFrame(columns=[*large.NET, "test"])
    for entry, (model, where) in TABLES.items():
        for ranking, place in where.items():
            for name, share in reference(entry)[f"{ranking}_10"].items():
                ours = _under(nets, model, ranking, *MASKS[name])
                what = f"{'ViT' if model == 'vit' else 'ResNet50'}, {ranking}: {name}"
                yield Row(f"Yauney, {place}", what, 100 * share, ours, "%", 1.0, apart)


def _under(nets: pd.DataFrame, model: str, ranking: str, criterion: str, end: str) -> list[float]:
    """Test accuracies in % of the nets of a model under one mask, as the source has it."""
    kind = ("", "dense", "") if criterion == "dense" else (ranking, criterion, end)
    alike = nets[nets.model.str.startswith(model) & (nets.variant == "")]
    for column, value in zip(large.KIND, kind, strict=True):
        alike = alike[alike[column] == value]
    return alike.test.dropna().tolist()


def table(found: Iterable[Row]) -> HTML:
    """The rows as a page shows them: under each place of a source what is printed, what is ours, and how they agree."""
    from IPython.display import HTML

    body = []
    for where, those in groupby(found, key=lambda row: row.where):
        head = f'<tr class="lab-chapter"><th scope="rowgroup" colspan="{len(HEAD)}">{escape(where)}</th></tr>'
        body.append(f"<tbody>{head}{''.join(map(_line, those))}</tbody>")
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    return HTML(f'<table class="lab-board lab-numbers"><thead><tr>{head}</tr></thead>{"".join(body)}</table>')


def _line(row: Row) -> str:
    said = row.outcome()
    word = {"agrees": "holds", "differs": "fails", "too": "open"}.get(said.partition(" ")[0], "not run")
    cells = [f"{row.theirs:,.4g} {row.unit}", _ours(row), said]
    glyph = f'<span class="lab-glyph" data-word="{word}" aria-hidden="true">{WORDS[word][0]}</span> '
    shown = [escape(cells[0]), escape(cells[1]), glyph + escape(cells[2])]
    labels = [f' data-label="{name}"' if cell else "" for name, cell in zip(HEAD[1:3], shown, strict=False)] + [""]
    filled = "".join(f"<td{label}>{cell}</td>" for label, cell in zip(labels, shown, strict=True))
    return f'<tr><th scope="row">{escape(row.what)}</th>{filled}</tr>'


def _ours(row: Row) -> str:
    if not len(row.ours):
        return ""
    if row.unit != "%":
        return f"{row.ours[0]:,.4g} {row.unit}"
    mean, low, high = interval(row.ours)
    ends = f" ({max(low, 0):.1f} to {min(high, 100):.1f})" if np.isfinite(low) else ""  # a share has no more
    return f"{mean:.1f} %{ends}, {counted(len(row.ours), 'net')}"


def later() -> pd.DataFrame:
    """Published numbers that have none of ours beside them, and why."""
    titles = standing.titles()
    reasons = {name: (what, f"its chapter, {titles[chapter]}, is to come")
               for name, (what, chapter) in LATER.items()}  # fmt: skip
    reasons |= {name: (what.partition(";")[0], what.partition("; ")[2]) for name, what in OTHERS.items()}
    return pd.DataFrame([{"published": what, "not comparable because": why} for what, why in reasons.values()])


def tally(found: Sequence[Row]) -> str:
    """How many measurements, and apart from them counts, agree, differ and cannot be compared, in a sentence each."""
    kinds = {"measurements": False, "counts of weights": True}
    return " ".join(filter(None, (_tally(name, [r for r in found if r.count is of]) for name, of in kinds.items())))


def _tally(name: str, found: Sequence[Row]) -> str:
    heads = [row.outcome().partition(" by")[0].partition(":")[0] for row in found]
    words = {"agrees": "agree", "differs": "differ", WIDE: f"are {WIDE}", "not comparable": "cannot be compared",
             "not run": "were not run"}  # fmt: skip
    counts = [f"{heads.count(head)} {said}" for head, said in words.items() if heads.count(head)]
    return f"Of {len(heads)} printed {name} {', '.join(counts)}." if heads else ""


def _points(count: float) -> str:
    return f"{count:g} point" + "s" * (count != 1)


def rules(found: Iterable[Row]) -> dict[str, str]:
    """What the page says of its words: how near a mean has to lie by place, and how wide an interval may be."""
    near: dict[float, dict[str, None]] = {}  # tolerance -> places, each once
    for row in found:
        if row.tolerance and row.unit == "%":
            near.setdefault(row.tolerance, {})[row.where] = None
    within = "; ".join(f"{_points(tolerance)} ({', '.join(places)})" for tolerance, places in near.items())
    return dict(within=within, widest=f"{WIDEST:g} points", share=f"{100 * SHARE:g} %")
