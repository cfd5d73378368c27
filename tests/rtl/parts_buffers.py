"""Runs inside the simulator: stream buffers, lane walk, capture and pixel lanes against docs/program.md."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import cocotb

from tests.rtl.parts_bench import BENCHES, select
from tests.rtl.parts_drive import Part, draw

ADDRESS = 1 << 14
WORD = 128


@cocotb.test()
async def stream_buffer_keeps_order(dut: Any) -> None:
    """Word n of a job is bank n % BANKS of address base + n / BANKS, and can be read two cycles after it came."""
    rng = random.Random(11)
    for name in select("buffers", "dna_stream_buffer"):
        sizes = BENCHES["buffers"][name].parameters
        banks, depth = sizes["BANKS"], sizes["DEPTH"]
        part = Part(dut, name)
        await part.reset(word_valid=0)
        stream = _stream_jobs(rng, banks, depth)
        memory: dict[tuple[int, int], tuple[int, int]] = {}  # (address, bank): (word, cycle)
        pending: tuple[int, int] | None = None  # address that was read, cycle
        checked = 0
        for now in range(max(600, banks * 12)):
            item = next(stream) if rng.random() < 0.8 else None
            part.set(word_valid=0, word_first=rng.randrange(2), word_base=rng.randrange(ADDRESS))
            if item:
                first, base, address, bank, word = item
                part.set(word_valid=1, word_first=int(first), word_data=word)
                if first:
                    part.set(word_base=base)
            recent = [address for (address, _), (_, when) in list(memory.items())[-3:] if when <= now - 2]
            read = rng.choice(recent) if recent and rng.random() < 0.6 else rng.randrange(depth)
            reads = rng.random() < 0.8
            part.set(rd_addr=read, rd_en=int(reads))
            await part.settle()
            if pending:
                checked += _check_banks(part.get("rd_data"), memory, *pending, banks)
            if reads:
                pending = read, now
            if item:
                memory.pop((address, bank), None)
                memory[address, bank] = word, now
            await part.edge()
        assert checked > 200, name


def _stream_jobs(rng: random.Random, banks: int, depth: int) -> Iterator[tuple[bool, int, int, int, int]]:
    """Endless (first, base, address, bank, word); jobs start at any address and may end inside a buffer word."""
    while True:
        base = rng.choice((0, depth - 1, rng.randrange(depth)))
        length = min(rng.randint(1, 6 * banks), (depth - base) * banks)
        for n in range(length):
            yield n == 0, base, base + n // banks, n % banks, rng.getrandbits(WORD)


def _check_banks(data: int, memory: dict, address: int, when: int, banks: int) -> int:
    """Compare all banks that were surely there when the address was given; how many."""
    count = 0
    for bank in range(banks):
        word, written = memory.get((address, bank), (0, when))
        if written <= when - 2:
            assert (data >> (WORD * bank)) & ((1 << WORD) - 1) == word, f"address {address}, bank {bank}"
            count += 1
    return count


@cocotb.test()
async def lane_walk_places_lanes(dut: Any) -> None:
    """Lane l is announced in cycle 1 + l after `start`, `done` comes in cycle PX + 1; sums are products modulo."""
    rng = random.Random(12)
    for name in select("buffers", "dna_lane_walk"):
        px = BENCHES["buffers"][name].parameters["PX"]
        part = Part(dut, name)
        await part.reset(start=0)
        for _ in range(12):
            lanes_x = rng.randint(1, px)
            lanes = draw(rng, 1, px)
            step_y, step_x, pitch = rng.randrange(1024), rng.randrange(1024), rng.randrange(ADDRESS)
            part.set(start=1)
            await part.settle()
            assert not part.get("set") and not part.get("done")
            await part.edge()
            part.set(start=0, lanes=lanes, lanes_x=lanes_x, step_y=step_y, step_x=step_x, lane_row_pitch=pitch)
            for lane in range(px):
                await part.settle()
                i, j = divmod(lane, lanes_x)
                seen = tuple(part.get(port) for port in ("set", "index", "active", "dy", "dx", "offset", "done"))
                place = (i * step_y % 1024, j * step_x % 1024, (i * pitch + j * step_x) % ADDRESS)
                assert seen == (1, lane, int(lane < lanes), *place, 0), f"{name}: lane {lane} of {lanes}"
                await part.edge()
            for after in range(rng.randint(1, 3)):
                await part.settle()
                assert (part.get("set"), part.get("done")) == (0, int(after == 0)), name
                await part.edge()


@cocotb.test()
async def capture_counts_along(dut: Any) -> None:
    """Row, column and running address of each word of [rows][groups][cols], one cycle later, whatever the gaps."""
    rng = random.Random(13)
    part = Part(dut, "capture")
    await part.reset(word_valid=0)
    for window_w, row_pitch in ((1, 1), (7, 21), (1023, 16383), (33, 8000)):
        part.set(window_w=window_w, row_pitch=row_pitch)
        expected: tuple[int, ...] | None = None
        for _ in range(12):
            rows, groups, cols = rng.randint(1, 4), rng.choice((1, 1, 2, 5)), draw(rng, 1, 8)
            row0, col0 = draw(rng, 0, 1000), draw(rng, 0, 1000)
            base = rng.choice((0, ADDRESS - 1, rng.randrange(ADDRESS)))
            places = [(r, g, c) for r in range(rows) for g in range(groups) for c in range(cols)]
            for n, (r, g, c) in enumerate(places):
                while rng.random() < 0.2:
                    part.set(word_valid=0, word_first=rng.randrange(2), word_data=rng.getrandbits(WORD), word_cols=1)
                    expected = await _capture_cycle(part, expected, None)
                word = rng.getrandbits(WORD)
                part.set(word_valid=1, word_first=int(n == 0), word_data=word, word_base=base, word_cols=cols)
                part.set(word_groups=groups, word_row0=row0, word_col0=col0)
                address = (base + r * row_pitch + g * window_w + c) % ADDRESS
                expected = await _capture_cycle(part, expected, (1, word, row0 + r, col0 + c, address))
        part.set(word_valid=0)
        await _capture_cycle(part, expected, None)


async def _capture_cycle(part: Part, expected: tuple[int, ...] | None, sent: tuple[int, ...] | None) -> tuple | None:
    await part.settle()
    if expected is None:
        assert part.get("cap_valid") == 0
    else:
        ports = ("cap_valid", "cap_data", "cap_row", "cap_col", "cap_address")
        assert tuple(part.get(port) for port in ports) == expected
    await part.edge()
    return sent
