from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Chunk
from dna.cost.resources import (
    LUT_MODEL,
    RESOURCES,
    Coefficients,
    lut_ram_luts,
    ram_half_blocks,
    resources,
    terms,
)
from tests.cost.chains import columns, random_array


@pytest.mark.parametrize(
    ("depth", "bits", "halves"),
    [
        (64, 128, 0),
        (65, 128, 4),
        (512, 128, 4),
        (513, 128, 8),
        (1024, 128, 8),
        (2048, 9, 1),
        (1024, 36, 2),
        (512, 72, 2),
    ],
)
def test_block_ram_by_hand(depth, bits, halves):
    assert ram_half_blocks(depth, bits) == halves


def test_shallow_memories_are_lut_ram():
    assert lut_ram_luts(64, 128) == 43 * 4 and lut_ram_luts(65, 128) == 0


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


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    chunks = [random_array(rng, residual=bool(rng.integers(2))) for _ in range(40)]
    chunks += [replace(chunk, input_words=64, output_words=32) for chunk in chunks[:10]]
    batch = resources(columns(chunks))
    for row, chunk in enumerate(chunks):
        alone = resources(chunk)
        assert {n: int(getattr(batch, n)[row]) for n in RESOURCES} == alone.as_dict()


def test_more_buffer_never_costs_less_block_ram():
    depths = torch.arange(16, 8193, 16)
    halves = ram_half_blocks(depths, 128)
    assert bool((halves[1:] >= halves[:-1]).all())


def test_every_coefficient_counts_something():
    p = {f.name: int(getattr(Chunk(), f.name)) for f in fields(Chunk)}
    assert set(terms(p)) == {f.name for f in fields(Coefficients)}
    assert all(value > 0 for value in terms(p).values())
    larger = replace(Chunk(), oc=32)
    difference = resources(larger).lut - resources(Chunk()).lut
    expected = 64 * LUT_MODEL.per_accumulator + 256 * LUT_MODEL.per_multiplier + 512 * LUT_MODEL.per_weight_bit
    assert difference == pytest.approx(expected, abs=1)
