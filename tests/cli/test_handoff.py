"""`dna generate --archive`: the Project, packed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from dna import cli, runs
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.default_mapping import default_mapping
from dna.design import Design
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights

CHUNK = Chunk(oc=16, ic=2, px=2, port_bytes=8)


def test_archive_beside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = Network("net", (Layer("a", "conv", "input", 3, 6, 6, 8, (3, 3), padding=(1, 1, 1, 1), lo=0),))
    weights = random_weights(network, np.random.default_rng(1))
    mapping, metrics = default_mapping(network, CHUNK), {"accuracy": {"int8": 0.5}}
    design = Design(network, weights, Accelerator((CHUNK,)), mapping, load_board("pynq-z2"), metrics)
    run = runs.create("test", {"board": "pynq-z2"})
    design.save(run.design)
    assert cli.main(["generate", "--archive", "out/net.tar.gz"]) == 0
    with tarfile.open("out/net.tar.gz") as tar:
        names = set(tar.getnames())
    assert {"net/manifest.json", "net/rtl/dna_top.v", "net/host/dna_driver.c", "net/vivado/project.tcl"} <= names
    settings = (run.project / "vivado" / "settings.tcl").read_text()
    assert design.board.part in settings and "pynq-z2" in settings
    assert '"int8": 0.5' in (run.project / "report" / "measured.json").read_text()
    assert cli.main(["generate", "--archive", "net.zip"]) == 2
