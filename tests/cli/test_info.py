"""The command line itself: help, exit codes, errors in one line, pipes, and what doctor finds."""

import os
import subprocess
import sys

import pytest

from dna import __version__, cli, doctor


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "dna", *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_help_names_every_command_and_imports_no_torch():
    done = run("--help")
    assert done.returncode == 0
    for name in cli.LazyGroup.commands_at:
        assert name in done.stdout
    code = "import sys; from dna import cli; cli.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_version():
    assert run("--version").stdout == f"dna {__version__}\n"


@pytest.mark.parametrize("name", list(cli.LazyGroup.commands_at))
def test_each_command_explains_itself(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert f"Usage: dna {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["boards", "zc707"], "dna: unknown board 'zc707'"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["boards", "--colour"], "No such option"),
    ],
)
def test_user_mistakes_are_exit_code_2_without_traceback(arguments, message, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_boards(capsys):
    assert cli.main(["boards"]) == 0
    out = capsys.readouterr().out
    assert "xc7z045ffg900-2" in out and "218600" in out and "4 × 128 bit" in out


def test_a_closed_pipe_is_quiet():
    process = subprocess.Popen([sys.executable, "-m", "dna", "boards"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == cli.EXIT_CLOSED_PIPE


def test_interruption_is_one_line(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", interrupted)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "dna: stopped\n"


def test_doctor_finds_what_these_tests_run_with(capsys):
    found = {check.name: check for check in doctor.checks()}
    for name in ("python", "torch", "numpy", "cocotb", "verilator", "libpython", "g++", "make", "perl"):
        assert found[name].state == "present", found[name]
        assert found[name].found
    assert cli.main(["doctor"]) == 0
    assert "ready" in capsys.readouterr().out


def test_doctor_without_tools_names_the_packages_and_fails(tmp_path):
    done = run("doctor", env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 1
    for remedy in ("apt install g++", "apt install make", "apt install perl"):
        assert remedy in done.stdout
    assert "not ready: g++, make, perl" in done.stdout


def test_doctor_quiet_says_only_what_fails(tmp_path):
    assert run("doctor", "--quiet").stdout == ""
    done = run("doctor", "--quiet", env={**os.environ, "PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "g++" in done.stderr and "torch" not in done.stderr


def test_doctor_tells_a_compiler_that_cannot_compile(tmp_path):
    fake = tmp_path / "g++"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = run("doctor", "--quiet", env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert "does not compile C++20" in done.stderr
