"""Icons: pages ask for a small sheet with those that they show, and for nothing else of the theme's library."""

from urllib.parse import unquote

from pruning_lab.publish import icons

LIBRARY = (
    'x={bars:[448,512,["navicon"],"f0c9","M0 1"],sun:[512,512,[9728],"f185","M2 3"]},y={sun:[512,500,[],"f185","M4 5"]}'
)
HEAD = (
    '<link href="../_static/vendor/fontawesome/6.5.2/css/all.min.css?digest=d" rel="stylesheet" />\n'
    '<link rel="preload" as="font" type="font/woff2" href="../_static/vendor/fontawesome/6.5.2/a.woff2" />\n'
    '  <script src="../_static/vendor/fontawesome/6.5.2/js/all.min.js?digest=d"></script>\n'
)
BODY = '<i class="theme-switch fa-solid fa-sun fa-lg"></i><link href="../_static/lab.css" rel="stylesheet" />'


def test_the_sheet_has_the_icons_that_are_named_and_no_others():
    found = unquote(icons.sheet(LIBRARY, ['<i class="fa-solid fa-sun fa-lg">', "document.write('fa-nothing')"]))
    assert '.fa-sun{--lab-icon:url("data:image/svg+xml,<svg' in found
    assert 'viewBox="0 0 512 500"><path d="M4 5"/>' in found  # the solid one
    assert "M0 1" not in found and "nothing" not in found and ":where(.fa-sun){display" in found


def test_pages_ask_for_the_sheet_and_the_library_is_gone(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.html").write_text(HEAD + BODY)
    (tmp_path / icons.FOLDER / "6.5.2" / "js").mkdir(parents=True)
    (tmp_path / icons.FOLDER / "6.5.2" / "js" / "all.min.js").write_text(LIBRARY)
    icons.thin(tmp_path)
    page = (tmp_path / "book" / "page.html").read_text()
    assert page == f'<link href="../_static/icons.css" rel="stylesheet" />\n{BODY}'
    assert not (tmp_path / icons.FOLDER).exists() and ".fa-sun{" in (tmp_path / "_static" / icons.SHEET).read_text()
    icons.thin(tmp_path)  # again: nothing is left to do
    assert (tmp_path / "book" / "page.html").read_text() == page
