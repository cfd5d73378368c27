"""Runs inside the simulator: random events, every entry compared with a list."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import Timer

LAYERS = 4


async def cycle(dut: Any, **inputs: int) -> None:
    dut.clk.value = 0
    for name in ("start", "compute_event", "commit_event", "compute_close", "commit_close"):
        getattr(dut, name).value = inputs.get(name, 0)
    for name in ("compute_snapshot", "commit_cycle", "select"):
        if name in inputs:
            getattr(dut, name).value = inputs[name]
    await Timer(1, "ns")
    dut.clk.value = 1
    await Timer(1, "ns")


@cocotb.test()
async def entries_hold_their_event(dut: Any) -> None:
    rng = random.Random(5)
    dut.rst_n.value = 0
    await cycle(dut)
    await cycle(dut)
    dut.rst_n.value = 1
    for _ in range(30):
        await cycle(dut, start=1)
        snapshots: list[int] = []
        commits: list[int] = []
        open_for = {"compute": True, "commit": True}
        for _ in range(rng.randrange(30)):
            events = {"compute_event": rng.randrange(4) == 0, "commit_event": rng.randrange(4) == 0}
            # The last event of a pass closes the record, itself included; events of later passes may close it again.
            events |= {f"{kind}_close": events[f"{kind}_event"] and rng.randrange(5) == 0 for kind in open_for}
            values = {"compute_snapshot": rng.getrandbits(224), "commit_cycle": rng.getrandbits(32)}
            await cycle(dut, **{name: int(high) for name, high in events.items()}, **values)
            snapshots += [values["compute_snapshot"]] if events["compute_event"] and open_for["compute"] else []
            commits += [values["commit_cycle"]] if events["commit_event"] and open_for["commit"] else []
            open_for = {kind: still and not events[f"{kind}_close"] for kind, still in open_for.items()}
        for _ in range(2):
            await cycle(dut)
        del snapshots[LAYERS:], commits[LAYERS:]
        assert (int(dut.computed.value), int(dut.committed.value)) == (len(snapshots), len(commits))
        for index in (*range(LAYERS + 2), 65535):
            await cycle(dut, select=index)
            assert int(dut.snapshot.value) == (snapshots[index] if index < len(snapshots) else 0)
            assert int(dut.commit.value) == (commits[index] if index < len(commits) else 0)
