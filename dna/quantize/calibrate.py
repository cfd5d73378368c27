"""Output scales from calibration images: one pass in float, a histogram per tensor, a range from each histogram."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.histogram import Histogram, Method

BATCH = 64


def frames(images_NCHW: Tensor, frames_at_once: int = BATCH) -> Iterable[Tensor]:
    """Batches of float bytes in channels_last."""
    for part in images_NCHW.split(frames_at_once):
        yield part.float().contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def real_tensors(
    model: QuantisedNetwork, bytes_NCHW: Tensor, before: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """What the network computes before anything is quantised: every tensor by name, real values, ``input`` included.

    `before`, if given, receives the same of layers with arithmetic before their activation functions.
    """
    one = torch.tensor(1.0)
    tensors = {"input": bytes_NCHW * model.input_scale}
    for layer in model.network.layers:
        if layer.parts:
            tensors[layer.name] = torch.cat([tensors[part] for part in layer.parts], dim=1)
            continue
        residual = None if layer.residual is None else (tensors[layer.residual], one)
        unit = model.unit(layer.name)
        y = unit.real(tensors[layer.input], one, residual)
        if before is not None:
            before[layer.name] = y
        tensors[layer.name] = y.clamp(*unit.bounds)
    return tensors


def histograms(model: QuantisedNetwork, images_NCHW: Tensor) -> dict[str, Histogram]:
    """Magnitudes of every tensor but the input over all images, in one pass. `images_NCHW` holds bytes."""
    found = {layer.name: Histogram() for layer in model.network.layers}
    for batch in frames(images_NCHW):
        for name, tensor in real_tensors(model, batch).items():
            if name != "input":
                found[name].add(tensor)
    return found


def keeps_scale(layer: Layer) -> bool:
    """Whether the layer changes no value if its output has its input's scale: concat, and a maximum."""
    return bool(layer.parts) or (
        layer.op == "maxpool" and layer.in_signed == layer.out_signed and layer.residual is None
    )


def scale_groups(network: Network) -> list[set[str]]:
    """Tensors that share one scale: the parts of a concat and the concat, a maximum and its input."""
    groups: dict[str, set[str]] = {"input": {"input"}}
    for layer in network.layers:
        group = groups[layer.name] = {layer.name}
        for source in layer.sources if keeps_scale(layer) else ():
            group |= groups[source]
        for name in group:
            groups[name] = group
    unique = {id(group): group for group in groups.values()}
    return list(unique.values())


@torch.no_grad()
def set_scales(model: QuantisedNetwork, found: dict[str, Histogram], method: Method, percentile: float = 99.99) -> None:
    """Gives every tensor its output scale from the histograms (see `Histogram.range`).

    The scale maps the range to the largest integer of the tensor's type; signed tensors use +-127. Tensors that share
    a scale are counted together; with the network's input among them, theirs is the input's. The last layer's range
    is always its maximum: logits are compared, so the largest must not be clipped.
    """
    layers = {layer.name: layer for layer in model.network.layers}
    for group in scale_groups(model.network):
        if "input" in group:
            scale = float(model.input_scale)
        else:
            merged = Histogram()
            for name in sorted(group):
                if not keeps_scale(layers[name]):
                    merged.merge(found[name])
            levels = 127 if layers[min(group)].out_signed else 255
            last = model.network.output in group
            scale = merged.range("max" if last else method, levels, percentile) / levels
        for name in group - {"input"}:
            model.unit(name).out_scale.fill_(scale)
    _keep_representable(model)


def _keep_representable(model: QuantisedNetwork) -> None:
    """Raises the scales of all but silent tensors until every requantisation factor is below 2^14.

    Also keeps a residual's factor in range. UserError where a scale is tied to one that must not change.
    """
    groups = scale_groups(model.network)
    for layer in model.network.layers:
        if keeps_scale(layer):
            continue
        unit = model.unit(layer.name)
        largest = float(unit.accumulator_scale(model.scale(layer.input)).max())
        if layer.residual is not None:
            largest = max(largest, float(model.scale(layer.residual)))
        least = largest * 2.0**-14
        if float(unit.out_scale) >= least:
            continue
        group = next(group for group in groups if layer.name in group)
        if "input" in group:
            raise UserError(f"layer '{layer.name}': its output is too small for the input's scale that it shares")
        for name in group:
            model.unit(name).out_scale.fill_(least)
