"""Dataclasses to and from the plain values of YAML and JSON, strictly: every refusal names the key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dna.errors import UserError

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """Dictionaries, lists and scalars for a (nested) dataclass; tuples become lists, sets sorted ones."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(item) for item in value)
    return value


def from_plain(kind: type[T], data: object, where: str = "") -> T:
    """The dataclass `kind` from plain values.

    `where` is the key path so far. UserError names the key that is unknown, missing or of the wrong type; what the
    class itself refuses is passed on with the path in front.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{_at(where)}a table of keys is expected, not {_describe(data)}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise UserError(f"{_at(where)}unknown key '{key}'; known: {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}.{name}" if where else name)
        elif _required(field):
            raise UserError(f"{_at(where)}key '{name}' is missing")
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{_at(where)}{error}") from None


def read_yaml(path: Path) -> Any:
    """The file's content; UserError if it cannot be read or is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}") from None


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (Mapping, list)):
        return "a table" if isinstance(value, Mapping) else "a list"
    return f"'{value}'"


_NAMES: dict[Any, str] = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


def _convert(hint: Any, value: object, where: str) -> Any:
    """`value` as the type `hint`, without ever guessing: 1 is no bool, '1' is no int."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is frozenset:
        return frozenset(_convert_tuple((arguments[0], Ellipsis), value, where))
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{where}: is {_describe(value)}; it must be one of {', '.join(map(str, arguments))}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _convert(inner, value, where)
    if origin in (dict, Mapping) or hint is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: a table of keys is expected, not {_describe(value)}")
        return dict(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint in _NAMES and type(value) is not hint:
        raise UserError(f"{where}: is {_describe(value)}; it must be {_NAMES[hint]}")
    return value


def _convert_tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: a list is expected, not {_describe(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(arguments):
        raise UserError(f"{where}: {len(value)} values given; {len(arguments)} are expected")
    return tuple(
        _convert(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )
