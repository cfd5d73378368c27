"""From a Design to its Project, with a real frame as the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board, load_board
from dna.compile.compiler import compile as compile_design
from dna.compile.program import Program
from dna.cost.resources import accelerator_resources
from dna.cost.schedule import Schedule
from dna.design import Design
from dna.errors import UserError
from dna.generate.project import generate
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.reference import run as run_reference


def compiled(design: Design) -> Program:
    """The Design's Program."""
    return compile_design(design.network, design.weights, design.accelerator, design.mapping)


def write_project(
    design: Design, out: Path, frame_HWC: NDArray[np.integer], force: bool = False, passes: int = 1
) -> Schedule:
    """Writes the Project into `out`; returns the schedule that its simulation must show.

    `frame_HWC`: the frame it is proven with, integers in the range of the network's input; or several, (N, H, W, C),
    one for each frame of as many of the `passes` as there are (`dna.generate.program_folder.Frames`). UserError if
    the Design cannot be compiled, does not fit its board, or `out` is in use.
    """
    check_fits(design, design.board)
    frames = frame_HWC if frame_HWC.ndim == 4 else frame_HWC[None]
    references = [{**run_reference(design.network, design.weights, frame), "input": frame} for frame in frames]
    return generate(
        compiled(design),
        out,
        reference=references,
        design_text=design.text(),
        address_bits=design.accelerator.address_bits,
        memory=design.memories,
        passes=passes,
        board=design.board,
        metrics=design.metrics,
        force=force,
    )


def check_fits(design: Design, board: Board) -> None:
    """UserError names the first resource of which the board has too little."""
    for name, needed in accelerator_resources(design.accelerator).items():
        if needed > getattr(board, name):
            raise UserError(f"the accelerator needs {needed} {name}, board '{board.name}' has {getattr(board, name)}")


def load_frame(network: Network, path: Path) -> NDArray[np.integer]:
    """A frame, or several (N, H, W, C), from an .npy file. UserError if they have not the network's shape and range."""
    try:
        frame = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: no .npy file: {error}") from None
    first = network.layers[0]
    shape, low, high = (first.in_height, first.in_width, first.in_channels), *_range(first.in_signed)
    if not np.issubdtype(frame.dtype, np.integer) or frame.shape[-3:] != shape or frame.ndim > 4 or not frame.size:
        raise UserError(f"{path}: {frame.dtype} of shape {frame.shape}; the network takes integers of shape {shape}")
    if frame.min() < low or frame.max() > high:
        raise UserError(f"{path}: values from {frame.min()} to {frame.max()}; the network takes {low} to {high}")
    return frame.astype(np.int64)


def frame_for(design: Design, path: Path | None = None) -> NDArray[np.integer]:
    """The file's frame, else the first test image of the data set it was searched on, else a random one.

    Of a Design with several frames per pass as many, (N, H, W, C), unless there is a file.
    """
    count = design.mapping.frames
    if path is not None:
        return load_frame(design.network, path)
    if design.metrics.get("dataset") == "digits":
        from dna.supernet.digits import load_digits

        frames = load_digits().test.bytes_NHWC[:count].numpy().astype(np.int64)
    else:
        rng = np.random.default_rng(0)
        frames = np.stack([random_input(design.network, rng) for _ in range(count)])
    return frames[0] if count == 1 else frames


def _range(signed: bool) -> tuple[int, int]:
    return (-128, 127) if signed else (0, 255)


def on_board(design: Design, name: str) -> Design:
    """The Design for another board. UserError if it does not fit there."""
    return replace(design, board=load_board(name))
