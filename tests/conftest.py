"""What tests share: what they need and may lack, a store of their own, the book built once, a browser."""

import contextlib
import functools
import http.server
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

OURS = ("PRUNING_LAB_DATA", "PRUNING_LAB_REQUIRE")  # what tests are told from outside
for _name in [name for name in os.environ if name.startswith("PRUNING_LAB_") and name not in OURS]:
    del os.environ[_name]  # before anything imports the library: its plug-ins count from then on

ROOT = Path(__file__).resolve().parents[1]
READ_THE_BOOK = ("test_browser.py", "test_chapters.py")
# the first to begin, so that none is the last to end
LONG = (*READ_THE_BOOK, "test_jupyterlab.py", "test_force_graph.py")
CHAPTER_SECONDS, BOOK_SECONDS = 1800, 3600  # a hundred times what it takes: other programs may compute, too
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _require(name: str, found: bool, reason: str) -> None:
    """Skip the test for want of `name`, or fail it where PRUNING_LAB_REQUIRE names it."""
    if found:
        return
    if name in os.environ.get("PRUNING_LAB_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"PRUNING_LAB_REQUIRE names {name}, but: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require():
    """`require(name, found, reason)`: skips, or fails where PRUNING_LAB_REQUIRE names what is missing."""
    return _require


def pytest_collection_modifyitems(items):
    """What needs one executed chapter comes before what needs the built book, each with a limit of its own; long files
    go first.
    """
    reads = {item: {"book", "executed"} & set(item.fixturenames) for item in items}
    for item in filter(reads.get, items):
        assert item.path.name in READ_THE_BOOK, f"{item.path.name} reads the book: say so in READ_THE_BOOK"
        item.add_marker(pytest.mark.timeout(BOOK_SECONDS if "book" in reads[item] else CHAPTER_SECONDS))
    items.sort(
        key=lambda item: (item.path.name not in READ_THE_BOOK, item.path.name not in LONG, "book" in reads[item])
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each worker takes whole files; those that read the book are as one, so that it is built once."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "the book" if Path(file).name in READ_THE_BOOK else file

    return Files(config, log)


def pytest_runtest_setup(item):
    """The markers `browser` and `data` ask for what they name."""
    if item.get_closest_marker("browser"):
        _require("browser", shutil.which("chromium") is not None, "there is no chromium on the PATH")
    if item.get_closest_marker("data"):
        folder = Path(os.environ.get("PRUNING_LAB_DATA") or "nowhere")
        found = all((folder / name / "train.npz").is_file() for name in ("mnist", "cifar10"))
        _require("data", found, "PRUNING_LAB_DATA names no folder with mnist/ and cifar10/")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """Is heard here and in processes that tests start, also where a shell started the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Nets this small gain nothing from threads, and lose much where other processes compute."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def store_of_the_session(tmp_path_factory):
    """No test reads or writes the user's own records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNING_LAB_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("TQDM_DISABLE", "1")
        yield


@pytest.fixture
def store_folder(tmp_path, monkeypatch):
    """An empty folder for this test's records, set as PRUNING_LAB_STORE."""
    folder = tmp_path / "store"
    monkeypatch.setenv("PRUNING_LAB_STORE", str(folder))
    return folder


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """A function chapter -> its copy in the folder of the book, executed once at the smoke profile."""
    from pruning_lab.publish import executing

    folder, copies = tmp_path_factory.mktemp("book"), {}

    def copy(path):
        if path not in copies:
            copies[path] = executing.execute(path, "smoke", force=True, folder=folder)
        return copies[path]

    copy.folder, copy.copies = folder, copies
    return copy


@pytest.fixture(scope="session")
def book(executed):
    """The folder of the book, built once at the smoke profile, from the chapters that tests executed and from the
    others.
    """
    from pruning_lab.publish import build, executing

    for path, copy in executed.copies.items():  # other tests stored records since
        executed.copies[path] = copy.replace(executing.executed(path, "smoke", folder=executed.folder))
    return build.build("smoke", folder=executed.folder)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing: the server would write on the terminal."""


@contextlib.contextmanager
def served(folder):
    """The address of a folder on a server of this machine, for as long as the block lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:  # a server that goes on would keep a failed test from ending
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def chromium():
    """Headless Chromium with a profile folder of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=CHROMIUM, timeout=600_000
        )
        yield running
        running.close()


@contextlib.contextmanager
def visit(running, file, state="", **options):
    """A file in a fresh window of a browser that runs; nothing may be thrown in it."""
    context = running.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file.as_uri() + state)
    yield page
    context.close()
    assert not wrong


@pytest.fixture(scope="session")
def site(book):
    """The address of the built book on a server of this machine."""
    with served(book) as address:
        yield address


@pytest.fixture(scope="module")
def browser(book):
    """Headless Chromium; closed with the module: it keeps an event loop running."""
    with chromium() as running:
        yield running


@pytest.fixture
def made_up(store_folder):
    """A function that stores a made-up answer of an experiment: rows of its table, and its arrays."""
    import pandas as pd

    from pruning_lab.records import store
    from pruning_lab.records.store import Result

    def put(e, rows, **arrays):
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
        store.put(e, Result(table, arrays, seconds=1.0))
        return e

    return put
