"""The ports' timing model: against itself without jumps, against numbers worked out by hand, and its counts."""

from __future__ import annotations

import random

import pytest

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import REGIONS, WORD_BYTES
from dna.compile.program import Instruction
from dna.cost import ports
from dna.cost.ports import ReadPort, WritePort


class SteppedReadPort(ReadPort):
    def _repeat(self, words: int, count: int) -> None:
        for _ in range(count):
            self._enter(words)


class SteppedWritePort(WritePort):
    def _repeat(self, words: int, count: int) -> None:
        for _ in range(count):
            self._enter(words)


def _job(op: str, rng: random.Random, on_chip: bool = False) -> Instruction:
    run = rng.choice([1, rng.randint(1, 60), rng.randint(500, 9000)])
    values = {
        "address": rng.randint(0, 5000),
        "run": run,
        "n_inner": rng.choice([1, rng.randint(1, 40)]) if run < 100 else 1,
        "stride_inner": rng.choice([64, rng.randint(0, 500)]),
        "n_outer": rng.randint(1, 3),
        "stride_outer": rng.randint(0, 5000),
        "region": REGIONS[rng.choice(["WORK", "CHIP"])] if on_chip else REGIONS["WORK"],
        "peer" if op == "LOAD" else "readers": rng.randint(1, 2),
    }
    return Instruction(op, values)


@pytest.mark.parametrize("seed", range(40))
def test_jumps_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    chunk = Chunk(
        port_bytes=rng.choice([8, 16]), burst_beats=2 ** rng.randint(1, 8), outstanding=rng.choice([1, 2, 3, 8, 17, 32])
    )
    on_chip = chunk.port_bytes == WORD_BYTES
    memory = Memory(rng.randint(1, 200), rng.choice([1, 1, 2, 3]), rng.randint(1, 100))
    read, stepped_read = ReadPort(chunk, memory), SteppedReadPort(chunk, memory)
    write, stepped_write = WritePort(chunk, memory), SteppedWritePort(chunk, memory)
    now = 0
    for _ in range(12):
        now += rng.choice([0, rng.randint(0, 3000)])
        load, store, waits = _job("LOAD", rng, on_chip), _job("STORE", rng, on_chip), now + rng.randint(-50, 500)
        assert read.load(load, now, waits) == stepped_read.load(load, now, waits)
        assert write.store(store, now, waits) == stepped_write.store(store, now, waits)
        if rng.random() < 0.2:
            assert read.layer(now, 7) == stepped_read.layer(now, 7)
        if rng.random() < 0.2:
            assert write.wait(now, waits) == stepped_write.wait(now, waits)
    assert read.state == stepped_read.state and write.state == stepped_write.state


def test_single_burst_by_hand() -> None:
    """Popped 5; address register 6, on the bus 7; first beat 7 + 64, last of 4 is 74, on the stream 75."""
    job = {"address": 16, "run": 4, "n_inner": 1, "n_outer": 1}
    port = ReadPort(Chunk(), Memory(read_latency=64))
    assert port.load(Instruction("LOAD", job), 3, 5) == ports.LoadTimes(popped=5, last_word=75)
    # Quiet from 76 on, so layer_valid is seen in 77.
    assert port.layer(0, 10) == ports.LayerTimes(started=77, popped=87)
    # Popped 5; entered 6; words asked for in 7 to 10; beats in 12 to 15; response in 31, pulse in 32.
    times = WritePort(Chunk(), Memory(write_latency=16)).store(Instruction("STORE", job), 5, 0)
    assert times == ports.StoreTimes(popped=5, stored=14, committed=32)


def test_change_of_target_by_hand() -> None:
    """A burst of another target enters when the one before has ended; a WAIT asks for nothing but its counter."""
    job = {"address": 16, "run": 4, "n_inner": 1, "n_outer": 1, "region": REGIONS["WORK"]}
    chip = job | {"region": REGIONS["CHIP"], "peer": 2, "readers": 4}
    port = ReadPort(Chunk(), Memory(read_latency=64, beat_interval=100))
    # Beats in 71, 171, 271 and 371: the memory is busy until 470.
    assert port.load(Instruction("LOAD", job), 0, 5) == ports.LoadTimes(popped=5, last_word=372)
    assert port.wait(0, 0) == 6
    assert port.wait(0, 9) == 9
    # Popped behind the WAITs, enters in 372, on the bus in 373, beats in 376 to 379.
    assert port.load(Instruction("LOAD", chip), 0, 0) == ports.LoadTimes(popped=10, last_word=380)
    # The splitter is free in 372, but another peer's burst enters in 380 only: beats in 384 to 387.
    assert port.load(Instruction("LOAD", chip | {"peer": 3}), 0, 0) == ports.LoadTimes(popped=372, last_word=388)
    # Back to memory: enters in 388; first beat in 471, for it is still busy when 389 + 64 come.
    assert port.load(Instruction("LOAD", job), 0, 0) == ports.LoadTimes(popped=380, last_word=772)
    # Enters in 6, asked for in 7 to 10, beats in 12 to 15, response in 31; the next one enters in 32.
    port = WritePort(Chunk(), Memory(write_latency=16))
    assert port.store(Instruction("STORE", job), 0, 5) == ports.StoreTimes(popped=5, stored=14, committed=32)
    assert port.store(Instruction("STORE", chip), 0, 0) == ports.StoreTimes(popped=6, stored=40, committed=44)


@pytest.mark.parametrize("seed", range(20))
def test_bursts_cover_the_run(seed: int) -> None:
    rng = random.Random(seed)
    address, run, words = rng.randint(0, 1000), rng.randint(1, 700), 2 ** rng.randint(0, 8)
    bursts = [size for size, count in ports.run_bursts(address, run, words) for _ in range(count)]
    assert sum(bursts) == run
    assert len(bursts) == ports.burst_count(address, run, words)
    starts = [address + sum(bursts[:n]) for n in range(len(bursts))]
    crossing = [
        start for start, size in zip(starts, bursts, strict=True) if start // words != (start + size - 1) // words
    ]
    assert not crossing
    job = _job("LOAD", rng)
    assert sum(size * count for size, count in ports.job_bursts(job, words)) == ports.job_words(job)
