"""Every public name says what it is, in which shapes, and shows it: the examples of the reference run as they stand."""

import ast
import doctest
import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest

import pruning_lab
from pruning_lab import criteria, models
from pruning_lab.publish import reference, reference_text, sphinx_ext

PAGES = sorted((Path(__file__).resolve().parents[1] / "book").glob("reference*.md"))
ENTRIES = reference.entries()
SHOWN = [name for name, entry in ENTRIES.items() if entry.kind != "data"]  # of a constant the value is the example
# Names whose docstring cannot hold an example; the docstring of their module has it.
ELSEWHERE = {
    "replace": "Python's own",
    "models.conv_2": "its docstring is made by a statement, which published answers rest on",
    "models.conv_4": "as of conv_2",
    "models.conv_6": "as of conv_2",
}
CAUGHT = {"environment.usable": {"TypeError"}}  # raised for its own `except`
TENSORS = re.compile(r"\b(Tensor|ndarray)\b")
SHAPE = re.compile(r"""\[[^\]\["`]*[a-zA-Z][^\]\["`]*\]|\[\d+\]|\b(its|their|the|same) shapes?\b""")  # no [0, 1]


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch):
    """Training says a line in a notebook, which a test before may have left loaded."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def failures(name, text):
    """What doctest says of the examples in a text; empty if all is as they say."""
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, name, None, 0)
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False).run(test, out=said.append)
    return "".join(said)


def takes_tensors(thing):
    """Whether a signature or a field names tensors or arrays, or the thing is a criterion."""
    kinds = [field.kind for field in reference.fields_of(thing)] if inspect.isclass(thing) else []
    if thing in [*criteria.UNIT.values(), *criteria.WEIGHT.values()]:
        return True
    return bool(TENSORS.search(" ".join([*kinds, *map(str, inspect.get_annotations(thing).values())])))


def raised(thing):
    """The names of the exceptions that a function, or a class when it is made, raises in its own body."""
    made = (vars(thing).get(name) for name in ("__init__", "__post_init__")) if inspect.isclass(thing) else (thing,)
    ours = [f for f in map(inspect.unwrap, filter(inspect.isroutine, made)) if f.__module__.startswith("pruning_lab")]
    trees = [ast.parse(textwrap.dedent(inspect.getsource(f))) for f in ours if f.__code__.co_filename != "<string>"]
    calls = [
        n.exc for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)
    ]
    return {ast.unparse(call.func) for call in calls}


def test_an_example_that_is_not_as_it_says_is_found():
    assert failures("right", ">>> 1 + 1\n2") == ""
    assert "Expected:\n    3\nGot:\n    2" in failures("wrong", ">>> 1 + 1\n3")


@pytest.mark.parametrize("name", SHOWN)
def test_a_public_name_has_an_example_that_runs(name):
    entry = ENTRIES[name]
    if name in ELSEWHERE:
        assert not entry.example and name.split(".")[-1] in reference.room(entry.section).__doc__.partition(">>>")[2]
        return
    assert entry.example, f"{name} in {entry.module} shows no example: put one at the end of its docstring (>>> ...)"
    assert "import" in entry.example, "what a reader pastes imports what it uses"
    assert failures(name, entry.said) == ""


@pytest.mark.parametrize("section", [name for name in reference.SECTIONS if ">>>" in reference.room(name).__doc__])
def test_the_examples_of_a_room_run(section):
    assert failures(section, reference.room(section).__doc__) == ""


@pytest.mark.parametrize("name", ENTRIES)
def test_a_public_name_says_what_it_is(name):
    entry = ENTRIES[name]
    assert entry.text, f"{name} in {entry.module} says nothing: write a docstring; above a constant, a line `#: ...`"
    if entry.kind == "class":
        silent = [field.name for field in reference.fields_of(entry.thing) if not field.meaning]
        assert not silent, f"{name}: put a comment with the meaning behind the fields {silent}"


@pytest.mark.parametrize("name", [name for name in SHOWN if takes_tensors(ENTRIES[name].thing)])
def test_what_takes_or_returns_tensors_says_their_shapes(name):
    said = " ".join([ENTRIES[name].text, *(field.meaning for field in reference.fields_of(ENTRIES[name].thing))])
    assert SHAPE.search(said), f"{name}: say the shapes of what it takes and returns, such as [units, inputs]"


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_raised_is_said(name):
    unsaid = {error for error in raised(ENTRIES[name].thing) if error not in ENTRIES[name].text}
    assert unsaid == CAUGHT.get(name, set()), f"{name}: say when it raises {', '.join(unsaid)}"


def test_the_reference_holds_all_that_is_handed_out():
    things = [entry.thing for entry in ENTRIES.values()]
    rooms = [reference.room(section) for section in reference.SECTIONS]
    for name in pruning_lab.__all__:
        thing = getattr(pruning_lab, name)
        assert any(thing is t for t in things) or thing in rooms or thing is pruning_lab.worlds, name
    for registry in (criteria.UNIT, criteria.WEIGHT, models.MODELS):
        for function in registry.values():
            assert not function.__module__.startswith("pruning_lab") or function in things, function.__name__


def test_every_section_stands_on_one_page():
    held = [name for page in PAGES for name in re.findall(r"^```\{reference\} (.+)$", page.read_text(), re.M)]
    assert sorted(held) == sorted([*reference.SECTIONS, "names"])


def test_a_source_that_a_docstring_names_is_in_the_bibliography():
    assert reference_text.inline("(Evci et al. 2020; 003, 3.1)", "masks") == (
        "({cite:t}`evci2020`; {cite:t}`yauney2024`, 3.1)"
    )
    for name, entry in ENTRIES.items():
        meanings = [field.meaning for field in reference.fields_of(entry.thing)] if entry.kind == "class" else []
        said = " ".join(" ".join([entry.text, *meanings]).split())
        unknown = [found[0] for found in reference_text.CITED.finditer(said) if not reference_text.key_of(found)]
        assert not unknown, f"{name} names {unknown}: book/references.bib has no such source"


def test_names_are_links_but_not_those_of_parameters_and_signs_stay_signs():
    text = "what `build` makes of `scores`, |w|^2 [n] and a_b"
    link = "{py:obj}`build <pruning_lab.masks.build>`"
    assert reference_text.inline(text, "masks", ("scores",)) == (
        f"what {link} makes of `scores`, \\|w\\|\\^2 \\[n\\] and a\\_b"
    )


def test_a_signature_is_what_the_source_writes():
    assert reference_text.signature(ENTRIES["masks.emptied"].thing) == "(masks: Mapping[str, Tensor]) -> list[str]"
    assert reference_text.signature(ENTRIES["Result"].thing) == "(table, arrays=dict(), weights=dict(), seconds=None)"
    assert reference_text.signature(ENTRIES["masks.EmptyLayer"].thing) == ""


def test_parameters_of_a_long_signature_are_no_list_without_terms():
    html = '<dt>f<dl>\n<dd><em>a</em>,</dd>\n<dd><em>b</em>,</dd>\n</dl>\n)</dt><dl class="x"><dt>k</dt></dl>'
    made = sphinx_ext.in_lines(html)
    assert made.count('<span class="lab-parameter"><em>') == 2 and "<dd>" not in made and made.endswith("</dl>")
    assert made.count("<span") == made.count("</span>")


def test_an_entry_leads_to_its_source_where_the_repository_is_known():
    entry = ENTRIES["units.order"]
    assert "Source: `pruning_lab/units/orders.py`" in reference_text.entry(entry)
    assert "(https://example.org/main/pruning_lab/units/orders.py#L" in reference_text.entry(
        entry, "https://example.org/main"
    )
