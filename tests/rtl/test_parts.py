"""The parts of the compute engine, each alone, at several parameter sets, against independent models in Python."""

from __future__ import annotations

import pytest

from tests.rtl.parts_bench import BENCHES, bench_source
from tests.rtl.runner import BUILD, RTL, run_cocotb

# The test module of a bench is parts_NAME.py; what a part contains beside itself.
CONTAINS = {
    "dna_compute_control": ("dna_nest_weight", "dna_nest_input"),
    "dna_mac_array": (
        "dna_mac_cell",
        "dna_mac_pair",
        "dna_lut_multiplier",
        "dna_sum_step",
        "dna_sum_buffer",
        "dna_ram",
    ),
    "dna_mac_cell": ("dna_lut_multiplier", "dna_sum_step"),
    "dna_post_lane": ("dna_lut_multiplier",),
    "dna_stream_buffer": ("dna_ram",),
    "dna_lane": ("dna_ram",),
    "dna_post": ("dna_post_lane", "dna_lut_multiplier", "dna_fifo"),
}


@pytest.mark.parametrize("bench", BENCHES)
def test_part_equals_model(bench: str) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    source, text = BUILD / f"parts_{bench}.v", bench_source(bench)
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    modules = {instance.module for instance in BENCHES[bench].values()}
    modules |= {inner for module in modules for inner in CONTAINS.get(module, ())}
    run_cocotb(
        f"parts_{bench}", f"tests.rtl.parts_{bench}", [source, *(RTL / f"{module}.v" for module in sorted(modules))]
    )
