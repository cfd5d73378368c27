"""Small spaces and data for fast tests."""

from __future__ import annotations

import pytest
import torch

from dna.supernet.space import Block, Space
from dna.supernet.supernet import Supernet


@pytest.fixture
def space() -> Space:
    """Three blocks; the first and the last may be skipped."""
    return Space((6, 6, 1), 3, 4, 1, (Block(4), Block(6, 2), Block(6)), 8, kernels=(3,), expansions=(1, 2))


@pytest.fixture
def net(space: Space) -> Supernet:
    return Supernet(space, 1 / 16, torch.Generator().manual_seed(0))
