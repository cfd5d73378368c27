"""Constraints in YAML: what a user gives rather than leaves to the search.

chunks: 4                        # or [2, 3, 4]
every: {post_lanes: [8, 16]}     # parameters of all chunks: a value, or a list of them
each:
  0: {oc: 16, ic: 4, px: 8}      # of one chunk, counted from 0 as in design.yaml
layers: {conv1: 0, "layer4*": [2, 3]}
on_chip: ["*_expand"]            # tensors, named after the layers that write them
in_memory: [pool]
frames: 4                        # of a pass
batch: [1, 4]                    # frames per weight load
limits: {buffer: 1MB, dsp: 450}  # of the accelerator as a whole, as --limit takes them
board_share: 0.5                 # of everything the board has
keep_accelerator: FOLDER         # of a run, or of a design: nothing of the hardware is searched
keep_mapping: FOLDER             # assignment, tiles, batches and places of tensors are those of that design
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dna.accelerator.chunk import DATAFLOWS, MAX_CHUNKS, SWITCHES, Chunk
from dna.design import Design
from dna.errors import UserError
from dna.record import read_yaml
from dna.search.constraints import SHARE, Constraints, Values
from dna.search.goal import Limit, parse_limit

MOST_FRAMES = 64


def read_constraints(path: Path) -> Constraints:
    """The constraints in a YAML file. UserError, one line, with the file and the key."""
    content = read_yaml(path)
    return constraints_of(content if content is not None else {}, str(path))


def constraints_of(content: Any, source: str = "constraints") -> Constraints:
    """The constraints that plain values say, as a YAML file holds them."""
    if not isinstance(content, Mapping):
        raise UserError(f"{source}: a table of keys is expected")
    for key in content:
        if key not in READERS:
            raise UserError(f"{source}: unknown key '{key}'; known: {', '.join(READERS)}")
    values: dict[str, Any] = {}
    for key, value in content.items():
        name, reader = READERS[key]
        try:
            values[name] = reader(value)
        except UserError as error:
            raise UserError(f"{source}: {key}: {error}") from None
    return Constraints(source=source, **values)


def parse_chunks(text: str) -> Values:
    """Numbers of chunks from `4` or `2-4`. UserError otherwise."""
    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last) if dash else int(first)
    except ValueError:
        low = high = 0
    if not 1 <= low <= high <= MAX_CHUNKS:
        raise UserError(f"chunks is '{text}'; it must be a number from 1 to {MAX_CHUNKS}, or a range such as 1-4")
    return tuple(range(low, high + 1))


def absolute(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same with absolute folders, so that it can be read again from anywhere."""
    return {
        key: str(Path(value).absolute()) if key in FOLDERS and isinstance(value, str) else value
        for key, value in content.items()
    }


def _integers(low: int, high: int) -> Callable[[Any], Values]:
    def read(value: Any) -> Values:
        listed = value if isinstance(value, list) else [value]
        for item in listed:
            if type(item) is not int or not low <= item <= high:
                raise UserError(f"is {item!r}; it must be a whole number from {low} to {high}, or a list of them")
        if not listed:
            raise UserError("the list is empty")
        return tuple(sorted(set(listed)))

    return read


_PARAMETERS = {f.name for f in fields(Chunk)} - {"residual"}


def _parameters(value: Any) -> dict[str, Values]:
    """Parameters of a chunk, each with its values; `share` too."""
    if not isinstance(value, Mapping):
        raise UserError("a table of parameters is expected, for example {oc: 16, px: [4, 8]}")
    result = {}
    for name, given in value.items():
        if name not in _PARAMETERS | {SHARE}:
            known = ", ".join(sorted(_PARAMETERS | {SHARE}))
            raise UserError(f"a chunk has no parameter '{name}'; known: {known}")
        listed = given if isinstance(given, list) else [given]
        result[name] = tuple(sorted({_parameter(name, item) for item in listed}))
        if not listed:
            raise UserError(f"{name}: the list is empty")
    return result


def _parameter(name: str, value: Any) -> int:
    if name == "dataflow":
        if value not in DATAFLOWS:
            raise UserError(f"dataflow is {value!r}; it must be one of {', '.join(DATAFLOWS)}")
        return DATAFLOWS.index(value)
    kind = bool if name in SWITCHES else int
    if type(value) is not kind:
        raise UserError(f"{name} is {value!r}; it must be {'true or false' if kind is bool else 'a whole number'}")
    if name == SHARE and not 1 <= value <= 4096:
        raise UserError(f"share is {value}; it must be 1 to 4096 cycles per beat")
    return int(value)


def _each(value: Any) -> dict[int, dict[str, Values]]:
    if not isinstance(value, Mapping):
        raise UserError("a table from numbers of chunks to parameters is expected")
    for number in value:
        if type(number) is not int or not 0 <= number < MAX_CHUNKS:
            raise UserError(f"chunk {number!r}: it must be a number from 0 to {MAX_CHUNKS - 1}")
    return {number: _parameters(given) for number, given in sorted(value.items())}


def _homes(value: Any) -> dict[str, Values]:
    if not isinstance(value, Mapping):
        raise UserError("a table from layers to numbers of chunks is expected")
    return {str(name): _integers(0, MAX_CHUNKS - 1)(chunks) for name, chunks in value.items()}


def _patterns(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    for item in listed:
        if not isinstance(item, str):
            raise UserError(f"is {item!r}; it must be the name of a tensor, or a list of names")
    return tuple(listed)


def _limits(value: Any) -> tuple[Limit, ...]:
    if not isinstance(value, Mapping):
        raise UserError("a table of limits is expected, for example {dsp: 450, buffer: 1MB}")
    return tuple(parse_limit(f"{name}={amount}".replace(" ", "")) for name, amount in value.items())


def _share_of_board(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise UserError(f"is {value!r}; it must be above 0 and at most 1")
    return float(value)


def _design(value: Any) -> Design:
    if not isinstance(value, str):
        raise UserError(f"is {value!r}; it must be the folder of a run or of a design")
    folder = Path(value)
    return Design.load(folder / "design" if (folder / "design").is_dir() else folder)


READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "chunks": ("chunks", _integers(1, MAX_CHUNKS)),
    "every": ("every", _parameters),
    "each": ("each", _each),
    "layers": ("layers", _homes),
    "on_chip": ("on_chip", _patterns),
    "in_memory": ("in_memory", _patterns),
    "frames": ("frames", _integers(1, MOST_FRAMES)),
    "batch": ("batch", _integers(1, MOST_FRAMES)),
    "limits": ("limits", _limits),
    "board_share": ("board_share", _share_of_board),
    "keep_accelerator": ("accelerator", lambda value: _design(value).accelerator),
    "keep_mapping": ("mapping", lambda value: _design(value).mapping),
}
"""By the key in the file: the field of `Constraints`, and what reads its value."""
FOLDERS = ("keep_accelerator", "keep_mapping")
