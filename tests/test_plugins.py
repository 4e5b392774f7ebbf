"""Modules named in PRUNING_LAB_PLUGINS that are missing or broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab.running import plugins

ROOT = Path(__file__).resolve().parents[1]
BROKEN = {
    "syntax": ("def f(:\n", "SyntaxError: "),
    "name": ("\nnosuch\n", "NameError: name 'nosuch' is not defined (broken_name.py, line 2)"),
    "exit": ("raise SystemExit(0)\n", "SystemExit: 0 (broken_exit.py, line 1)"),
    "needs": (
        "import nosuch_package\n",
        "ModuleNotFoundError: No module named 'nosuch_package' (broken_needs.py, line 1)",
    ),
    "twice": (
        "from pruning_lab import unit_criterion\n\n@unit_criterion\ndef norm(weight):\n    return weight\n",
        "ValueError: criterion 'norm' is registered already, by pruning_lab.criteria",
    ),
    "reads": (  # the library refuses it, and the line is the user's
        "from pruning_lab import unit_criterion\n\n\n@unit_criterion\ndef odd(wieght):\n    return wieght\n",
        "rename them to what the function reads (broken_reads.py, line 4); mend it",
    ),
    "lines": ("raise RuntimeError('a\\nb')\n", "RuntimeError: a b (broken_lines.py, line 1)"),
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    for name, (text, _) in BROKEN.items():
        (tmp_path / f"broken_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plug_in_is_named_with_its_line(modules, name):
    with pytest.raises(
        plugins.PluginError, match=f"^PRUNING_LAB_PLUGINS names 'broken_{name}', which cannot be imported: "
    ) as caught:
        plugins.load([f"broken_{name}"])
    assert BROKEN[name][1] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nosuch_plugin", "nosuch_plugin.deep", "pruning_lab.nosuch"])
def test_a_missing_plug_in_is_named_with_what_to_do(name):
    with pytest.raises(
        plugins.PluginError, match=f"names '{name}', .*: there is no such module, .*; add its folder to PYTHONPATH"
    ):
        plugins.load([name])


@pytest.mark.parametrize("name", [".relative", "/a/path.py", "..", "a b"])
def test_what_is_no_name_of_a_module_is_one_sentence(name):
    with pytest.raises(plugins.PluginError, match="^PRUNING_LAB_PLUGINS names "):
        plugins.load([name])


def python(folder, names, *words):
    more = dict(PRUNING_LAB_PLUGINS=names, PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)]))
    return subprocess.run([sys.executable, *words], env=os.environ | more, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["pruning_lab", "pruning_lab.publish.build"])
def test_a_command_with_a_plug_in_that_is_missing_or_broken_says_one_line_and_ends_with_2(modules, module):
    for name in ("broken_name", "nosuch_plugin"):
        done = python(modules, name, "-m", module, *["list"] * (module == "pruning_lab"))
        assert done.returncode == 2 and done.stdout == ""
        assert (
            done.stderr.startswith(f"pruning_lab: PRUNING_LAB_PLUGINS names '{name}', ")
            and done.stderr.count("\n") == 1
        )


def test_the_installed_script_finds_a_module_in_the_current_folder_and_says_one_line_where_there_is_none(tmp_path):
    """Its path begins with the folder of the script, where `python -m` has the current one."""
    script = tmp_path / "bin" / "pruning-lab"
    script.parent.mkdir()
    script.write_text("import sys\nfrom pruning_lab.__main__ import main\nsys.exit(main())\n")
    code = "from pruning_lab import unit_criterion\n\n@unit_criterion\ndef mine(weight):\n    return weight.sum(1)\n"
    for folder, expected in (("with", 0), ("without", 2)):
        (tmp_path / folder).mkdir()
        if folder == "with":
            (tmp_path / folder / "mine_here.py").write_text(code)
        more = dict(PRUNING_LAB_PLUGINS="mine_here", PYTHONPATH=str(ROOT), PRUNING_LAB_STORE=str(tmp_path / "store"))
        words = [sys.executable, str(script), "plan", "01", "--profile", "smoke"]
        done = subprocess.run(words, env=os.environ | more, cwd=tmp_path / folder, capture_output=True, text=True)
        assert done.returncode == expected, done.stderr
        if expected:
            assert "PRUNING_LAB_PLUGINS names 'mine_here'" in done.stderr and done.stderr.count("\n") == 1


def test_a_program_of_one_s_own_gets_an_error_that_it_can_catch(modules):
    done = python(
        modules, "broken_name", "-c", "try:\n    import pruning_lab\nexcept ImportError as error:\n    print(error)"
    )
    assert done.returncode == 0 and done.stdout.startswith("PRUNING_LAB_PLUGINS names 'broken_name'")
