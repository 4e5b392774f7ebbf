"""How verdicts are made, shown on made-up nets, and what the real ones come to: chance, amendments, disagreements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import board, claims, standing, strips, verdicts
from .numbers import counted, size
from .standing import FAILS
from .told import Told, every

if TYPE_CHECKING:
    from IPython.display import HTML

EXAMPLES = (  # what a claim says, its kind and margin, and three made-up nets
    ("rises", "differs", 0.0, (0.6, 0.9, 1.1)),
    ("rises", "differs", 0.0, (-0.5, 0.4, 1.1)),
    ("rises", "differs", 0.0, (-1.2, -0.9, -0.6)),
    ("stays the same, to 1", "same", 1.0, (-0.2, 0.1, 0.4)),
    ("does not fall by more than 1", "at_least", 1.0, (-0.3, 0.0, 0.3)),
)
BEFORE = re.compile("not reproduced|reproduced|holds|fails|open|not in reach|not run|not asked|mixed|undecided")
HEAD = ("the claim says that it", "three made-up nets", "one number each", "so the part is")


def examples() -> HTML:
    """Made-up nets judged by the rule that judges the real ones, a row each."""
    from IPython.display import HTML

    rows = "".join(_example(*one) for one in EXAMPLES)
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    return HTML(f'<table class="lab-board lab-examples"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>')


def _example(says: str, kind: str, margin: float, values: tuple[float, ...]) -> str:
    found = verdicts.verdict(values, kind, margin)
    row = vars(found) | dict(part=says, kind=kind, margin=margin, unit="", values=values, counted=[True] * len(values))
    word = verdicts.ELSEWHERE.get(found.word, found.word) + (f": {found.reason}" if found.reason else "")
    cells = [strips.of_nets(row), ", ".join(f"{value:+.1f}" for value in values), escape(word)]
    return f'<tr><th scope="row">{escape(says)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def sentences(told: Mapping[str, Told]) -> dict[str, str]:
    """What chance would decide, and how many claims were amended."""
    table = every(told)
    stands = standing.table(table).set_index("claim").word
    changed = [claim for claim in claims.load().values() if claim.amended]
    return dict(chance=board.by_chance(table), amended=amended(changed, stands), amended_list=listed(changed, stands))


def amended(changed: Sequence[claims.Claim], stands: Mapping[str, str]) -> str:
    """How many claims were amended, and how many of those that had a verdict before stand under another word now.

    stands: id -> one of `standing.WORDS`; questions have none.
    """
    if not changed:
        return "No claim was amended after its first run."
    then = {claim.id: before(claim) for claim in changed if claim.id in stands}
    had = {id: word for id, word in then.items() if word != verdicts.NOT_RUN}
    run = {id: word for id, word in had.items() if stands[id] != verdicts.NOT_RUN}  # in this build
    moved = sum(stands[id] != word for id, word in run.items())
    told = (
        f"{len(then)} of {len(stands)} claims were amended after they were written down, {len(had)} of them after a run"
    )
    since = f"Under the new rules and with the nets since, {moved} of the {len(run)} that this build has run changed"
    return f"{told}. {since} their word; a fold below names them."


def listed(changed: Sequence[claims.Claim], stands: Mapping[str, str]) -> HTML:
    """Which claims were amended, each with the word that it had before and has now, in a fold that counts them."""
    from IPython.display import HTML

    items = [f"<li>{_link(claim)}{escape(_moved(claim, stands))}</li>" for claim in changed]
    if not items:
        return HTML("")
    name = f"{counted(len(items), 'claim')} amended: the words before and now"
    return HTML(f'<details class="lab-amended"><summary>{name}</summary><ul>{"".join(items)}</ul></details>')


def _link(claim: claims.Claim) -> str:
    page = standing.pages().get(claim.chapter, "")
    return f'<a href="{page}.html#claim-{claim.id}">{claim.id}</a>' if page else claim.id


def _moved(claim: claims.Claim, stands: Mapping[str, str]) -> str:
    """The words of a claim before its amendment and now; a question has none."""
    if claim.id not in stands:
        return ", a question"
    then, now = before(claim), stands[claim.id]
    return f": {now}, as before" if then == now else f": {now}, before {then}"


def before(claim: claims.Claim) -> str:
    """The one of `standing.WORDS` that an amended claim had under the rule before; "not run" of one not asked."""
    said = BEFORE.findall(claim.amended[0].before.partition(" on ")[0])
    words = {"mixed": ["holds", "fails"], "undecided": [verdicts.OPEN], "not asked": [verdicts.NOT_RUN]}
    return standing.word(one for word in said for one in words.get(word, [word]))


def against(told: Mapping[str, Told]) -> HTML:
    """The parts, of those that a source asks for, in which our nets say the opposite, each with its link and size."""
    from IPython.display import HTML

    table = every(told)
    rows = table[(table.by == "source") & table.verdict.isin(FAILS)].to_dict("records")
    if not rows:
        return HTML("<p>None in this build.</p>")
    return HTML(f"<ul>{''.join(map(_against, rows))}</ul>")


def _against(row: dict[str, Any]) -> str:
    claim = claims.load()[row["claim"]]
    link = f'<a href="{row["page"]}.html#claim-{claim.id}">{escape(claim.short or claim.claim)}</a>'
    on = f", on {row['on']}" if row["on"] else ""
    told = f"{claim.id}, {claim.where}; {row['part']}: {size(row)}{on}"
    return f'<li>{link} <span class="lab-by">{escape(told)}</span></li>'


def divided() -> pd.DataFrame:
    """Where a source says two things, or two sources differ: claim, where it stands, and how."""
    rows = [claim for claim in claims.load().values() if claim.note]
    return pd.DataFrame([{"claim": claim.id, "where": claim.where, "the sources say": claim.note} for claim in rows])
