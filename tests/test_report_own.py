"""The page of a reader's own net: which nets it shows, what it says of them, the address that it had before."""

import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from torch import nn

from pruning_lab.publish import sphinx_ext
from pruning_lab.report import own, redundancy_words

PAGE = nbformat.read(Path(__file__).parents[1] / "book" / "your_own.ipynb", as_version=4)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture(scope="module")
def looks():
    return own.look(net(), (torch.rand(40, 1, 2, 2), torch.arange(40) % 3), minutes=0.02)


def test_a_net_that_is_given_is_the_only_one_on_the_page(looks):
    (look,) = looks.values()
    assert look.report.measured_on == "train" and look.price.startswith("about ")
    assert own.HEADINGS.keys() <= look.words().keys() and look.words()["answer"] == redundancy_words.answer(look.report)
    assert len(own.beside(looks)) == 1 and list(look.table("layers").layer) == ["1", "3"]


def test_every_sentence_and_every_figure_that_the_page_names_is_there(looks):
    (look,) = looks.values()
    text = "\n".join(cell.source for cell in PAGE.cells)
    told = set(re.findall(r"\{glue:text\}`(\w+)`", text)) - {"cost"}
    assert told <= look.words().keys() and set(own.HEADINGS) <= told
    headings = re.findall(r'first\.figure\("([^"]+)"\)', text)
    assert set(headings) == set(own.HEADINGS.values()) == look.sections.keys() - {"Not measured, and why"}
    assert look.figure(headings[0]).layout.meta["alt"]


def test_the_page_has_the_parameters_that_its_command_names():
    cell = next(cell for cell in PAGE.cells if "parameters" in cell.metadata.get("tags", []))
    names = {}
    exec(cell.source, names)
    assert {"profile", "model", "data", "weights", "minutes"} <= names.keys() and names["model"] is None


@pytest.mark.parametrize("given", [dict(model=net()), dict(data="digits")])
def test_a_net_needs_its_data_and_data_need_a_net(given):
    with pytest.raises(ValueError, match="give both"):
        own.look(**given)


def test_the_plain_net_of_the_page_learns_its_digits():
    found = own.plain(epochs=2)
    logits = found.model(found.test.images)
    assert (logits.argmax(1) == found.test.labels).float().mean() > 0.5 and not found.model.training


def test_the_residual_net_of_the_page_reads_three_channels_and_has_seen_one_small_epoch(monkeypatch):
    seen = []
    monkeypatch.setattr(own, "_trained", lambda model, split, epochs: seen.append((model, split, epochs)) or model)
    found = own.residual(8, 16)
    (model, split, epochs) = seen[0]
    assert split.images.shape == (8, 3, 16, 16) and epochs == 1 and found.test.images.shape[1:] == (3, 16, 16)
    assert type(model).__name__ == "ResNet" and model.fc.out_features == 10


def test_an_address_that_a_page_had_before_leads_on(tmp_path):
    (tmp_path / "book").mkdir()
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))
    sphinx_ext._lead_on(app, None)
    assert not list((tmp_path / "book").iterdir())  # another book
    (tmp_path / "book" / "your_own.html").write_text("the page")
    sphinx_ext._lead_on(app, None)
    text = (tmp_path / "book" / "own_model.html").read_text()
    assert 'content="0; url=your_own.html"' in text and '<a href="your_own.html">' in text
