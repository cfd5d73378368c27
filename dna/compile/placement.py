"""Which tensors are handed over on chip: all that links allow, or as many of them as have room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from dna.accelerator.chunk import Accelerator
from dna.accelerator.mapping import Mapping
from dna.compile.limits import check_mapping, on_chip_problem
from dna.compile.lowering import lower
from dna.compile.plan import DoesNotEndError, Plan
from dna.network.network import Network


def on_chip_candidates(network: Network, accelerator: Accelerator, chunks: Sequence[int] = ()) -> tuple[str, ...]:
    """Tensors that could go through links at all, whatever their depth, in the order of their layers.

    `chunks`: as in `Mapping`, the chunk of each executed layer, or nothing for chunk 0.
    """
    names = [layer.name for layer in lower(network).layers]
    return tuple(name for name in names if on_chip_problem(network, accelerator, chunks, name) is None)


def place(network: Network, accelerator: Accelerator, mapping: Mapping) -> Mapping:
    """The mapping with all candidates on chip or, if not all have room, as many as have: largest traffic first.

    Deterministic; `mapping.on_chip` is not looked at. UserError if the mapping does not compile without them either.
    """
    mapping = replace(mapping, on_chip=frozenset())
    check_mapping(network, accelerator, mapping)
    plan = Plan(lower(network), accelerator, mapping)
    plan.check_ends(())
    candidates = on_chip_candidates(network, accelerator, mapping.chunks)
    if _has_room(plan, candidates):
        return replace(mapping, on_chip=frozenset(candidates))
    chosen: set[str] = set()
    traffic = _words(plan)
    for name in sorted(candidates, key=lambda name: (-traffic[name], name)):
        if _has_room(plan, chosen | {name}):
            chosen.add(name)
    return replace(mapping, on_chip=frozenset(chosen))


def _has_room(plan: Plan, on_chip: Collection[str]) -> bool:
    """Whether no chunk waits for ever with these tensors on chip."""
    try:
        plan.check_ends(on_chip)
    except DoesNotEndError:
        return False
    return True


def _words(plan: Plan) -> dict[str, int]:
    """By tensor, the words that are stored and loaded in a pass."""
    words = dict.fromkeys(plan.lowered.tensors, 0)
    for traffic in plan.traffic:
        for access in (*traffic.reads, *traffic.writes):
            rows, groups, cols = access.block
            words[access.tensor] += rows.count * groups.count * cols.count
    return words
