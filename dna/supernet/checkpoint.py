"""Saving and resuming long loops: modules, optimisers and random generators in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from dna.errors import UserError


class Stateful(Protocol):
    """What can be saved: modules, optimisers, schedulers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


def save_checkpoint(
    path: Path,
    parts: Mapping[str, Stateful],
    generator: torch.Generator,
    step: int,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes everything under one name at once: an interrupted write leaves the previous file whole."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "generator": generator.get_state(),
        "step": step,
        "extra": dict(extra or {}),
    }
    temporary = path.with_name(path.name + ".part")
    torch.save(state, temporary)
    temporary.replace(path)


def load_checkpoint(
    path: Path, parts: Mapping[str, Stateful], generator: torch.Generator
) -> tuple[int, dict[str, Any]]:
    """Restores the parts and the generator; returns the step to go on with and what else was saved.

    Raises UserError if the file is unreadable or belongs to another model.
    """
    try:
        state = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        generator.set_state(state["generator"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"checkpoint {path} does not fit this run ({reason}); remove it to start again") from None
    return int(state["step"]), dict(state["extra"])
