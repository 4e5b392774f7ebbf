"""Which records a page shows, and how it names them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import pandas as pd

from ..records.experiment import Experiment, flat, lineage
from ..records.store import Record, find, gather
from ..running import chapters
from ..running.lines import ENOUGH, line
from ..running.prose import HANDED
from .numbers import counted

REFERENCES = chapters.FOLDER / "reference_numbers.yml"
SPELLED = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
SMALLEST_FIRST = ("night", "gpu", "paper")
EXPLAINED = {  # kind of a note -> what a reader may make of it
    "parent": ": a parent's weights are not published, so that another machine trains it again, and rounds otherwise"
}


@dataclass(frozen=True)
class Evidence:
    """The stored experiments of one profile; `missing` names the nets of lines with fewer seeds than asked for."""

    profile: str
    experiments: tuple[Experiment, ...]
    missing: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.experiments)

    def table(self, kind: type[Experiment], **settings: Any) -> pd.DataFrame:
        """Rows of the experiments of one class whose settings (fields, by their flat names) are those given."""
        return gather(self.of(kind, **settings))

    def of(self, kind: type[Experiment], **settings: Any) -> list[Experiment]:
        """The experiments of one class whose settings are those given."""
        wanted = settings.items()
        return [e for e in self.experiments if type(e) is kind and all(_flat(e).get(k) == v for k, v in wanted)]

    def data(self, model: str | None = None) -> str:
        """The data that the nets of one model, or of all, were trained on (Gaussian twins aside), as makers write it;
        "and" between.
        """
        names = {s["dataset"].removeprefix("gaussian:") for e in self.experiments
                 if "dataset" in (s := _flat(e)) and model in (None, s.get("model"))}  # fmt: skip
        return " and ".join(sorted(SPELLED.get(name, name) for name in names))

    def apart(self, sizes: Mapping[str, str], model: str | None = None, source: str = "CIFAR-10") -> str:
        """What sets this run apart from the source's own, for `verdicts.judge(on=...)`: other data, a smaller size.

        Empty if nothing does.

        sizes: profile -> the words for its size, "" for the source's; a profile that is not named is "small nets".
        """
        data = self.data(model)
        other = "" if data == source else data
        return (
            other
            if other and self.profile not in sizes
            else ", ".join(filter(None, (other, sizes.get(self.profile, "small nets"))))
        )

    def records(self) -> list[Record]:
        """The records, as far as they are stored."""
        return [r for e in self.experiments if (r := find(e)) is not None]

    def few(self) -> str:
        """Which lines have fewer than three nets, in a sentence."""
        return (
            f"Fewer than three nets: {', '.join(self.missing)}."
            if self.missing
            else "Every line has at least three nets."
        )

    def origin(self) -> str:
        """Where the numbers come from, in one line: profile, devices, dates, and what differs from today."""
        records = self.records()
        devices = sorted({f"{r.meta['device']['name']} ({r.meta['device']['type'].upper()})" for r in records})
        days = sorted({r.meta["time"][:10] for r in records})
        lossy = {name: d["lossy"] for r in records for name, d in r.meta["data"].items() if d["lossy"]}
        parts = [
            f"profile {self.profile}",
            " and ".join(devices),
            " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        ]
        parts += [f"{name}: {n} images are JPEG copies" for name, n in sorted(lossy.items())]
        marks = [note for r in records for note in r.notes if note.kind in ("code", "parent", "data")]
        notes = Counter(note.words + EXPLAINED.get(note.kind, "") for note in marks)
        parts += [f"{n} of {len(records)} records {words}" for words, n in sorted(notes.items())]
        return "; ".join(p for p in parts if p)


def largest(plans: Mapping[str, Sequence[Experiment]], least: int = ENOUGH) -> Evidence:
    """The stored part of the profile whose lines all have at least `least` seeds; of several the one with most records.

    Where none is whole, the one with the most whole lines. Of profiles with the same records stored the smallest, and
    of others that are equal the largest.
    """
    best, rank = Evidence("none", (), ()), None
    for profile in SMALLEST_FIRST:
        plan = list(dict.fromkeys(plans.get(profile, ())))
        found = stored(profile, plan, least)
        whole = sum(n >= least for n in Counter(map(line, found.experiments)).values())
        order = (not found.missing, whole if found.missing else 0, len(found.experiments), -len(plan))
        other = set(found.experiments) != set(best.experiments)
        if found and (rank is None or order > rank or (order == rank and other)):
            best, rank = found, order
    return best


def stored(profile: str, plan: Sequence[Experiment], least: int = ENOUGH) -> Evidence:
    """What of a plan is stored, and what has fewer than `least` seeds: a net, or else what is measured on it."""
    have = tuple(e for e in dict.fromkeys(plan) if find(e) is not None)
    planned = {line(e): e for e in plan}
    names = _names(dict.fromkeys(e for one in planned.values() for e in (one, _net(one))))
    counts = Counter(map(line, have))
    nets = Counter(line(net) for net in {_net(e) for e in have})
    short = []
    for name, e in planned.items():
        if nets[line(_net(e))] < least:
            short.append(f"{names[_net(e)]}: {nets[line(_net(e))]} of {least}")
        elif counts[name] < least:
            short.append(f"{names[e]}: {counts[name]} of {least}")
    return Evidence(profile, have, tuple(dict.fromkeys(short)))


@lru_cache(maxsize=65_536)
def _flat(e: Experiment) -> dict[str, Any]:
    """The settings of an experiment, kept: a page asks for the same ones at every figure. Not to be changed."""
    return flat(e)


def _net(e: Experiment) -> Experiment:
    while not e.is_net and e.made_of():
        e = e.made_of()[0]
    return e


def _names(experiments: Iterable[Experiment]) -> dict[Experiment, str]:
    """The label of each, with the settings that tell it from others of the same label."""
    several: dict[str, list[Experiment]] = {}
    for e in experiments:
        several.setdefault(_label(e), []).append(e)
    names = {}
    for label, alike in several.items():
        told = [{k: v for k, v in _flat(e).items() if k.rpartition(".")[2] != "seed"} for e in alike]
        vary = [k for k in dict.fromkeys(k for t in told for k in t) if len({repr(t.get(k)) for t in told}) > 1]
        for e, t in zip(alike, told, strict=True):
            own = ", ".join(k.rpartition(".")[2] + f" {t.get(k)}" for k in vary)
            names[e] = f"{label} ({own})" if own else label
    return names


def _label(e: Experiment) -> str:
    """The readable part of a key without its seed, and the width that it leaves out."""
    width = _flat(e).get("width")
    return re.sub(r"-s\d+(?=-|$)", "", e.label()) + (f" ({width} wide)" if width else "")


def glue(**numbers: Any) -> None:
    """Hand numbers and words to the page's prose (`{glue:text}`) under their names.

    As `myst_nb.glue` hands them on; to import that takes each kernel some seconds for the notebook format's schemas.
    """
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    for name, value in numbers.items():
        said, more = format_display_data(value.item() if hasattr(value, "item") else value)
        handed = {"scrapbook": {"name": name, "mime_prefix": HANDED}}
        display({HANDED + kind: text for kind, text in said.items()}, raw=True, metadata=more | handed)


def costs(plans: Mapping[str, Sequence[Experiment]]) -> pd.DataFrame:
    """What each profile takes: records, how many are stored here, nets among them, and the time that those took."""
    rows = []
    for profile, plan in plans.items():
        wanted = [e for e in lineage(plan) if e.published]
        records = [r for e in wanted if (r := find(e)) is not None]
        minutes = sum(r.meta["seconds"] for r in records) / 60
        on = " and ".join(
            sorted(
                {f"{r.meta['device']['name']}, {counted(r.meta['device']['threads'], 'CPU thread')}" for r in records}
            )
        )
        rows.append({"profile": profile, "nets": sum(e.is_net for e in wanted), "records": len(wanted),
                     "stored": len(records), "minutes those took": round(minutes, 1), "on": on})  # fmt: skip
    return pd.DataFrame(rows)


def hours(found: Evidence) -> float | None:
    """What a run took, shared out over its seeds; None of nothing."""
    records = [r for e in lineage(found.experiments) if e.published and (r := find(e)) is not None]
    # a net that begins where another ended may have no seed but that one's
    seeds = {e.seed for e in lineage(found.experiments) if e.is_net and hasattr(e, "seed")}
    return sum(r.meta["seconds"] for r in records) / 3600 / len(seeds) if records and seeds else None


def reference(name: str) -> dict[str, Any]:
    """Numbers that somebody else published, from `book/reference_numbers.yml`. ValueError: the book is not here."""
    import yaml

    chapters.folder("the list of published numbers")
    return yaml.safe_load(REFERENCES.read_text(encoding="utf-8"))[name]


def plain(table: pd.DataFrame, number: str = "{:g}"):
    """A table for the page, without its index; `number` is the format of numbers. All else is text, not markup."""
    numbers = table.select_dtypes("number").columns
    named = table.rename_axis(columns=[None if name is None else _text(name) for name in table.columns.names])
    return (
        named.style.hide(axis="index")
        .format(_text, subset=named.columns.difference(numbers, sort=False))
        .format(number, subset=numbers)
        .format_index(_text, axis="columns")
        .set_table_attributes('class="dataframe"')
    )


def _text(value: Any) -> str:
    """A cell or a header as HTML that shows it letter by letter; floats beside words as pandas shows them."""
    return f"{value:.6f}" if isinstance(value, float) else escape(str(value))
