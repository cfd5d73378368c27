"""Runs inside the simulator: random bursts on both sides of a link at once, each cycle compared with LINK_MEMORY."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import Timer

from dna.accelerator.chunk import LINK_MEMORY

WORDS = 64
OUTSTANDING = 4
CYCLES = 4000


class Writer:
    """Offers bursts as a write port does, at most OUTSTANDING under way; knows when responses and words come."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.bursts: deque[tuple[int, int]] = deque()
        """(address, words) of what was announced and is not complete."""
        self.place = self.under_way = 0
        self.responses: set[int] = set()
        self.words: dict[int, list[tuple[int, int]]] = {}
        """By address: (cycle of the beat, data), in order."""

    def drive(self, now: int, busy: float) -> None:
        dut, rng = self.dut, self.rng
        assert int(dut.bvalid.value) == (now in self.responses), f"response in cycle {now}"
        self.under_way -= now in self.responses
        beat = bool(self.bursts) and rng.random() < busy
        dut.wvalid.value, dut.wdata.value, dut.wlast.value = int(beat), 0, rng.getrandbits(1)
        if beat:
            address, words = self.bursts[0]
            data = rng.getrandbits(128)
            self.words.setdefault((address + self.place) % WORDS, []).append((now, data))
            dut.wdata.value = data
            self.place += 1
            dut.wlast.value = int(self.place == words)
            if self.place == words:
                self.bursts.popleft()
                self.place = 0
                self.responses.add(now + LINK_MEMORY.write_latency)
        announce = self.under_way < OUTSTANDING and rng.random() < busy
        dut.awvalid.value = int(announce)
        if announce:
            self.bursts.append((rng.getrandbits(28), rng.randint(1, 20)))
            dut.awaddr.value = self.bursts[-1][0] << 4
            self.under_way += 1

    def word(self, address: int, cycle: int) -> int | None:
        """What stands there in a cycle in which it is read; None if that is not certain."""
        beats = self.words.get(address, [])
        known = [data for beat, data in beats if beat < cycle - 1]
        return known[-1] if known and all(beat != cycle - 1 for beat, _ in beats) else None


class Reader:
    """Offers addresses as a read port does, and expects each beat in its cycle."""

    def __init__(self, dut: Any, rng: random.Random, writer: Writer) -> None:
        self.dut, self.rng, self.writer = dut, rng, writer
        self.beats: dict[int, tuple[int, bool]] = {}
        """By cycle: (address, last of its burst)."""
        self.free = self.under_way = self.compared = 0

    def drive(self, now: int, busy: float) -> None:
        dut, rng = self.dut, self.rng
        beat = self.beats.get(now)
        assert int(dut.rvalid.value) == (beat is not None), f"beat in cycle {now}"
        # dna_top takes the OR of all links: an idle one must not end another one's burst.
        assert int(dut.rlast.value) == int(beat is not None and beat[1]), f"end of a burst in cycle {now}"
        if beat:
            address, last = beat
            # On the bus 2 cycles after the bank was read.
            expected = self.writer.word(address, now - 2)
            if expected is not None:
                assert int(dut.rdata.value) == expected, f"word {address} in cycle {now}"
                self.compared += 1
            self.under_way -= last
        announce = self.under_way < OUTSTANDING and rng.random() < busy
        dut.arvalid.value = int(announce)
        if announce:
            address, words = rng.getrandbits(28), rng.randint(1, 20)
            dut.araddr.value, dut.arlen.value = address << 4, words - 1
            first = max(now + LINK_MEMORY.read_latency, self.free)
            self.beats |= {first + n: ((address + n) % WORDS, n == words - 1) for n in range(words)}
            self.free = first + words
            self.under_way += 1


@cocotb.test()
async def both_sides_keep_their_time(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    for name in ("rst_n", "awvalid", "wvalid", "arvalid"):
        getattr(dut, name).value = 0
    for clock in (0, 1, 0, 1):
        dut.clk.value = clock
        await Timer(1, "ns")
    dut.rst_n.value = 1
    writer = Writer(dut, rng)
    reader = Reader(dut, rng, writer)
    for now in range(CYCLES):
        dut.clk.value = 0
        busy = (1.0, 0.7, 0.1)[now // 500 % 3]
        writer.drive(now, busy)
        reader.drive(now, busy)
        await Timer(1, "ns")
        dut.clk.value = 1
        await Timer(1, "ns")
    # At full rate for a good third of the time: nearly a beat per cycle there.
    assert reader.compared > CYCLES // 2
