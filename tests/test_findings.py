"""No finding is typed: what pages say of results comes from records, by glue or from a function of the library.

A sentence of a page is suspect where it compares or judges, or has a number. Settings (widths, epochs, rates, sizes of
data) are typed, since a chapter's plan has them; so numbers are looked for on pages that have no plan.
"""

import re

import pytest

from pruning_lab.running import chapters

PAGES = ("intro.ipynb", "claims.ipynb", "numbers.ipynb", "verdicts.ipynb", "glossary.md")
NOT_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\{[a-z:]+\}`[^`]*`|^:::.*?$|^\|[-| ]*\|$|^#+ .*?$", re.S | re.M
)
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
JUDGES = re.compile(
    r"\b(undecided|mixed|open|(not )?reproduced|holds?|fails?|higher|highest|lower|lowest|rises?|falls?|grows?|"
    r"shrinks?|increases?|decreases?|beats?|wins?|loses?|outperforms?|surpass(es)?|better|worse|ahead|behind|narrower|wider|"
    r"contradicts?|confirms?|significant(ly)?|clear(ly)?|twice|half|double)\b",
    re.I,
)
NUMBER = re.compile(r"(?<![\w-])[+-]?\d[\d,.]*")
RULES = {  # sentences that are no finding: a rule, a definition, a way to use the book
    "verdicts.ipynb": (
        "Over the nets goes Student's **interval**",  # how intervals are made
        "*Reproduced* and *not reproduced* are said of",  # what the words mean
        "Elsewhere the same rule says *holds* and *fails*",
        "*Open*: the interval spans zero or the margin",
        "**Strips** of the scoreboard have a dot a part: how many half-intervals",
    ),
    "numbers.ipynb": (
        "*Agrees*: our 95 % interval over nets holds it",
        "Where a source contradicts itself or another:",
    ),
    "glossary.md": ("The sources write *10 % sparsity* for it, the field *90 % sparsity*; here it is density 0.1.",),
}


def prose(path):
    """The text of a page, without code, formulas, roles, addresses, headings."""
    if path.suffix == ".md":
        texts = [path.read_text(encoding="utf-8")]
    else:
        texts = ["".join(cell["source"]) for cell in chapters.read(path)["cells"] if cell["cell_type"] == "markdown"]
    return stripped("\n\n".join(texts))


def stripped(text):
    return LINK.sub(r"\1", NOT_PROSE.sub("", text))


def suspects(text, allowed=(), numbers=True):
    """The sentences that judge, compare or have a number, but those with the allowed words in them."""
    found = re.split(r"(?<=[.!?])\**\s+|\n\n+", text)
    suspect = [one for one in found if JUDGES.search(one) or (numbers and NUMBER.search(one))]
    return [one for one in suspect if not any(words in one for words in allowed)]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_sums_up_has_no_typed_finding(name):
    assert suspects(prose(chapters.FOLDER / name), RULES.get(name, ())) == []


@pytest.mark.parametrize("name", RULES)
def test_every_exception_is_still_needed(name):
    text = prose(chapters.FOLDER / name)
    for start in RULES[name]:
        assert len(suspects(text)) > len(suspects(text, (start,))), start


@pytest.mark.parametrize(
    "sentence, found",
    [
        ("Random masks fall behind when width rises.", True),
        ("The verdict is undecided.", True),
        ("Accuracy falls by 12.8 points.", True),
        ("Of 33 claims some stand.", True),
        ("It is reproduced.", True),
        ("Accuracy falls by {glue:text}`points` points.", True),  # the number is glued, the direction is not
        ("{glue:text}`falls_read`", False),
        ("A dot is a net.", False),
        ("See [the page](05_width.ipynb) and `layer1.2`.", False),
        ("The norm is $2^{10}$.", False),
        ("## What rises", False),  # a heading names what is asked
        ("ResNet50 and Conv-2 are nets.", False),
    ],
)
def test_what_is_typed_is_told_from_what_is_glued(sentence, found):
    assert bool(suspects(stripped(sentence))) == found


def test_the_glossary_has_the_words_that_pages_use():
    text = (chapters.FOLDER / "glossary.md").read_text(encoding="utf-8")
    terms = {term.strip() for line in re.findall(r"^(.+)\n: ", text, re.M) for term in line.split(",")}
    asked = {"modularity", "adjusted mutual information", "ERK", "excess kurtosis", "floor", "parent", "child", "diff",
             "coherence", "frame potential", "mask", "density"}  # fmt: skip
    assert asked <= terms


BOOK = sorted(path for path in chapters.FOLDER.iterdir() if path.suffix in (".ipynb", ".md"))


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_no_page_types_what_became_of_a_claim(path):
    """In chapters settings and definitions have numbers and compare; what no page may type is a claim with its word."""
    word = r"(holds?|fails?|is (not )?(reproduced|open|decided)|undecided)"
    typed = re.compile(rf"\b[A-Z]{{2}}\d\b[^.;,]{{0,30}}\b{word}\b|\b(undecided|mixed)\b", re.I)
    assert [one for one in re.split(r"(?<=[.!?])\s+|\n\n+", prose(path)) if typed.search(one)] == []
