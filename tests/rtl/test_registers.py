"""The control registers and the statistics per layer."""

from __future__ import annotations

from pathlib import Path

from dna.accelerator.chunk import MAX_CHUNKS, Accelerator, Chunk, Link
from dna.accelerator.registers import REGISTERS, SNAPSHOT, all_capabilities, capabilities, register, registers
from dna.generate.registers_doc import update_document
from dna.generate.render import render_registers
from tests.rtl.registers_cocotb import CHUNKS
from tests.rtl.runner import BUILD, RTL, run_cocotb

DOCUMENT = Path(__file__).parents[2] / "docs" / "registers.md"


def test_registers_over_axi_lite() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    source, text = BUILD / "dna_registers.v", render_registers("Rendered for a test.", CHUNKS)
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


def test_several_chunks_have_a_program_each_and_say_what_they_have_in_common() -> None:
    names = [[entry.name for entry in registers(chunks)] for chunks in (1, 2, MAX_CHUNKS)]
    assert [sum(name.startswith("BASE_PROGRAM") for name in some) for some in names] == [2, 4, 2 * MAX_CHUNKS]
    assert len(names[2]) == len(REGISTERS)
    chunks = (Chunk(oc=32), Chunk(oc=16, ic=1))
    first, second = all_capabilities(Accelerator(chunks, links=(Link(0, 1, 256), Link(1, 0, 1024))))
    assert (first["CHUNKS"], first["LINKS"]) == (2, 20 << 12 | 2)
    assert (second["CHUNKS"], second["LINKS"]) == (2, 20 << 12 | 2)
    assert first["ARRAY"] != second["ARRAY"] == capabilities(chunks[1])["ARRAY"]
    # The largest accelerator of all still has a value.
    many = tuple(Link(writer, reader, 65536) for writer in range(MAX_CHUNKS) for reader in range(MAX_CHUNKS))
    assert all_capabilities(Accelerator((Chunk(),) * MAX_CHUNKS, links=many))[0]["LINKS"] < 1 << 32


def test_document_is_current() -> None:
    text = DOCUMENT.read_text()
    assert update_document(text) == text, "run: python -m dna.generate.registers_doc docs/registers.md"
