"""The picture of the front page: what it draws, and that it is of today's published records."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from pruning_lab.figures import still
from pruning_lab.figures.style import colour
from pruning_lab.report import picture

ROOT = Path(__file__).resolve().parents[1]
WORDS = dict(title="A & B", x="removed", y="accuracy", alt="<what> is drawn")
SVG = "{http://www.w3.org/2000/svg}"


def rows(criterion, *accuracies, seed=0):
    return pd.DataFrame(dict(criterion=criterion, removed=range(len(accuracies)), accuracy=accuracies, seed=seed))


def test_lines_are_means_over_nets_from_left_to_right_and_top_to_bottom():
    table = pd.concat([rows("norm", 1.0, 0.4, 0.0), rows("norm", 1.0, 0.6, 0.0, seed=1)])
    root = ElementTree.fromstring(still.curves(table, {"norm": "a<b"}, **WORDS))
    assert root.find(f"{SVG}title").text == "<what> is drawn" and "a<b" in [t.text for t in root.iter(f"{SVG}text")]
    [line] = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("fill") == "none"]
    points = [tuple(map(float, point.split(","))) for point in line[1:].split("L")]
    right, low = still.WIDE - still.RIGHT, still.HIGH - still.BOTTOM
    middle = ((still.LEFT + right) / 2, (still.TOP + low) / 2)
    assert points == [(still.LEFT, still.TOP), pytest.approx(middle), (right, low)]
    [band] = [p for p in root.iter(f"{SVG}path") if p.get("d").endswith("Z")]
    assert band.get("fill") == colour("norm")


def test_one_net_has_no_band_and_a_criterion_without_rows_is_refused():
    assert "Z" not in still.curves(rows("norm", 1.0, 0.0), {"norm": "n"}, **WORDS)
    with pytest.raises(ValueError, match="no rows of random: expected some of each criterion"):
        still.curves(rows("norm", 1.0, 0.0), {"norm": "n", "random": "r"}, **WORDS)


def test_the_picture_of_the_front_page_is_of_the_published_records_and_stands_by_itself():
    text = picture.file().read_text(encoding="utf-8")
    assert text == picture.drawn(), "make picture"
    assert "prefers-color-scheme: dark" in text and len(text) < 50_000
    assert not re.search(r"<script|href|url\(|@import", text)
    assert f"({picture.file().relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_without_its_records_the_picture_says_what_makes_them(store_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "none"))
    with pytest.raises(LookupError, match="is not stored: python -m pruning_lab sweep 01 --profile night"):
        picture.curves()
