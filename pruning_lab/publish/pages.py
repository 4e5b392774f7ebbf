"""Executed notebooks -> a mirror of the sources -> HTML pages by jupyter-book, in the place of the last ones."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import yaml

from . import inputs, tied
from .executing import ANSI, BuildError, raise_full, say
from .inputs import below, bytes_of, dated, unless_gone

PAGES = "pages.json"  # what the built pages were made from
SYSTEM = ("/usr", "/usr/local")  # a Python of the system says nothing of this machine


def mirror(target: Path, executed: dict[str, Path]) -> None:
    """Copy the book's sources to `target` with the executed notebooks in the place of the clean ones."""
    shutil.rmtree(target, ignore_errors=True)
    book = inputs.ROOT / "book"
    for path in below(book):
        place = path.relative_to(book)
        if place.parts[0] != "results" and ".ipynb_checkpoints" not in place.parts and path.name not in executed:
            (target / "book" / place).parent.mkdir(parents=True, exist_ok=True)
            with unless_gone():
                shutil.copy2(path, target / "book" / place)
    shutil.copy(inputs.ROOT / "_toc.yml", target)
    for name, path in executed.items():
        shutil.copy(path, target / "book" / name)
    text = yaml.safe_dump(configuration((inputs.ROOT / "_config.yml").read_text(encoding="utf-8")), sort_keys=False)
    (target / "_config.yml").write_text(text, encoding="utf-8")


def configuration(text: str, repository: str | None = None) -> dict:
    """`_config.yml` for the mirror: nothing is executed again; buttons where the repository's address is known."""
    config = yaml.safe_load(text)
    config["execute"]["execute_notebooks"] = "off"
    config["sphinx"]["config"]["lab_root"] = str(inputs.ROOT)
    url = repository or os.environ.get("PRUNING_LAB_REPOSITORY") or config["repository"].get("url")
    if url:
        config["repository"]["url"] = url.rstrip("/").removesuffix(".git")
        branch = config["repository"].get("branch") or "main"
        config["sphinx"]["config"]["lab_sources"] = f"{config['repository']['url']}/blob/{branch}"
        config["html"] |= dict.fromkeys(("use_repository_button", "use_issues_button", "use_edit_page_button"), True)
        config["launch_buttons"] = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
        if "//github.com/" in url:  # Colab opens notebooks from nowhere else
            config["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    else:
        del config["repository"]
    return config


def built(folder: Path) -> Path:
    """The built pages: those of last time, if they were made from the same and nobody touched them, else new ones."""
    html, file = folder / "html", folder / PAGES
    inputs = _inputs(folder / "src")
    with suppress(OSError, ValueError):  # no such file, or half of one
        if json.loads(file.read_text(encoding="utf-8")) == {"from": inputs, "made": _made(html)}:
            say("pages: as built before")
            return html
    file.unlink(missing_ok=True)
    render(folder)
    file.write_text(json.dumps({"from": inputs, "made": _made(html)}), encoding="utf-8")
    return html


def _inputs(source: Path) -> str:
    """A digest of all that pages are made from: the mirror of the sources, this package, and every version."""
    mirrored = [[path.relative_to(source).as_posix(), bytes_of([path])] for path in below(source)]
    package = bytes_of(below(inputs.ROOT / "pruning_lab", ".py"))
    versions = sorted(f"{dist.metadata['Name']} {dist.version}" for dist in metadata.distributions())
    return hashlib.sha256(json.dumps([mirrored, package, sys.version, versions]).encode()).hexdigest()


def _made(html: Path) -> str:
    """A digest of the names, sizes and times of built pages."""
    seen = [[path.relative_to(html).as_posix(), size, date] for path, size, date in dated(below(html))]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def render(folder: Path) -> Path:
    """Run jupyter-book on the mirror, warnings being errors, and put the result in the place of the last book."""
    work, html = folder / "work", folder / "html"
    shutil.rmtree(work, ignore_errors=True)  # Sphinx leaves stale static files behind
    start = time.perf_counter()
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(folder / "src")]
    code, said = _run([*command, "--path-output", str(work), "-W", "-n", "--keep-going"])
    (folder / "sphinx.log").write_text(said, encoding="utf-8")
    if code:
        raise_full("", said)
        lines = ANSI.sub("", said).splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-30:]
        raise BuildError("\n".join(["jupyter-book failed; all of it is in " + str(folder / "sphinx.log"), *told]))
    made = work / "_build" / "html"
    leaks = machine_paths(made)
    if leaks:
        raise BuildError("paths of this machine in the built pages:\n" + "\n".join(leaks))
    shutil.rmtree(html, ignore_errors=True)
    made.replace(html)
    say(f"pages: built in {time.perf_counter() - start:.0f} s")
    return html


def _run(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command at the root of the project; it ends with this process, and with the wait."""
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with subprocess.Popen(
        tied.command(command), cwd=inputs.ROOT, start_new_session=True, text=True, errors="replace", **pipes
    ) as running:
        try:
            said, _ = running.communicate()
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    return running.returncode, said


def machine_paths(html: Path) -> list[str]:
    """The built pages, notebooks, scripts and rows that hold the project's, the environment's or the user's folder."""
    folders = {str(inputs.ROOT), sys.prefix} - {"/", *SYSTEM}
    with suppress(RuntimeError):  # a user without one
        folders |= {f"{Path.home()}/"} - {"//"}
    found = []
    for path in below(html):
        if path.suffix not in (".html", ".ipynb", ".js", ".csv", ".txt", ".json", ".md") or "vendor" in path.parts:
            continue
        text = ANSI.sub("", path.read_text(encoding="utf-8", errors="replace"))
        found += [f"{path.relative_to(html)}: {folder}" for folder in sorted(folders) if _whole(folder).search(text)]
    return found


def _whole(folder: str) -> re.Pattern:
    """Finds a folder where it is or begins a path of its own, not where it is part of another or of an address."""
    before = r"(?:(?<=file://)|(?<=\\n)|(?<=\\r)|(?<=\\t)|(?<![\w./~$}%<-]))"  # line ends as JSON writes them
    return re.compile(before + re.escape(folder) + ("" if folder.endswith("/") else r"(?![\w-]|\.\w)"))
