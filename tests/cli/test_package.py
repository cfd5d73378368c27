"""The wheel: holds the data folders, and works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dna.accelerator.board import board_names
from dna.paths import KINDS, data_folder

ROOT = Path(__file__).resolve().parents[2]
NOISE = ("__pycache__", "sim_build", ".pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel's content where an installer would put it, far from the checkout."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_wheel_holds_every_data_file_and_no_rubbish(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for kind in KINDS:
        for path in data_folder(kind).rglob("*"):
            if path.is_file() and not any(noise in str(path) for noise in NOISE):
                assert f"dna/_data/{kind}/{path.relative_to(data_folder(kind)).as_posix()}" in names
    assert not [name for name in names if any(noise in name for noise in NOISE)]
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "runs/"))]
    assert "dna/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_installed_package_finds_its_data(installed):
    code = "import dna.paths as p; print(p.__file__, *map(p.data_folder, p.KINDS), sep='\\n')"
    done = run(installed, "-c", code)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert line.startswith(str(installed)), "found in the checkout, not in the wheel"


def test_installed_command_works(installed):
    done = run(installed, "-m", "dna", "boards")
    assert done.returncode == 0, done.stderr
    for name in board_names():
        assert name in done.stdout
    assert run(installed, "-m", "dna", "doctor", "--quiet").returncode == 0


def test_command_is_declared(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "dna = dna.cli:run" in archive.read(entry).decode()
