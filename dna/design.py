"""The Design: everything that was chosen, and what was measured on the way. A folder of two files.

design.yaml    network, accelerator, mapping, board, metrics: for people as much as for programs
weights.npz    the integers of every layer
"""

from __future__ import annotations

from collections.abc import Mapping as TableOf
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Memories
from dna.accelerator.mapping import Mapping
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.files import load_weights, network_from_dict, network_to_dict, save_weights
from dna.network.network import Network, Weights
from dna.record import from_plain, read_yaml, to_plain
from dna.runs import write_atomically

FORMAT = 1
"""Raised when a change would make an older file mean something else."""
REQUIRED = ("format", "network", "accelerator", "mapping", "board", "metrics")
KEYS = (*REQUIRED, "shares")


@dataclass(frozen=True, eq=False)
class Design:
    """A network with its weights, the accelerator that runs it, and how, on a board."""

    network: Network
    weights: Weights
    accelerator: Accelerator
    mapping: Mapping
    board: Board
    metrics: TableOf[str, Any] = field(default_factory=dict)
    """Plain values: what the search and the training measured."""
    shares: tuple[int, ...] = ()
    """Cycles per beat of each port of the accelerator, where an interconnect gives each of them a fixed share of the
    board's memory ports; empty: each has one of the board's ports for itself."""

    def __post_init__(self) -> None:
        given, needed = len(self.mapping.layers), len(lower(self.network).layers)
        if given != needed:
            raise UserError(f"mapping.layers: {given} entries for {needed} layers of network '{self.network.name}'")
        for layer in self.network.layers:
            if layer.computes and layer.name not in self.weights:
                raise UserError(f"weights: layer '{layer.name}' has none")
        if self.shares:
            self._check_shares()
        else:
            self._check_ports()
        self._check_mapping(needed)

    @property
    def memories(self) -> Memories:
        """The memory behind each port."""
        memory = self.board.memory
        return tuple(replace(memory, beat_interval=share) for share in self.shares) if self.shares else memory

    def _check_shares(self) -> None:
        """All shares together must not exceed what the board's ports carry."""
        widths = [chunk.port_bytes for chunk in self.accelerator.chunks for _ in range(chunk.ports)]
        if len(self.shares) != len(widths):
            raise UserError(f"shares: {len(self.shares)} entries for {len(widths)} ports of the accelerator")
        if min(self.shares) < 1:
            raise UserError(f"shares: {min(self.shares)} cycles per beat; it must be at least 1")
        used = sum(Fraction(width, share) for width, share in zip(widths, self.shares, strict=True))
        carried = self.board.carried
        if used > carried:
            raise UserError(
                f"shares: {float(used):.1f} bytes per cycle in all;"
                f" the memory of board '{self.board.name}' moves {float(carried):.1f}; give longer intervals"
            )

    def _check_ports(self) -> None:
        """Each port of the accelerator has one of the board's."""
        for index, chunk in enumerate(self.accelerator.chunks):
            if chunk.port_bytes > self.board.port_bytes:
                raise UserError(
                    f"accelerator.chunks[{index}].port_bytes is {chunk.port_bytes};"
                    f" the ports of board '{self.board.name}' have {self.board.port_bytes}"
                )
        if self.accelerator.ports > self.board.ports:
            raise UserError(
                f"accelerator: its chunks have {self.accelerator.ports} ports;"
                f" board '{self.board.name}' has {self.board.ports}; use fewer, or give each a share of them"
            )

    def _check_mapping(self, layers: int) -> None:
        """What a mapping says beyond single layers must fit the network and the accelerator."""
        mapping, chunks = self.mapping, len(self.accelerator.chunks)
        for name in ("chunks", "batches"):
            given = len(getattr(mapping, name))
            if given not in (0, layers):
                raise UserError(f"mapping.{name}: {given} entries for {layers} layers of network '{self.network.name}'")
        for index, chunk in enumerate(mapping.chunks):
            if not 0 <= chunk < chunks:
                raise UserError(f"mapping.chunks[{index}] is {chunk}; the accelerator has {chunks} chunks")
        if mapping.frames < 1:
            raise UserError(f"mapping.frames is {mapping.frames}; it must be at least 1")
        for index, batch in enumerate(mapping.batches):
            if batch < 1 or mapping.frames % batch:
                raise UserError(
                    f"mapping.batches[{index}] is {batch}; it must divide frames, which is {mapping.frames}"
                )

    def save(self, folder: Path) -> None:
        """Writes the folder's two files; design.yaml comes last, so a folder that has it is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / ".weights.npz"
        save_weights(temporary, self.weights)
        temporary.replace(folder / "weights.npz")
        write_atomically(folder / "design.yaml", self.text())

    def text(self) -> str:
        """The content of design.yaml."""
        content = {
            "format": FORMAT,
            "network": network_to_dict(self.network),
            "accelerator": to_plain(self.accelerator),
            "mapping": to_plain(self.mapping),
            "board": to_plain(self.board),
            "metrics": to_plain(self.metrics),
        }
        if self.shares:
            content["shares"] = list(self.shares)
        return yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)

    @classmethod
    def load(cls, folder: Path) -> Design:
        """The Design in `folder`. UserError names the file and the key that is wrong or missing."""
        path = folder / "design.yaml"
        if not path.is_file():
            raise UserError(f"{folder} holds no design: {path.name} is missing")
        content = read_yaml(path)
        try:
            parts = _parts(content)
            weights = load_weights(folder / "weights.npz", parts["network"])
            return cls(weights=weights, **parts)
        except UserError as error:
            message = str(error)
            raise UserError(message if message.startswith(str(folder)) else f"{path}: {message}") from None


def _parts(content: Any) -> dict[str, Any]:
    if not isinstance(content, TableOf):
        raise UserError("a table of keys is expected")
    for key in content:
        if key not in KEYS:
            raise UserError(f"unknown key '{key}'; known: {', '.join(KEYS)}")
    for key in REQUIRED:
        if key not in content:
            raise UserError(f"key '{key}' is missing")
    if content["format"] != FORMAT:
        raise UserError(f"format is {content['format']}; this version of dna reads {FORMAT}")
    if not isinstance(content["metrics"], TableOf):
        raise UserError("metrics: a table of keys is expected")
    return {
        "network": network_from_dict(content["network"]),
        "accelerator": from_plain(Accelerator, content["accelerator"], "accelerator"),
        "mapping": from_plain(Mapping, content["mapping"], "mapping"),
        "board": from_plain(Board, content["board"], "board"),
        "metrics": dict(content["metrics"]),
        "shares": _shares(content.get("shares", [])),
    }


def _shares(given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or any(type(share) is not int for share in given):
        raise UserError(f"shares: is {given!r}; it must be a list of integers, one per port")
    return tuple(given)
