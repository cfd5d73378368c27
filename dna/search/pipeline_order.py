"""Which designs of several chunks could wait for ever, and which have a chunk without work.

Chunks execute their layers in the network's order, neighbours of equal batch group by group (`dna.compile.units`).
Where layers go to and fro between chunks with different batches, a chunk may have to finish a group first that waits
for another chunk, which waits for what the first has still to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from dna.network.layer import Layer
from dna.search.pipeline_space import Decoded

Sources = tuple[tuple[int, ...], ...]
"""By layer, the layers whose outputs it reads."""


def layer_sources(layers: Sequence[Layer]) -> Sources:
    """Of executed layers; what comes through a concat is left out."""
    number = {layer.name: index for index, layer in enumerate(layers)}
    return tuple(tuple(number[name] for name in layer.sources if name in number) for layer in layers)


def idle_chunks(decoded: Decoded) -> Tensor:
    """Chunks without a layer, int64 `(N,)`: an accelerator has none."""
    layers = torch.zeros(decoded.used.shape, dtype=torch.int64)
    layers.scatter_add_(1, decoded.assignment, torch.ones_like(decoded.assignment))
    return (decoded.used & (layers == 0)).sum(dim=1)


def waiting(decoded: Decoded, sources: Sources, known: dict[tuple[int, ...], bool]) -> Tensor:
    """Designs in which chunks wait for each other for ever, 0 or 1, int64 `(N,)`.

    A layer is taken to need a whole group of frames before it begins, which it does with order "weights". `known`: what
    was found before.
    """
    batches = decoded.batches
    forth_and_back = (decoded.assignment.diff(dim=1) < 0).any(dim=1)
    asked = forth_and_back & (batches != batches[:, :1]).any(dim=1)
    result = torch.zeros(len(batches), dtype=torch.int64)
    for row in torch.nonzero(asked)[:, 0].tolist():
        homes, groups = decoded.assignment[row].tolist(), batches[row].tolist()
        key = (int(decoded.frames[row]), *homes, *groups)
        if key not in known:
            known[key] = not comes_to_an_end(homes, groups, key[0], sources)
        result[row] = int(known[key])
    return result


def comes_to_an_end(homes: Sequence[int], batches: Sequence[int], frames: int, sources: Sources) -> bool:
    """Whether a pass ends, layer by layer and group by group. `homes`: chunk of each layer."""
    visits = [_visits([i for i, home in enumerate(homes) if home == chunk], batches, frames) for chunk in set(homes)]
    done, places = [0] * len(homes), [0] * len(visits)
    moved = True
    while moved:
        moved = False
        for chunk, queue in enumerate(visits):
            while places[chunk] < len(queue):
                layer, end = queue[places[chunk]]
                if any(done[source] < end for source in sources[layer]):
                    break
                done[layer], moved = end, True
                places[chunk] += 1
    return all(place == len(queue) for place, queue in zip(places, visits, strict=True))


def _visits(layers: Sequence[int], batches: Sequence[int], frames: int) -> list[tuple[int, int]]:
    """Layer and last frame of each group, in the chunk's order."""
    found = []
    for batch, run in groupby(layers, key=lambda layer: batches[layer]):
        members = list(run)
        found += [(layer, end) for end in range(batch, frames + 1, batch) for layer in members]
    return found
