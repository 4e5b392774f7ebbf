"""Building the book: chapters side by side, what fails, what is stopped or killed, full disks, files that come and
go.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest

from pruning_lab import Recipe, Train
from pruning_lab.publish import beside, build, executing, inputs, kernels, pages, tied
from pruning_lab.records import disk

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 5  # that a condition may take to come true, however busy the machine is


@pytest.fixture
def write(tmp_path, store_folder, monkeypatch):
    """A function name, source -> a notebook; the library's own records and data are not looked at."""
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PRUNING_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PRUNING_LAB_WORKERS", raising=False)

    def made(name, source):
        cells = [
            nbformat.v4.new_code_cell('profile = "laptop"', metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(source),
        ]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), tmp_path / f"{name}.ipynb")
        return tmp_path / f"{name}.ipynb"

    return made


def execute(paths, folder):
    return executing.execute_all(paths, "smoke", False, None, folder)


def comes(true, what):
    """Returns when something is so."""
    end = time.monotonic() + 60 * MINUTES
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def alive(pid):
    """Whether a process is there and no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and state[0] != "Z"


# Side by side

MEETS = """import os, time
from pathlib import Path
Path({own!r}).touch()
while not Path({other!r}).exists():
    time.sleep(0.05)
print(os.environ["PRUNING_LAB_WORKERS"], os.environ["OMP_NUM_THREADS"], os.getcwd())"""


def test_chapters_execute_side_by_side_and_share_the_workers(write, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_WORKERS", "2")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setitem(executing.CELL_SECONDS, "smoke", 60 * MINUTES)
    places = [str(tmp_path / name) for name in "ab"]
    paths = [
        write("01_a", MEETS.format(own=places[0], other=places[1])),
        write("02_b", MEETS.format(own=places[1], other=places[0])),
    ]
    copies = execute(paths, tmp_path)
    for path in paths:
        assert nbformat.read(copies[path], as_version=4).cells[-1].outputs[0].text == f"1 1 {ROOT}\n"
    assert os.environ["PRUNING_LAB_WORKERS"] == "2"


def test_one_that_fails_names_itself_and_the_others_stay(write, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PRUNING_LAB_WORKERS", "2")
    store = f"from pathlib import Path\nfile = Path({str(tmp_path / 'store' / 'Train' / 'key' / 'record.json')!r})\n"
    store += "file.parent.mkdir(parents=True)\nfile.write_text('{}');"
    paths = [write("01_a", "1 / 0"), write("02_b", "1"), write("03_c", store), write("extra", "2")]
    with pytest.raises(build.BuildError, match="(?s)^01_a.ipynb, cell 3.*ZeroDivisionError"):
        execute(paths, tmp_path)
    kept = {executing.executed(path, "smoke", folder=tmp_path) for path in paths[1:]}
    assert set((tmp_path / "executed").iterdir()) == kept
    write("01_a", "1")
    capsys.readouterr()
    assert list(execute(paths, tmp_path)) == paths
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines if "as executed before" in line] == ["02_b", "03_c", "extra"]
    rest = [line.split(" in ")[0] for line in lines[2:-1]]  # pages that read what chapters leave are looked at last
    assert rest == ["  01_a: executing, profile smoke", "  01_a: executed"]


def test_all_that_fail_are_named(write, tmp_path):
    with pytest.raises(build.BuildError, match="(?s)01_a.ipynb, cell 3.*02_b.ipynb, cell 3"):
        execute([write("01_a", "1 / 0"), write("02_b", "1 / 0")], tmp_path)


def test_pages_that_read_records_wait_for_the_chapters(write, tmp_path):
    """The landing page draws what chapter 1 stored."""
    place = tmp_path / "made"
    chapter = write("01_a", f"import time\ntime.sleep(1)\nopen({str(place)!r}, 'w').close()")
    copies = execute([write("00", "0"), chapter, write("intro", f"open({str(place)!r}); print('there')")], tmp_path)
    assert "there" in copies[tmp_path / "intro.ipynb"].read_text()


def net(seed):
    return Train("digits", "lenet_300_100", Recipe(iterations=6), seed)


def test_next_is_what_shares_least_with_those_that_run():
    plans = {
        Path(name): frozenset(map(net, seeds))
        for name, seeds in dict(a=(1, 2, 3), b=(1, 2), c=(4,), d=(3, 5, 6)).items()
    }
    begun, running = [], []
    for path in map(Path, "abcd"):  # two at a time, the older one ends first
        begun.append(beside._next([p for p in map(Path, "abcd") if p not in begun], running[-1:], plans))
        running.append(begun[-1])
        assert path in plans
    assert [path.name for path in begun] == ["a", "c", "d", "b"]


def test_a_plan_holds_what_its_experiments_are_made_of():
    found = beside.planned(ROOT / "book" / "03_coherence.ipynb", "smoke", None)
    assert found & beside.planned(ROOT / "book" / "04_diffs.ipynb", "smoke", None)
    assert not found & beside.planned(ROOT / "book" / "01_frame_potential.ipynb", "smoke", None)
    assert (
        any(type(e) is Train for e in found)
        and beside.planned(ROOT / "book" / "intro.ipynb", "smoke", None) == frozenset()
    )


@pytest.mark.parametrize("said, cores, count", [("8", 2, 8), ("1", 2, 1), (None, 2, 2), (None, 16, build.WORKERS)])
def test_as_many_at_a_time_as_cores_or_as_the_environment_says(monkeypatch, said, cores, count):
    monkeypatch.delenv("PRUNING_LAB_WORKERS", raising=False)
    if said:
        monkeypatch.setenv("PRUNING_LAB_WORKERS", said)
    monkeypatch.setattr(build.os, "cpu_count", lambda: cores)
    assert executing.processes() == count


# Kernels


@pytest.mark.parametrize("deaths, works", [(1, True), (kernels.STARTS, False)])
def test_a_kernel_whose_ports_were_taken_begins_again(write, tmp_path, monkeypatch, deaths, works):
    whole, left = tied.command, [deaths]

    def command(words):
        left[0] -= 1
        return [sys.executable, "-c", "raise SystemExit(1)"] if left[0] >= 0 else whole(words)

    monkeypatch.setattr(tied, "command", command)
    path = write("01_a", "print(6 * 7)")
    if works:
        assert "42" in executing.execute(path, "smoke", folder=tmp_path).read_text()
    else:
        with pytest.raises(build.BuildError, match="01_a.ipynb: RuntimeError: Kernel died"):
            executing.execute(path, "smoke", folder=tmp_path)


def test_kernels_find_plug_ins_in_the_folder_where_the_command_was_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in executing._kernel_environment(1)
    monkeypatch.setenv("PRUNING_LAB_PLUGINS", "mine")
    assert executing._kernel_environment(1)["PYTHONPATH"] == f"/somewhere{os.pathsep}{tmp_path}"
    monkeypatch.delenv("PYTHONPATH")
    assert executing._kernel_environment(2)["PYTHONPATH"] == str(tmp_path)


BUILD = """
import sys
from pathlib import Path
from pruning_lab.publish import build
build.notebooks = lambda: [Path(path) for path in sys.argv[2:]]
whole = build.build
build.build = lambda *chosen: whole(*chosen, folder=sys.argv[1])
sys.exit(build.main(["--profile", "smoke"]))
"""
WAITS = """import os, subprocess, time
from pathlib import Path
child = subprocess.Popen(["sleep", "10000"])
part = Path({place!r} + ".part")
part.write_text(f"{{os.getpid()}} {{child.pid}}")
part.rename({place!r})
time.sleep(10_000)"""


@pytest.fixture
def building(write, tmp_path):
    """A build whose two chapters wait: its process, and the processes of the kernels and of what those started."""
    places = [tmp_path / name for name in "ab"]
    paths = [write(f"0{k}_wait", WAITS.format(place=str(place))) for k, place in enumerate(places, 1)]
    words = [sys.executable, "-c", BUILD, str(tmp_path / "out"), *map(str, paths)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PRUNING_LAB_WORKERS": "2"}, **pipes)
    comes(lambda: process.poll() is not None or all(place.exists() for place in places), "two kernels")
    assert process.poll() is None, process.communicate()
    found = [[int(pid) for pid in place.read_text().split()] for place in places]
    yield process, [kernel for kernel, _ in found], [child for _, child in found]
    process.kill()
    for pid in filter(alive, sum(found, [])):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def test_ctrl_c_ends_the_kernels_and_what_they_started(building, tmp_path):
    process, begun, children = building
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60 * MINUTES)
    assert process.returncode == 130 and err.strip().startswith("Stopped.") and "Traceback" not in out + err
    comes(lambda: not any(map(alive, begun + children)), "the end of the kernels")
    assert list((tmp_path / "out" / "executed").iterdir()) == []


def test_kernels_do_not_outlive_a_build_that_is_killed(building):
    process, begun, _ = building
    process.kill()
    comes(lambda: not any(map(alive, begun)), "the end of the kernels")


SITS = """
import os, sys, time
with open(sys.argv[1] + ".part", "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, sys.argv[1])
time.sleep(10_000)"""
HERE = "from pruning_lab.publish import pages; import sys; pages._run([sys.executable, '-c', sys.argv[2], sys.argv[1]])"
ELSEWHERE = """
import runpy, subprocess, sys
text = open(sys.argv[3]).read().replace("return sys.platform", "return False and sys.platform")
open(sys.argv[1] + ".py", "w").write(text)
words = [sys.executable, sys.argv[1] + ".py", str(__import__("os").getpid()), sys.executable, "-c",
         sys.argv[2], sys.argv[1]]
subprocess.run(words)
"""


@pytest.mark.parametrize("script", [HERE, ELSEWHERE], ids=["as the system says", "where it does not say"])
def test_what_makes_the_pages_does_not_outlive_a_build_that_is_killed(tmp_path, script):
    place = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", script, str(place), SITS, tied.__file__], cwd=ROOT)
    comes(place.exists, "the process")
    pid = int(place.read_text())
    assert alive(pid)
    process.kill()
    process.wait()
    comes(lambda: not alive(pid), "its end")


def test_the_exit_code_and_the_output_of_a_command_come_through():
    code, said = pages._run(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"]
    )
    assert code == 3 and sorted(said.split()) == ["err", "out"]


# Nothing new


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """A build folder whose pages are copies of the sources: how often they were made."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.md").write_text("a")
    made = []

    def html(folder):
        made.append(folder)
        (folder / "html" / "book").mkdir(parents=True, exist_ok=True)
        (folder / "html" / "book" / "a.html").write_text((folder / "src" / "a.md").read_text())

    monkeypatch.setattr(pages, "render", html)
    return made


def test_pages_are_made_again_only_where_something_is_new(rendered, tmp_path, monkeypatch):
    page = tmp_path / "html" / "book" / "a.html"
    changes = [
        lambda: None,
        lambda: (tmp_path / "src" / "a.md").write_text("b"),
        lambda: (
            (tmp_path / "src" / "a.md").rename(tmp_path / "src" / "b.md")
            and (tmp_path / "src" / "a.md").write_text("b")
        ),
        lambda: page.write_text("changed by hand"),
        page.unlink,
        (tmp_path / "pages.json").unlink,
        lambda: (tmp_path / "pages.json").write_text('{"from": "'),
        lambda: monkeypatch.setattr(inputs.metadata, "distributions", lambda: []),
    ]
    for count, change in enumerate(changes):
        if count:
            change()
        assert pages.built(tmp_path) == tmp_path / "html" and len(rendered) == count + 1
        assert pages.built(tmp_path) == tmp_path / "html" and len(rendered) == count + 1, "nothing was new"
        assert page.read_text() == (tmp_path / "src" / "a.md").read_text()


def test_pages_that_could_not_be_made_are_tried_again(rendered, tmp_path, monkeypatch):
    pages.built(tmp_path)
    (tmp_path / "src" / "a.md").write_text("b")
    with monkeypatch.context() as patch:
        patch.setattr(pages, "render", lambda folder: (_ for _ in ()).throw(build.BuildError("no")))
        with pytest.raises(build.BuildError):
            pages.built(tmp_path)
    (tmp_path / "src" / "a.md").write_text("a")
    pages.built(tmp_path)
    assert len(rendered) == 2


# A full disk


@pytest.fixture
def built(write, tmp_path, monkeypatch):
    """A function source -> exit code and errors of a build of one chapter with that source."""

    def made(source, capsys):
        monkeypatch.setattr(build, "notebooks", lambda: [write("01_a", source)])
        whole = build.build
        with monkeypatch.context() as patch:
            patch.setattr(build, "build", lambda *chosen: whole(*chosen, folder=tmp_path / "out"))
            code = build.main(["--profile", "smoke"])
        return code, capsys.readouterr().err

    return made


def is_said(code, err, folder, why="no space left"):
    [line] = err.splitlines()
    return (
        code == 1
        and line.startswith(f"{why}: the book cannot be stored in {folder}")
        and "the same command goes on from there" in line
    )


@pytest.mark.parametrize("number, why", [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "the quota is used up")])
def test_a_disk_that_is_full_in_a_chapter_is_said_in_a_sentence(built, tmp_path, capsys, number, why):
    code, err = built(f"raise OSError({number}, 'x')", capsys)
    assert is_said(code, err, tmp_path / "out", why)


def test_what_the_store_says_of_a_full_disk_is_said_as_it_is(built, capsys):
    source = f"class {disk.DiskFull.__name__}(OSError):\n    pass\n\n"  # a kernel that imports torch takes seconds
    source += "raise DiskFull('no space left: Train x cannot be stored in /there. Free some space')"
    assert built(source, capsys) == (1, "no space left: Train x cannot be stored in /there. Free some space\n")


@pytest.mark.parametrize("where", ["mkdir", "rename", "replace", "write_text"])
def test_a_disk_that_is_full_while_the_build_writes_is_said_in_a_sentence(built, tmp_path, capsys, monkeypatch, where):
    if where != "mkdir":
        monkeypatch.setattr(
            pages, "_run", lambda command: ((tmp_path / "out/work/_build/html").mkdir(parents=True), (0, ""))[1]
        )
    owner = build.Path

    def full(path, *_, **__):
        if where in ("rename", "replace", "write_text", "mkdir") and str(path).startswith(str(tmp_path / "out")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, *_, **__)

    whole = getattr(owner, where)
    if where == "rename":
        monkeypatch.setattr(build.shutil, "copy", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "x")))
    else:
        monkeypatch.setattr(owner, where, full)
    code, err = built("1", capsys)
    monkeypatch.undo()
    assert is_said(code, err, tmp_path / "out")
    assert not (tmp_path / "out" / "src").exists() and not (tmp_path / "out" / "work").exists()


def test_a_disk_that_is_full_for_jupyter_book_is_said_in_a_sentence(built, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        pages, "_run", lambda command: (2, "Traceback ...\nOSError: [Errno 28] No space left on device: 'x'\n")
    )
    code, err = built("1", capsys)
    assert is_said(code, err, tmp_path / "out")


def test_a_limit_of_the_system_on_files_is_a_full_disk(write, tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))" + BUILD
    words = [sys.executable, "-c", limited, str(tmp_path / "out"), str(write("01_a", "print('x' * 4000)"))]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True
    )
    assert is_said(done.returncode, done.stderr, tmp_path / "out", "a file may not grow so large"), done.stderr
    assert list((tmp_path / "out" / "executed").iterdir()) == []


@pytest.mark.parametrize("source", ["1 / 0", "raise OSError(13, 'x')"])
def test_other_errors_of_a_chapter_are_told_in_full(built, capsys, source):
    code, err = built(source, capsys)
    assert code == 1 and "01_a.ipynb, cell 3, failed" in err and "still in place" in err


# Files that come and go


def dangling(path):
    """A file that is listed and not there: what one is that goes between two looks."""
    path.parent.mkdir(parents=True)
    path.symlink_to(path.with_name("gone"))


def test_a_file_that_goes_while_one_looks_is_not_there(write, tmp_path):
    path, before = write("01_a", "1"), inputs.surroundings()
    for place in ("store/Train/a", "results/Train/a"):
        dangling(tmp_path / place / "record.json")
    dangling(tmp_path / "data" / "mnist" / "train.npz")
    assert inputs.surroundings() == before and inputs.key(path, {})
    assert inputs.bytes_of([tmp_path / "results/Train/a/record.json"]) == inputs.bytes_of([])
    assert list(inputs.dated([tmp_path / "nowhere", path / "below a file"])) == []


def test_what_cannot_be_read_for_another_reason_is_an_error(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text("a")
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    with pytest.raises(PermissionError):
        inputs.bytes_of([file])


def test_records_that_are_written_and_removed_meanwhile_do_no_harm(write, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "ROOT", tmp_path)  # else most of the time goes into what does not move
    monkeypatch.setattr(inputs.metadata, "distributions", lambda: [])
    done = threading.Event()

    def churn():
        while not done.is_set():
            for shelf in ("store", "results"):
                folder = tmp_path / shelf / "Train" / ".part-x"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "record.json").write_text("{}")
                folder.rename(folder.with_name("key"))
                (folder.with_name("key") / "record.json").unlink()
                folder.with_name("key").rmdir()
                folder.parent.rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            inputs.surroundings()
    finally:
        done.set()
        thread.join()


def test_a_record_that_is_only_being_written_changes_no_key(write, tmp_path):
    path = write("01_a", "1")
    before = inputs.key(path, {})
    for name in (".part-x", "key"):
        folder = tmp_path / "store" / "Train" / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{}")
        assert (inputs.key(path, {}) == before) == (name == ".part-x")


def test_what_records_computed_again_came_to_concerns_the_page_that_shows_it_and_no_chapter(write, tmp_path):
    paths = [write("01_a", "1"), write("evidence", "1")]
    before = [executing.executed(path, "smoke", folder=tmp_path) for path in paths]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "verified.json").write_text("{}")
    after = [executing.executed(path, "smoke", folder=tmp_path) for path in paths]
    assert before[0] == after[0] and before[1] != after[1]


# Paths of this machine


@pytest.mark.parametrize(
    "root, text, found",
    [
        ("/data", "see /data", True),
        ("/data", "see /data.", True),
        ("/data", "see /data/book/x.csv", True),
        ("/data", '{"a": "/data/book"}', True),
        ("/data", "file:///data/book", True),
        ("/data", '"text": "one\\n/data/book"', True),
        ("/data", "\\u001b[31m/data/book", True),
        ("/data", "PATH=/bin:/data/bin", True),
        ("/data", "PRUNING_LAB_DATA=$SHARED/data", False),
        ("/data", "${SHARED}/data", False),
        ("/data", "~/data and ./data and ../data", False),
        ("/data", "https://host/data/x", False),
        ("/data", "train/data", False),
        ("/data", "/mnt/data", False),
        ("/data", "/database /data-set /data.csv /data_1", False),
        ("/app", "https://a.b/app, /apple, my/app, /application", False),
        ("/app", "<code>/app/book</code>", True),
        ("/code", "<code>x</code> <main></main>", False),
        ("/code", "<code>/code/book</code>", True),
        ("/home/me/lab", "/home/me/lab2 /home/me/lab-old", False),
        ("/home/me/lab", "/home/me/lab/book", True),
        ("/", "a / b", False),
    ],
)
def test_only_whole_paths_are_paths_of_this_machine(tmp_path, monkeypatch, root, text, found):
    monkeypatch.setattr(inputs, "ROOT", Path(root))
    monkeypatch.setattr(build.sys, "prefix", root)
    monkeypatch.setattr(build.Path, "home", lambda: Path("/home/somebody"))
    (tmp_path / "page.html").write_text(text)
    assert pages.machine_paths(tmp_path) == ([f"page.html: {root}"] if found else [])


def test_the_user_s_folder_and_the_environment_are_found_and_a_system_s_python_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "ROOT", Path("/a/lab"))
    monkeypatch.setattr(build.Path, "home", lambda: Path("/home/me"))
    (tmp_path / "page.json").write_text(
        json.dumps("at /home/me/x and /home/meter/x, #!/usr/bin/env python, /a/venv/bin")
    )
    for prefix, more in (("/usr", []), ("/a/venv", ["/a/venv"])):
        monkeypatch.setattr(build.sys, "prefix", prefix)
        assert pages.machine_paths(tmp_path) == [f"page.json: {folder}" for folder in [*more, "/home/me/"]]


def test_full_is_what_the_library_calls_full():
    """So that no cause that one knows is a traceback for the other."""
    for code in disk.FULL:
        with pytest.raises(OSError) as caught:
            executing.raise_full("OSError", f"[Errno {code}] x")
        assert disk.reason(caught.value) == disk.FULL[code]
    executing.raise_full("ValueError", "28 of 122")
