"""Networks as plain dictionaries (for YAML), weights as npz files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights

_PAIRS = {"kernel": 2, "stride": 2, "padding": 4}
_BOOLEANS = frozenset({"in_signed", "out_signed", "residual_signed", "count_padding"})
_STRINGS = frozenset({"name", "op", "input", "residual"})
_ARRAYS = ("weight", "bias", "multiplier", "shift", "residual_multiplier")


def network_to_dict(network: Network) -> dict[str, Any]:
    """Plain lists, strings and numbers; fields that have their default value are left out."""
    return {"name": network.name, "layers": [_layer_to_dict(layer) for layer in network.layers]}


def network_from_dict(data: Mapping[str, Any]) -> Network:
    """The inverse of `network_to_dict`. Raises UserError that names the layer and the key."""
    if not isinstance(data, Mapping) or set(data) != {"name", "layers"} or not isinstance(data["layers"], list):
        raise UserError("network: expected the keys 'name' and 'layers', a list")
    layers = tuple(_layer_from_dict(index, entry) for index, entry in enumerate(data["layers"]))
    return Network(str(data["name"]), layers)


def save_weights(path: Path, weights: Weights) -> None:
    """Writes one npz file with an entry `LAYER/FIELD` per array; not compressed, for bytes of weights hardly shrink."""
    arrays: dict[str, Any] = {}
    for name, layer in weights.items():
        for field in _ARRAYS:
            value = getattr(layer, field)
            if value is not None:
                arrays[f"{name}/{field}"] = np.int32(value) if field == "residual_multiplier" else value
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_weights(path: Path, network: Network) -> Weights:
    """The weights of each layer of the network. Raises UserError that names the file and what is missing in it."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {layer.name: _layer_weights(path, layer, data) for layer in network.layers if layer.computes}
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable weights file ({error})") from None


def _layer_to_dict(layer: Layer) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for field in fields(Layer):
        value = getattr(layer, field.name)
        if field.default is MISSING or value != field.default:
            entry[field.name] = list(value) if isinstance(value, tuple) else value
    return entry


def _layer_from_dict(index: int, entry: Any) -> Layer:
    if not isinstance(entry, Mapping):
        raise UserError(f"network: layer {index} is not a mapping")
    where = f"layer '{entry.get('name', index)}'"
    known = {field.name: field for field in fields(Layer)}
    for key in entry:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'; known: {', '.join(known)}")
    for name, field in known.items():
        if field.default is MISSING and name not in entry:
            raise UserError(f"{where}: the key '{name}' is missing")
    return Layer(**{key: _checked_value(where, key, value) for key, value in entry.items()})


def _checked_value(where: str, key: str, value: Any) -> Any:
    if key in _PAIRS:
        if not isinstance(value, list | tuple) or [type(v) for v in value] != [int] * _PAIRS[key]:
            raise UserError(f"{where}: {key} must be a list of {_PAIRS[key]} integers, not {value!r}")
        return tuple(value)
    if key == "parts":
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise UserError(f"{where}: parts must be a list of tensor names, not {value!r}")
        return tuple(value)
    kind = str if key in _STRINGS else bool if key in _BOOLEANS else int
    if type(value) is not kind and not (key == "residual" and value is None):
        raise UserError(f"{where}: {key} must be {kind.__name__}, not {value!r}")
    return value


def _layer_weights(path: Path, layer: Layer, data: Mapping[str, Any]) -> LayerWeights:
    def array(field: str, dtype: type[np.generic]) -> Any:
        key = f"{layer.name}/{field}"
        if key not in data:
            raise UserError(f"{path}: '{key}' is missing")
        if data[key].dtype != dtype:
            raise UserError(f"{path}: '{key}' is {data[key].dtype}; it must be {np.dtype(dtype)}")
        return data[key]

    weight = array("weight", np.int8) if layer.has_weights else None
    if weight is not None and weight.shape != layer.weight_shape:
        raise UserError(f"{path}: '{layer.name}/weight' has shape {weight.shape}; it must be {layer.weight_shape}")
    vectors = {field: array(field, np.int32) for field in ("bias", "multiplier", "shift")}
    for field, vector in vectors.items():
        if vector.shape != layer.param_shape:
            raise UserError(f"{path}: '{layer.name}/{field}' has shape {vector.shape}; it must be {layer.param_shape}")
    return LayerWeights(weight, **vectors, residual_multiplier=int(array("residual_multiplier", np.int32)))
