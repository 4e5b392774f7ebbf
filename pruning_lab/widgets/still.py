"""Pictures that stand for a widget where no script runs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Still:
    """A picture that a notebook shows, a page only without scripts and on paper unless `always`; `svg`: the picture."""

    svg: str
    caption: str
    always: bool = False

    def _repr_html_(self) -> str:
        kind = "lab-picture" if self.always else "lab-still"
        return f'<figure class="{kind}">{self.svg}<figcaption>{escape(self.caption)}</figcaption></figure>'
