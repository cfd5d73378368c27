"""A point of the design space: what a search chooses. Mappings and link sizes are solved from it, never searched."""

from __future__ import annotations

from dataclasses import dataclass

from dna.accelerator.chunk import MAX_CHUNKS, Chunk
from dna.errors import UserError


@dataclass(frozen=True)
class Point:
    """An accelerator of one or more chunks, and where the layers and tensors of a network go on it.

    Layers are the executed ones (`dna.compile.lowering.lower`), in order.
    """

    chunks: tuple[Chunk, ...]
    shares: tuple[int, ...]
    """Cycles per beat on every memory port of each chunk, as `Design.shares`: one entry per chunk."""
    assignment: tuple[int, ...]
    """Chunk of each layer; any assignment is legal."""
    frames: int = 1
    """Frames of a pass."""
    batches: tuple[int, ...] = ()
    """Frames per weight load of each layer, dividing `frames`; empty: `frames` for all."""
    on_chip: frozenset[str] = frozenset()
    """Tensors handed over in on-chip memory instead of DRAM."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.chunks) <= MAX_CHUNKS:
            raise UserError(f"accelerator: {len(self.chunks)} chunks given; it must be 1 to {MAX_CHUNKS}")
        if len(self.shares) != len(self.chunks):
            raise UserError(f"shares: {len(self.shares)} entries for {len(self.chunks)} chunks")
        if min(self.shares) < 1:
            raise UserError(f"shares: {min(self.shares)} cycles per beat; it must be at least 1")
        for layer, chunk in enumerate(self.assignment):
            if not 0 <= chunk < len(self.chunks):
                raise UserError(f"assignment[{layer}] is {chunk}; there are {len(self.chunks)} chunks")

    def batch(self, layer: int) -> int:
        return self.batches[layer] if self.batches else self.frames

    def layers(self, chunk: int) -> tuple[int, ...]:
        """Numbers of the chunk's layers, in order."""
        return tuple(layer for layer, home in enumerate(self.assignment) if home == chunk)
