"""All published records on one page: a row each, with what filters and sorts them, and the whole table to download."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..records import record
from ..running import register, verify
from .evidence import SPELLED
from .numbers import counted
from .units import NAMES

if TYPE_CHECKING:
    from IPython.display import HTML

HEAD = ("record", "seed", "computed on", "time, memory", "made", "state")
FOLDED = {"data_digests": "Data", "chapters": "In chapters", "library": "Source of the library"}
STATES = ("current", "certified", "unverified", register.OLDER, register.BROKEN)  # each has its glyph in records.css
KEY = (
    "A record is one answer: one experiment at one seed. Settings are listed that differ from the library's defaults; "
    "those of a part, such as its net, have the part's name before them. Seconds and memory are of the record alone. "
    "State: current, made by today's code; certified, made by other code, which gave the same bits as today's on small "
    "twins of the experiment; unverified, neither."
)
SHARED = "Settings, data and versions that records have in common; s stands for the seed of each."
FILTERS = {"kind": "Kind", "model": "Net", "data": "Data", "chapter": "Chapter", "profile": "Profile",
           "processor": "Processor", "state": "State"}  # fmt: skip
SORTS = {"": "kind", "seconds": "seconds", "memory": "peak memory", "made": "date, latest first"}


def page(table: pd.DataFrame) -> HTML:
    """Controls (shown where a script can run), a row a record under its kind, and a link to all of it as CSV.

    What many rows have in common stands once, below; a script lays it out where the rows lead to it.
    """
    from IPython.display import HTML

    shared = _shared(table.to_dict("records"))
    body = "".join(_group(kind, rows, shared) for kind, rows in table.groupby("kind", sort=False))
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    drawn = f'<table class="lab-board lab-records"><caption>{KEY}</caption><thead><tr>{head}</tr></thead>{body}</table>'
    below = "".join(f'<ul id="{name}"{entry}</ul>' for entry, name in shared.items())
    below = f'<div class="lab-shared"><p>{SHARED}</p>{below}</div>'
    return HTML(f'<div class="lab-records-page">{_controls(table)}{_csv(table)}{drawn}{below}</div>')


def _shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What rows have in common, each entry once: the rest of its HTML -> its id on the page."""
    sound = [row for row in rows if row["state"] != register.BROKEN]
    kinds = {"lab-s": map(_settings, sound), "lab-m": map(_made, sound)}
    return {entry: f"{name}{k}" for name, told in kinds.items() for k, entry in enumerate(dict.fromkeys(told))}


def _group(kind: str, rows: pd.DataFrame, shared: Mapping[str, str]) -> str:
    name = f"{escape(kind)} <span class='lab-by'>{counted(len(rows), 'record')}</span>"
    head = f'<tr class="lab-chapter"><th scope="rowgroup" colspan="{len(HEAD)}">{name}</th></tr>'
    drawn = "".join(_row(row, shared) for row in rows.to_dict("records"))
    return f"<tbody data-kind='{escape(kind)}'>{head}{drawn}</tbody>"


def _row(row: Mapping[str, Any], shared: Mapping[str, str]) -> str:
    """One record, with what a script filters and sorts by, its own or where it is shared."""
    own = {"state": row["state"], "seconds": row["seconds"], "memory": row["peak_memory_mb"], "made": row["made"]}
    if row["state"] == register.BROKEN:
        own, links = _told(row) | own, ""
    else:
        ways = {"settings": _settings(row), "data, versions": _made(row)}
        links = ", ".join(f'<a href="#{shared[entry]}">{words}</a>' for words, entry in ways.items())
    first = f'<th scope="row">{escape(row["record"])} {links}</th>'
    shown = "".join(
        f'<td data-label="{name}">{cell}</td>' for name, cell in zip(HEAD[1:], _cells(row), strict=True) if cell
    )
    return f'<tr id="{escape(row["kind"])}-{escape(row["record"])}"{_data(own)}>{first}{shown}</tr>'


def _data(told: Mapping[str, Any]) -> str:
    """Attributes that a script reads."""
    return "".join(f' data-{name}="{escape(_text(value))}"' for name, value in told.items())


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a record is filtered by that others have, too."""
    places = [place.split() for place in _text(row["chapters"]).split("; ") if place]
    return {"model": row["model"], "data": row["data"], "processor": _processor(row),
            "chapter": " ".join(dict.fromkeys(chapter for chapter, _ in places)),
            "profile": " ".join(dict.fromkeys(profile for _, profile in places))}  # fmt: skip


def _settings(row: Mapping[str, Any]) -> str:
    """The settings of a record and of those that differ from it by the seed alone, which stands in the row."""
    seed, said = _text(row["seed"]), escape(_text(row["settings"]))
    if seed:
        said = re.sub(rf"(?<=seed=){re.escape(seed)}(?=,|$)", "<var>s</var>", said)
    return f"><li>Settings: {said}</li>" if said else ">"


def _made(row: Mapping[str, Any]) -> str:
    """Digests of the data, chapters and code of a record, and what it is filtered by."""
    told = {label: _text(row[name]) for name, label in FOLDED.items()}
    versions = f"Python {row['python']}, numpy {row['numpy']}, {row['system']}"  # torch stands in its column
    told |= {"Versions": versions, "Revision": _text(row["code"])}
    items = "".join(f"<li>{label}: {escape(words)}</li>" for label, words in told.items() if words)
    return f"{_data(_told(row))}>{items}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    """What stands in the columns after the first; nothing but the state of a record that is broken."""
    state = escape(row["state"])  # its glyph is drawn by records.css
    if row["state"] == register.BROKEN:
        return [""] * (len(HEAD) - 2) + [state]
    threads = counted(int(row["threads"]), "thread")
    where = f"{escape(_processor(row))}, {escape(_instructions(row))}, {threads}"
    took = f"{_seconds(row['seconds'])}, {row['peak_memory_mb']:,.0f} MB"
    made = f"{escape(row['made'][:10])}, torch {escape(row['torch'])}"
    return [_text(row["seed"]), where, took, made, state]


def _text(value: Any) -> str:
    """A value as a page writes it: nothing for none, a whole number without a point."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _processor(row: Mapping[str, Any]) -> str:
    return "" if row["state"] == register.BROKEN else f"{row['processor']} ({row['device'].upper()})"


def _instructions(row: Mapping[str, Any]) -> str:
    return f"instructions {row['instructions']}"


def _seconds(value: float) -> str:
    return f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2}f} s"


def _controls(table: pd.DataFrame) -> str:
    """What filters and sorts; a page without scripts does not show it."""
    shown = "".join(_filter(name, label, table) for name, label in FILTERS.items())
    sorts = "".join(f'<option value="{value}">{words}</option>' for value, words in SORTS.items())
    text = '<label>Text <input type="search" name="text" placeholder="in names and settings"></label>'
    sort = f'<label>Sort by <select name="sort">{sorts}</select></label>'
    end = '<button type="reset">Show all</button><output></output>'
    return f'<form class="lab-controls" hidden>{shown}{text}{sort}{end}</form>'


def _filter(name: str, label: str, table: pd.DataFrame) -> str:
    """A choice of one of the values that there are."""
    rows = table.to_dict("records")
    if name in ("chapter", "profile"):
        places = [place.split() for row in rows for place in _text(row["chapters"]).split("; ") if place]
        values = {place[name == "profile"] for place in places}
    else:
        values = {_processor(row) if name == "processor" else _text(row[name]) for row in rows}
    spelled = dict(model=NAMES, data=SPELLED).get(name, {})
    options = "".join(
        f'<option value="{escape(value)}">{escape(str(spelled.get(value, value)))}</option>'
        for value in sorted(values - {""})
    )
    return f'<label>{label} <select name="{name}"><option value="">all</option>{options}</select></label>'


def _csv(table: pd.DataFrame) -> str:
    """A link that holds the whole table, every column, packed; a script unpacks it."""
    packed = base64.b64encode(record.packed(table.to_csv(index=False, lineterminator="\n").encode())).decode()
    return f'<p><a download="records.csv.gz" href="data:application/gzip;base64,{packed}">All records as CSV</a></p>'


def sentences(table: pd.DataFrame) -> dict[str, Any]:
    """What the page says of its table and of the last time that records were computed again."""
    states = table.state.value_counts()
    counts = ", ".join(f"{states[word]:,} {word}" for word in STATES if word in states)
    hours, days = table.seconds.sum() / 3600, table.made.dropna().astype(str).str[:10]
    between = f", from {days.min()} to {days.max()}" if len(days) else ""
    made = (
        f"{len(table):,} records, {hours:,.0f} hours of computing{between}: {counts}." if len(table) else "No record."
    )
    return dict(records_made=made, verified=verified(len(table)))


def verified(now: int = 0) -> str:
    """The last outcome of `verify` in sentences. now: how many records there are today, 0: not said."""
    told = verify.last()
    if told is None:
        return "No outcome is stored yet."
    device, versions = told["device"], told["versions"]
    where = f"{device['name']} ({device['type'].upper()}, {device['instructions']}), torch {versions['torch']}"
    left = "; ".join(
        f"{count} {'was' if count == 1 else 'were'} left, since {why}" for why, count in told["left"].items()
    )
    grown = now and now != told["published"]
    time = "1 minute" if told["minutes"] == 1 else f"{told['minutes']:g} minutes"
    return (
        f"Last on {told['time'][:10]}, on {where}, in {time}: {told['summary']}."
        + (f" Of the others {left}." if left else "")
        + (f" {told['published']:,} records were published on that day; now there are {now:,}." if grown else "")
    )


def again() -> HTML:
    """What came of each record that was computed again last, in a fold; nothing where nobody did."""
    from IPython.display import HTML

    told = verify.last()
    if not told:
        return HTML("")
    words = {True: "agrees", False: "differs", None: "no test"}
    rows = "".join(
        f'<tr><th scope="row"><a href="#{escape(one["record"].replace("/", "-"))}">{escape(one["record"])}</a></th>'
        f"<td>{words[one['agrees']]}</td><td>{escape(one['words'])}</td></tr>"
        for one in told["records"]
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("record", "came out", "test"))
    table = f'<table class="lab-board lab-again"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return HTML(
        f"<details><summary>{counted(len(told['records']), 'record')} computed again</summary>{table}</details>"
    )
