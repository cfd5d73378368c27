"""`make` on a bare machine names what is missing, with the package that has it, before it installs anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "python3", "g++", "perl")


def make_tools(tmp_path, present, python=sys.executable):
    """`make tools` where only the named programs are on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in present:
        target = python if name == "python3" else shutil.which(name)
        (folder / name).symlink_to(target)
    command = [shutil.which("make"), "--no-print-directory", "tools"]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60, check=False
    )


def test_everything_present(tmp_path):
    done = make_tools(tmp_path, TOOLS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "message"),
    [("python3", "install python3"), ("g++", "apt install g++"), ("perl", "apt install perl")],
)
def test_the_missing_one_is_named(tmp_path, missing, message):
    done = make_tools(tmp_path, [tool for tool in TOOLS if tool != missing])
    assert done.returncode != 0
    assert message in done.stderr


def fake_python(tmp_path, script):
    path = tmp_path / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_told_so(tmp_path):
    python = fake_python(
        tmp_path, 'case "$1" in --version) echo Python 3.9.2;; *version_info*) exit 1;; *) exit 1;; esac'
    )
    done = make_tools(tmp_path, TOOLS, python)
    assert done.returncode != 0
    assert "Python 3.9.2 is too old: Python 3.11" in done.stderr


def test_a_python_without_venv_is_told_so(tmp_path):
    python = fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    done = make_tools(tmp_path, TOOLS, python)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


def test_help_names_the_two_commands_of_the_readme():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "make demo" in done.stdout and "make test" in done.stdout


def test_ci_runs_the_test_command_of_the_readme_in_a_fresh_environment():
    script = (ROOT / ".ci" / "run").read_text()
    assert "    make test " in (ROOT / "README.md").read_text()
    assert "make test VENV=.ci/venv" in script and "rm -rf .ci/venv" in script
