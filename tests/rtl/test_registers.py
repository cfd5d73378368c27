"""The control registers and the statistics per layer."""

from __future__ import annotations

from pathlib import Path

from dna.accelerator.chunk import Chunk
from dna.accelerator.registers import REGISTERS, SNAPSHOT, capabilities, register
from dna.generate.registers_doc import update_document
from dna.generate.render import render_registers
from tests.rtl.runner import BUILD, RTL, run_cocotb

DOCUMENT = Path(__file__).parents[2] / "docs" / "registers.md"


def test_registers_over_axi_lite() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    source, text = BUILD / "dna_registers.v", render_registers("Rendered for a test.")
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    run_cocotb("dna_registers", "tests.rtl.registers_cocotb", [source])


def test_layer_statistics() -> None:
    sources = [RTL / "dna_layer_stats.v", RTL / "dna_ram.v"]
    run_cocotb("dna_layer_stats", "tests.rtl.layer_stats_cocotb", sources, parameters={"LAYERS": 4})


def test_map_has_no_overlap() -> None:
    assert len({entry.offset for entry in REGISTERS}) == len(REGISTERS)
    assert len({entry.name for entry in REGISTERS}) == len(REGISTERS)
    for entry in REGISTERS:
        assert entry.offset % 4 == 0
        taken = [bit for field in entry.fields for bit in range(field.low, field.high + 1)]
        assert len(set(taken)) == len(taken) and max(taken) < 32
        # The Verilog template decides by the first field what kind of register it is.
        assert len({field.access for field in entry.fields}) == 1


def test_each_counter_of_the_snapshot_has_a_register() -> None:
    assert [register(f"LAYER_{name.upper()}").offset for name in SNAPSHOT] == [0x90 + 4 * n for n in range(7)]


def test_capabilities_of_a_chunk() -> None:
    chunk = Chunk(oc=32, ic=8, px=3, post_lanes=2, input_words=100, weight_words=200, param_words=300, output_words=400)
    values = capabilities(chunk)
    assert values["ID"].to_bytes(4, "big") == b"DNA1"
    assert values["ARRAY"] == 0x02030820
    assert values["PORTS"] == 0x00011002
    assert values["BUFFERS_IN"] == 200 << 16 | 100
    assert values["BUFFERS_OUT"] == 400 << 16 | 300


def test_document_is_current() -> None:
    text = DOCUMENT.read_text()
    assert update_document(text) == text, "run: python -m dna.generate.registers_doc docs/registers.md"
