"""How the book reaches a reader: workflows, Binder, the archive, the page where there is none, licences."""

import os
import re
import shutil
import tomllib
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from conftest import chromium

from pruning_lab.__main__ import _parser
from pruning_lab.publish import archive, not_found

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
OFFICIAL = re.compile(r"actions/[a-z-]+@v\d+")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def jobs(path):
    """The jobs of a workflow by name."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def steps(path):
    """All steps of a workflow."""
    return [step for job in jobs(path).values() for step in job["steps"]]


# Workflows


def known(command):
    """Whether a command of a workflow is one: a target of the Makefile, a command of ours, a script, a plain tool."""
    words = command.split()
    if words[0] == "make":
        return bool(words[1:]) and all(word in TARGETS for word in words[1:] if "=" not in word)
    if words[:3] == ["python", "-m", "pruning_lab"]:
        return bool(_parser().parse_args(words[3:]).command)
    if words[0].startswith("."):
        return os.access(ROOT / words[0], os.X_OK)
    return words[:5] == ["python", "-m", "pip", "install", "."] or words[:3] == ["gh", "release", "create"]


@pytest.mark.parametrize("command", ["make nothing", "make", ".ci/none", "curl x", "python -m pip install torch"])
def test_a_command_that_is_none_is_noticed(command):
    assert not known(command)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_and_actions_of_workflows_are_there(path):
    found = steps(path)
    commands = [line for step in found for line in step.get("run", "").splitlines()]
    assert commands and all(map(known, commands)), commands
    uses = [step["uses"] for step in found if "uses" in step]
    assert uses and all(OFFICIAL.fullmatch(use) for use in uses), uses
    assert all(("run" in step) != ("uses" in step) for step in found)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_write_only_where_they_deliver_and_end(path):
    may = {"deploy": {"pages": "write", "id-token": "write"}, "release": {"contents": "write"}}
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        assert job.get("permissions") == may.get(name) and job["timeout-minutes"] > 0, name
        assert set([job["needs"]] if "needs" in job else []) <= jobs(path).keys()


def test_every_python_that_the_package_allows_is_tested():
    [low], [high] = (re.findall(sign + r"3\.(\d+)", pyproject()["requires-python"]) for sign in (">=", "<"))
    [tests] = [path for path in WORKFLOWS if path.stem == "tests"]
    pythons = jobs(tests)["tests"]["strategy"]["matrix"]["python"]
    assert pythons == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_what_the_workflow_of_the_book_hands_on_is_what_the_build_makes():
    [book] = [path for path in WORKFLOWS if path.stem == "book"]
    given = [step["with"]["path"] for step in steps(book) if step.get("uses", "").startswith("actions/upload")]
    assert given == [f"_build/{archive.NAME}.zip", "_build/html"]
    [created] = [line for step in steps(book) if "gh release" in (line := step.get("run", ""))]
    assert f" {archive.NAME}.zip " in created
    environment = yaml.safe_load(book.read_text(encoding="utf-8"))["env"]
    assert environment["PRUNING_LAB_REPOSITORY"].endswith("${{ github.repository }}")


def pyproject():
    """The settings of the package."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# Binder


def test_binder_installs_what_everybody_installs_on_a_python_that_is_tested():
    lines = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("-r")] == ["-r ../requirements.txt"]
    whole = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert "-e ." in whole and any(line.startswith("jupyterlab==") for line in whole)
    runtime = (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8").strip()
    [tests] = [path for path in WORKFLOWS if path.stem == "tests"]
    assert runtime.removeprefix("python-") in jobs(tests)["tests"]["strategy"]["matrix"]["python"]


# Licences


def test_code_and_text_have_their_licences_and_all_places_say_so():
    for name, words in (("LICENSE", "MIT License"), ("LICENSE-TEXT", "CC-BY-4.0")):
        assert words in (ROOT / name).read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(LICENSE)" in readme and "(LICENSE-TEXT)" in readme and "CC BY 4.0" in readme
    assert pyproject()["license"] == "MIT" and pyproject()["license-files"] == ["LICENSE"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["license"] == "MIT" and "CC BY 4.0" in cited["abstract"]
    footer = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["html"]["extra_footer"]
    assert "https://creativecommons.org/licenses/by/4.0/" in footer and "MIT" in footer


# The archive


@pytest.fixture
def html(tmp_path):
    """A built book of a few files."""
    files = {"index.html": "to the book", "book/intro.html": "here", "_static/a.js": "1;", "_static/vendor/b.js": "2;"}
    for name, text in files.items():
        (tmp_path / "html" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "html" / name).write_text(text)
    return tmp_path / "html"


def test_the_archive_holds_the_book_in_one_folder_and_the_same_book_is_the_same_bytes(html, tmp_path):
    first = archive.write(html, tmp_path).read_bytes()
    for number, path in enumerate(sorted(html.rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number))
    copied = shutil.copytree(html, tmp_path / "elsewhere" / "html")
    (copied / "index.html").chmod(0o600)
    file = archive.write(copied, copied.parent)
    assert file.read_bytes() == first and file.name == f"{archive.NAME}.zip"
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        names = {path.relative_to(html).as_posix() for path in html.rglob("*") if path.is_file()}
        assert set(packed.namelist()) == {f"{archive.NAME}/{name}" for name in names | set(archive.LICENCES)}
        assert packed.read(f"{archive.NAME}/book/intro.html") == b"here"


def test_without_a_book_there_is_no_archive_and_a_failure_leaves_the_last_one(html, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no built book in .* build it first"):
        archive.write(tmp_path / "none", tmp_path)
    last = archive.write(html, tmp_path).read_bytes()
    monkeypatch.setattr(archive, "LICENCES", ("no such file",))
    with pytest.raises(FileNotFoundError):
        archive.write(html, tmp_path)
    assert (tmp_path / f"{archive.NAME}.zip").read_bytes() == last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["html", f"{archive.NAME}.zip"]


# The page where there is none


class Pages(SimpleHTTPRequestHandler):
    """A server that shows 404.html of a sub-folder at every address below it where there is nothing, as Pages does."""

    SUB = "some/sub"

    def send_error(self, code, *words):
        page = Path(self.directory, self.SUB, "404.html")
        if code != 404 or not self.path.startswith(f"/{self.SUB}/"):
            return super().send_error(code, *words)
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page.read_bytes())

    def log_message(self, *_):
        """Nothing: the server would write on the terminal."""


@pytest.fixture
def address(html, tmp_path):
    """A book in a sub-folder of a site, on a server that shows its own page where there is none."""
    (html / not_found.MARK).write_text("body {}")
    (html / "search.html").write_text("<title>search</title>")
    text = not_found.page("A <book>", {"book/intro.html": "One & two", "book/03.html": "Three"})
    (html / "404.html").write_text(text, encoding="utf-8")
    shutil.copytree(html, tmp_path / "site" / Pages.SUB)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(tmp_path / "site")))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{Pages.SUB}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.browser
def test_the_page_where_there_is_none_leads_into_the_book_from_any_depth(address, html):
    with chromium() as browser:
        page = browser.new_page()
        for missing in ("nothing.html", "book/nothing.html", "book/much/deeper/nothing?x=1#y"):
            page.goto(f"{address}/{missing}")
            page.wait_for_function("document.documentElement.dataset.found")
            links = page.locator("a").evaluate_all("links => links.map(link => [link.textContent, link.href])")
            assert links == [["One & two", f"{address}/book/intro.html"], ["Three", f"{address}/book/03.html"]]
        page.get_by_label("Search").fill("two words")
        page.get_by_role("button").click()
        page.wait_for_url(f"{address}/search.html?q=two+words")
        page.goto((html / "404.html").as_uri())  # from a folder it is where it lies
        [first, _] = page.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert first == (html / "book" / "intro.html").as_uri()


def test_nothing_in_the_page_where_there_is_none_is_of_the_server_s_root():
    text = not_found.page("book", {"book/intro.html": "intro"})
    assert not re.search(r"""(?:href|src|action)=["']?/""", text) and "http" not in text
