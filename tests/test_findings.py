"""No finding is typed: what pages say of results comes from records, by glue or from a function of the library.

A sentence of a page is suspect where it compares or judges, or has a number. Settings (widths, epochs, rates, sizes of
data) are typed, since a chapter's plan has them; so numbers are looked for on pages that have no plan. Chapters ask,
define and report their sources in such words too: such sentences are known by their form, or are exceptions.
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
        "It stands right of zero where the mean speaks",  # how a strip is drawn
        "Within one half-width, the grey bar, the part is open",
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


# Chapters have settings, definitions and measures in their prose, which compare too; a finding they may not have.

CHAPTERS = sorted(path.name for path in chapters.FOLDER.glob("[0-9]*.ipynb"))
COMPARES = re.compile(
    r"\b(undecided|mixed|(not )?reproduced|holds?|fails?|higher|lower|rises?|falls?|grows?|shrinks?|increases?|"
    r"decreases?|beats?|wins?|loses?|outperforms?|surpass(es)?|better|worse|ahead|narrower|wider|stricter|steeper|flatter|smaller|"
    r"fewer|contradicts?|confirms?|significant(ly)?|clearly|starves?|collapses?|has to have|far (more|less)|"
    r"(go|goes) (together|apart)|(fits?|fitted) (its|their)|(stays?|ends?|lies?) (above|below|behind)|"
    r"(is|are|was) small|do(es)? not fit)\b",
    re.I,
)
NAMED = re.compile(r"\b(lowest|highest) (first|coherence|validation loss)\b|\*\*[^*]+\*\*", re.I)  # names, new words
ASKED = re.compile(r"\bwhether\b|\bhow (much|many|far)\b|(above|right of|left of) zero", re.I)  # a measure, an axis
THEIRS = re.compile(  # a source says it
    r"\b(source|sources|Yauney|Heitmann|Zielinski|its? (text|report|caption|closing question))\b('s)?[^:;]{0,70}"
    r"\b(says?|have|has|calls?|asks?|guesses|guessed|disagree|do not agree|contradicts|saw|found|lets?)\b"
)
EXCEPTIONS = {  # chapter -> words of a sentence that compares and is no finding -> why
    "01_frame_potential.ipynb": {"the rise of the test loss when that unit alone goes": "a definition"},
    "02_force_graph.ipynb": {
        "the smaller the angle, the stronger it pulls": "how the graph is drawn",
        "edges hold them together": "how the graph is drawn",
        "the code's falls more slowly for near vectors": "a formula",
        "Vectors that come to share fewer dimensions": "geometry",
        "any change of low rank beats it": "geometry",
        "modularity falls with their number": "a definition",
    },
    "03_coherence.ipynb": {
        "the direction in which its loss rises fastest": "a definition",
        "rises by less than 2 points over the last fifth": "a rule",
    },
    "04_diffs.ipynb": {
        "A gradient points to where the loss rises": "a definition",
        "samples to its left want it smaller": "how the toy is drawn",
        "where one grows with the other": "a definition",
        'A claim of "no difference" holds only if': "a rule",
    },
    "05_width.ipynb": {"so that narrower nets show neither": "a rule"},
    "06_pruning_by_width.ipynb": {
        "with a higher one in small layers": "a definition",
        "so it starts with smaller weights": "how nets begin",
        "Fewer units are another matter": "arithmetic",
        "is the lower half of these widths": "a definition",
    },
    "07_pruning_by_parent.ipynb": {
        "the parent grows: from the dense net itself": "what is run",
        "the fewer each unit reads": "arithmetic",
        "which may hold it back": "a doubt",
        "a child of a tenth, which grows with it": "arithmetic",
        "to the smaller of their largest": "a rule",
        "So are sizes at which most parents do not fit": "a rule",
        "which hold for its own child only": "what can be compared",
    },
    "08_large_networks.ipynb": {
        "may lose nearly all of its weights": "what the rule allows",
        "a collapse is an accuracy below 50 %": "a definition",
        "A net fails whatever its mask says if": "a definition",
    },
    "09_alignment.ipynb": {
        "ask a net with fewer filters": "how the sliders are used",
        "counts nets that fit their images": "a rule",
        "On which training sets a narrow net fails is not said": "what the sources leave out",
        "takes more images and a wider LeNet": "what a command does",
    },
    "10_subspace.ipynb": {
        "the true output is ahead of every other by so much": "a definition",
        "a rate that rises fourfold": "a setting",
        "it may lose a point": "a rule",
        "one whose density falls like a power of the eigenvalue": "a definition",
        "a bulk that shrinks makes no spikes": "arithmetic",
    },
    "11_double_descent.ipynb": {
        "it changes less with the noise the smaller": "arithmetic",
        "the smaller that norm can be": "arithmetic",
        "at a falling rate until they make no error": "how nets are trained",
        "over the lowest of smaller nets": "a measure",
        "a net that does not fit its images then gives no verdict": "a rule",
    },
}


def compared(text):
    """The sentences of a chapter that compare or judge, and are no question, no measure and no source's word."""
    found = re.split(r"(?<=[.!?])\**\s+|\n\n+|\n(?=[*|])", NAMED.sub("", stripped(text)))
    suspect = [one for one in found if COMPARES.search(one) and not one.rstrip("* \n").endswith("?")]
    return [one for one in suspect if not ASKED.search(one) and not THEIRS.search(one)]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_no_typed_finding(name):
    left = [
        one for one in compared(prose(chapters.FOLDER / name)) if not any(k in one for k in EXCEPTIONS.get(name, ()))
    ]
    assert left == []


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_of_a_chapter_is_still_needed(name):
    found = compared(prose(chapters.FOLDER / name))
    assert [words for words in EXCEPTIONS[name] if not any(words in one for one in found)] == []


@pytest.mark.parametrize(
    "sentence, found",
    [
        ("When the first vector joins the others, all four shares rise: it keeps company.", True),
        ("Within a bundle some grow more than others.", True),
        ("A fully-connected net has to have that spike on real images, too.", True),
        ("After a look at widths up to 64, two rules were made stricter.", True),
        ("Its nets do not fit their images.", True),
        ("The gap between a mask and its inverse is small.", True),
        ("Share and norm go together.", True),
        ("The source says that the gap between a mask and its inverse is small.", False),
        ("Does what is left learn better than a dense net?", False),
        ("WI3: by how much coherence rises from one width to its double.", False),
        ("Right of zero the first of the two has the higher accuracy.", False),
        ("{glue:text}`ends_read` Lines are means over nets.", False),
        ("The order is that of the share, lowest first.", False),
    ],
)
def test_what_compares_in_a_chapter_is_told_from_what_is_asked_or_said_by_a_source(sentence, found):
    assert bool(compared(sentence)) == found


BOOK = sorted(path for path in chapters.FOLDER.iterdir() if path.suffix in (".ipynb", ".md"))


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_no_page_types_what_became_of_a_claim(path):
    """In chapters settings and definitions have numbers and compare; what no page may type is a claim with its word."""
    word = r"(holds?|fails?|is (not )?(reproduced|open|decided)|undecided)"
    typed = re.compile(rf"\b[A-Z]{{2}}\d\b[^.;,]{{0,30}}\b{word}\b|\b(undecided|mixed)\b", re.I)
    assert [one for one in re.split(r"(?<=[.!?])\s+|\n\n+", prose(path)) if typed.search(one)] == []
