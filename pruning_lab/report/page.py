"""A chapter's page: its runs, the records that it shows, its command line, verdicts and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..records.experiment import Experiment
from ..running import chapters, prose
from ..running.sweeps import PROFILES, SweepError, sweep
from . import beneath, evidence, reads, told, verdicts
from .evidence import SMALLEST_FIRST, Evidence

Plan = Callable[[str], Sequence[Experiment]]


class Page:
    """What a chapter's cells ask for between its plan and its figures.

    `own` is what of this profile's plan is stored here, `shown` the largest published run, or `own` where there is
    none, or where a reader has set a parameter and so asks for a run that is theirs. Both are read when they are first
    asked for, so `sweep` comes before them.
    """

    def __init__(
        self,
        chapter: str,
        plan: Plan,
        profile: str,
        *,
        counts: Callable[[Experiment], bool] = lambda e: True,
        **given: Any,
    ) -> None:
        """Args:
        chapter: the notebook's name, as the command line takes it. plan: a profile's name -> its experiments.
        counts: the experiments by which the largest run is chosen and its nets are counted. given: the chapter's other
        parameters; those that are None or False are the chapter's own.
        """
        self.chapter, self.plan, self.profile, self.counts = chapter, plan, profile, counts
        self.given = {name: value for name, value in given.items() if value is not None and value is not False}
        self._kept: dict[str, Evidence] = {}
        self.left_out = ""  # what the sweep could not compute, and why, in sentences

    def sweep(self, lost: type[Exception] | tuple[type[Exception], ...] = ()) -> None:
        """Compute what is missing of this profile's plan; name and leave out what fails by an error of kind `lost`, by
        a criterion or model of the reader's own, or on a data set that a net does not take.
        """
        try:
            sweep(self.plan(self.profile))
        except SweepError as error:
            failed = {e: why for e, why in error.failed.items() if why is not None}
            if not failed or not all(self._may_lack(e, why, lost) for e, why in failed.items()):
                raise
            self.left_out = _left_out(failed)

    def _may_lack(self, e: Experiment, why: Exception, lost: type[Exception] | tuple[type[Exception], ...]) -> bool:
        theirs = chapters.own(e) or ("dataset" in self.given and isinstance(why, ValueError))
        return isinstance(why, lost) or (theirs and bool(self.own))  # where nothing is stored there is no page

    @property
    def own(self) -> Evidence:
        """What is stored of this profile's plan."""
        return self._once("own", lambda: evidence.stored(self.profile, self.plan(self.profile)))

    @property
    def counted(self) -> Evidence:
        """What is shown, as far as it counts."""
        return self._once("counted", self._largest)

    @property
    def shown(self) -> Evidence:
        """The largest run: all that is stored of the plan in which most that counts is there."""
        chosen = self.counted.profile
        return self._once(
            "shown", lambda: self.own if chosen == self.profile else evidence.stored(chosen, self.plan(chosen))
        )

    @property
    def is_source(self) -> bool:
        """Whether what is shown was trained on the data of the sources."""
        return not {"dataset", "image_size"} & self.given.keys() and self.shown.profile in SMALLEST_FIRST

    def home(self, has: Callable[[Evidence], Any]) -> Evidence:
        """The larger of both runs that has something; this build's own where neither has."""
        return next((found for found in (self.shown, self.own) if has(found)), self.own)

    def command(self, found: Evidence | None = None) -> str:
        """What a reader types to run what is shown, or some other run, again."""
        given = "".join(f" -p {name} {value}" for name, value in self.given.items())
        return f"python -m pruning_lab run {self.chapter}{given} --profile {self._of(found).profile}"

    def about(self, file: str, *, title: str, alt: str, found: Evidence | None = None) -> dict[str, Any]:
        """What every figure carries: title, words for who does not see it, the name of its rows' file, its command, and
        the records that were read for it; so it is asked for after the table that is drawn.
        """
        return dict(title=title, alt=alt, file=f"{file}.csv", command=self.command(found), records=reads.used())

    def show(self, drawn: Any, found: Evidence | None = None) -> None:
        """Put a widget on the page with its records and its command under it; None: nothing.

        found: the run that it draws; None: the larger one, if any published record was read for it, else this build's.
        """
        reads.note(getattr(drawn, "read", ()))
        used = reads.used()
        show(drawn, self.command(found or (self.shown if used else self.own)), used)

    def costs(self):
        """What each profile takes, as a table for the page."""
        return evidence.plain(evidence.costs({name: self.plan(name) for name in PROFILES}))

    @property
    def hours(self) -> float | None:
        """What one more seed of all that is shown takes, in hours of the device that it ran on; None of nothing."""
        return evidence.hours(self.counted)

    def judge(
        self, id: str, parts: Mapping[str, Sequence[float]], found: Evidence | None = None, **how: Any
    ) -> pd.DataFrame:
        """The verdicts of one claim on what is shown, or on some other run; `how` as `verdicts.judge` has it."""
        return verdicts.judge(id, parts, profile=self._of(found).profile, **how)

    def tell(self, judged: pd.DataFrame | None = None, **sentences: Any) -> None:
        """Hand the page's prose its verdicts by id, where its numbers come from (`origin`, `own_origin`), what is
        `missing`, and more.
        """
        words = {} if judged is None else verdicts.said(judged)
        origins = dict(origin=self.counted.origin(), own_origin=self.own.origin(), missing=self.counted.few())
        said = words | origins | sentences
        said["missing"] = " ".join(filter(None, (said["missing"], self.left_out)))
        evidence.glue(**said)
        self._hand_on(judged, origins["origin"])
        self._read(said)

    def _hand_on(self, judged: pd.DataFrame | None, origin: str) -> None:
        """Leave the verdicts where the pages that show all claims find them."""
        if text := told.written(judged, profile=self.shown.profile, hours=self.hours, origin=origin):
            evidence.glue(**{told.NAME: text})

    def _read(self, said: Mapping[str, Any]) -> None:
        """Show the page's sentences with what was told in them: in a notebook its text still has their names."""
        from IPython.display import Markdown, display

        try:
            notebook = chapters.read(chapters.chapter(self.chapter))
        except ValueError:  # it is not in the book
            return
        display(Markdown(prose.paragraphs(notebook, {name: str(words) for name, words in said.items()})))

    def _of(self, found: Evidence | None) -> Evidence:
        return self.shown if found is None else found  # of nothing stored an evidence is false, and says its profile

    def _largest(self) -> Evidence:
        profiles = (self.profile,) if self.given and self.own else (*SMALLEST_FIRST, self.profile)
        plans = {name: [e for e in self.plan(name) if self.counts(e)] for name in profiles}
        return evidence.largest(plans) or evidence.stored(self.profile, plans[self.profile])

    def _once(self, name: str, make: Callable[[], Evidence]) -> Evidence:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]


def _left_out(failed: Mapping[Experiment, Exception]) -> str:
    """What failed and why, a sentence a reason."""
    reasons: dict[str, list[Experiment]] = {}
    for e, why in failed.items():
        reasons.setdefault(f"{type(why).__name__}: {why}", []).append(e)
    told = []
    for why, alike in reasons.items():
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        told.append(f"{prose.LEFT_OUT}{type(alike[0]).__name__} {alike[0].label()}{more} ({why}).")
    return " ".join(told)


def show(drawn: Any, command: str = "", records: Sequence[str] = ()) -> None:
    """Put a widget on the page, before it the picture that stands there without a script, under it the records that it
    draws and the command that makes it again; its rows are behind a button of its own. None: nothing.
    """
    from IPython.display import HTML, display

    if drawn is not None:
        under = beneath.tools("", drawn.meta["name"], command, records)
        display(drawn.fallback(), drawn, HTML(under))
