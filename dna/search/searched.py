"""Which part of the whole space is there for a network, and which of it is searched on a board."""

from __future__ import annotations

from dna.accelerator.board import Board
from dna.accelerator.chunk import MAX_CHUNKS, Accelerator, Chunk, Link
from dna.accelerator.isa import WORD_BYTES
from dna.compile.lowering import lower
from dna.compile.placement import on_chip_candidates
from dna.network.network import Network
from dna.search.constraints import Constraints
from dna.search.pipeline_lists import Assignment
from dna.search.pipeline_space import BATCHES, FRAMES, PipelineSpace
from dna.search.space import INPUT_CHANNELS, OUTPUT_CHANNELS, PIXEL_LANES, Space, whole_space
from dna.search.stage_prices import IDLE_AXES

SEARCHED_CHUNKS = 4
"""Most chunks that are tried unless more are asked for."""
SEARCHED_SHARES = (1, 2, 3, 4, 6, 8, 16, 64)
BURST = 64
"""Beats: 1 KB, so that a port's latency is hidden by few bursts."""
OUTSTANDING = 8


def placeable(network: Network) -> tuple[str, ...]:
    """Tensors that may be handed over on chip, whatever the chunks."""
    return on_chip_candidates(network, Accelerator((Chunk(),), links=(Link(0, 0, 64),)))


def whole(network: Network, constraints: Constraints | None = None, assignment: Assignment = "free") -> PipelineSpace:
    """Everything that can be built for a network, on 1 to 16 chunks. UserError if the constraints leave nothing."""
    lowered = lower(network)
    residual = any(layer.residual is not None for layer in lowered.layers)
    return (constraints or Constraints()).space(
        lowered.layers,
        whole_space(residual),
        MAX_CHUNKS,
        tensors=placeable(network),
        frames=FRAMES,
        batches=BATCHES,
        batch_per="layer",
        assignment=assignment,
    )


def chunk_lists(network: Network, board: Board) -> Space:
    """Parameters of a chunk that are searched on a board: those that can pay there, on a chip none that spare DSPs."""
    most = 2 * board.dsp if board.technology is None else max(PIXEL_LANES) * WORD_BYTES
    return whole_space(
        any(layer.residual is not None for layer in lower(network).layers),
        oc=tuple(v for v in OUTPUT_CHANNELS if v <= max(WORD_BYTES, most)),
        ic=INPUT_CHANNELS,
        px=tuple(v for v in PIXEL_LANES if v == 1 or v * WORD_BYTES <= most),
        port_bytes=(WORD_BYTES,),
        burst_beats=(BURST,),
        outstanding=(OUTSTANDING,),
        dataflow=(0,),
        sum_words=(0,),
        **({} if board.technology is None else dict.fromkeys(IDLE_AXES, (0,))),
    )


def searched(
    network: Network,
    board: Board,
    constraints: Constraints | None = None,
    *,
    most: int = SEARCHED_CHUNKS,
    assignment: Assignment = "contiguous",
) -> PipelineSpace:
    """The part that the sampling methods search: layers in runs on up to `most` chunks, output-stationary, wide ports,
    all tensors in memory that are not asked for on chip.

    Samples have every number of chunks equally often. UserError if the constraints leave nothing.
    """
    return (constraints or Constraints()).space(
        lower(network).layers,
        chunk_lists(network, board),
        most,
        tensors=placeable(network),
        in_memory=True,
        shares=SEARCHED_SHARES,
        frames=(1, 4),
        batches=(1, 4),
        assignment=assignment,
        even=True,
    )
