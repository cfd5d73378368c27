"""Random jobs for the DMA ports' test, and what they must do."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import DESTINATIONS, REGIONS, WORD_BYTES
from dna.compile.program import Instruction
from dna.cost.ports import ReadPort, WritePort

# As in ports_bench.v and ports_rig.v: (port_bytes, burst_beats, outstanding, RD_LATENCY).
RIGS = (
    (16, 16, 8, 2), (8, 2, 8, 2), (16, 256, 2, 2), (8, 16, 5, 2), (16, 2, 32, 2),
    (8, 256, 3, 2), (16, 8, 1, 1), (8, 4, 1, 4),
)  # fmt: skip
MEMORY_WORDS = 0x8000
WRITTEN_FROM = 0x4000
"""Jobs read words below and write words above."""
REGION_WORD = {"PROGRAM": 0, "INPUT": 0x1000, "OUTPUT": 0x2000, "WORK": 0x2100}
SPAN = 0x1800
"""Words of memory that one job may touch."""


@dataclass(frozen=True)
class Job:
    """A job, when it is offered and when its counters suffice (cycles)."""

    instruction: Instruction
    available: int
    walk: int
    waits_commit: int
    waits_free: int

    def line(self) -> str:
        times = [self.waits_free, self.waits_commit, self.walk, self.available]
        return "".join(f"{time:08x}" for time in times) + self.instruction.encode()[::-1].hex()

    @property
    def waits(self) -> int:
        """The same as the one number that the model takes."""
        if self.instruction.op == "STORE":
            return self.waits_free
        free = 0 if self.instruction["dest"] == DESTINATIONS["PROGRAM"] else self.waits_free
        return max(free, self.waits_commit if self.instruction["wait_commit"] else 0)


def job_addresses(job: Instruction) -> list[int]:
    """Absolute words that a job touches, in order."""
    (region,) = (name for name, number in REGIONS.items() if number == job["region"])
    return [
        REGION_WORD[region] + job["address"] + outer * job["stride_outer"] + inner * job["stride_inner"] + word
        for outer in range(job["n_outer"])
        for inner in range(job["n_inner"])
        for word in range(job["run"])
    ]


def _dma(rng: random.Random, first: int) -> dict[str, int]:
    region = rng.choice(list(REGIONS))
    run = rng.choice([1, 1, 2, 3, 16, rng.randint(1, 40), rng.randint(1, 40), rng.randint(100, 500)])
    loops = 1 if run >= 100 else rng.choice([1, 1, rng.randint(1, 4)])
    return {
        "region": REGIONS[region],
        "address": first - REGION_WORD[region] + rng.choice([0, 16, rng.randint(0, 255), rng.randint(0, SPAN // 2)]),
        "run": run,
        "n_inner": rng.choice([1, 1, rng.randint(1, 4)]),
        "stride_inner": rng.choice([run, 256, rng.randint(0, 300)]),
        "n_outer": loops,
        "stride_outer": rng.choice([1024, rng.randint(0, 400)]),
        "base": rng.randint(0, 1023),
    }


def _load(rng: random.Random) -> Instruction:
    values = _dma(rng, 0x2100) | {
        "dest": rng.choice(list(DESTINATIONS.values())),
        "cols": rng.randint(0, 1023),
        "groups": rng.randint(0, 4095),
        "row0": rng.randint(0, 1023),
        "col0": rng.randint(0, 1023),
        "signal": rng.randint(0, 1),
        "wait_free": rng.randint(0, 4095),
        "wait_commit": rng.choice([0, rng.randint(1, (1 << 20) - 1)]),
    }
    return Instruction("LOAD", values)


def _store(rng: random.Random) -> Instruction:
    values = {"wait_ready": rng.randint(0, 4095), "layer_last": rng.randint(0, 1)}
    return Instruction("STORE", _dma(rng, WRITTEN_FROM) | values)


def _timed(rng: random.Random, instruction: Instruction, now: int) -> Job:
    def soon() -> int:
        return now + rng.choice([0, 0, 0, rng.randint(0, 300)])

    walk = rng.choice([0, 1, rng.randint(2, 60)])
    return Job(instruction, now, walk, soon(), soon())


def random_jobs(rng: random.Random, count: int) -> tuple[list[Job], list[Job]]:
    """Jobs of a read port (LOAD and some LAYER) and of a write port."""
    reads, writes, now = [], [], 0
    for _ in range(count):
        now += rng.choice([0, 0, 0, rng.randint(0, 40), rng.randint(0, 900)])
        layer = Instruction("LAYER", {"kernel_h": rng.randint(1, 11), "res_multiplier": rng.randint(0, 65535)})
        reads.append(_timed(rng, layer if rng.random() < 0.2 else _load(rng), now))
        writes.append(_timed(rng, _store(rng), now))
    return reads, writes


def expected_reads(rig: int, memory: Memory, jobs: list[Job]) -> list[tuple[int, int]]:
    """(popped, last word or start of the layer's walk) of each job by the model."""
    port, times = ReadPort(rig_chunk(rig), memory), []
    for job in jobs:
        if job.instruction.op == "LOAD":
            load = port.load(job.instruction, job.available, job.waits)
            times.append((load.popped, load.last_word))
        else:
            layer = port.layer(job.available, job.walk)
            times.append((layer.popped, layer.started))
    return times


def expected_writes(rig: int, memory: Memory, jobs: list[Job]) -> list[tuple[int, int, int, int]]:
    """(popped, stored, committed, whether layer_commit) of each job by the model."""
    port, times = WritePort(rig_chunk(rig), memory, RIGS[rig][3]), []
    for job in jobs:
        store = port.store(job.instruction, job.available, job.waits)
        times.append((store.popped, store.stored, store.committed, job.instruction["layer_last"]))
    return times


def rig_chunk(rig: int) -> Chunk:
    port_bytes, burst_beats, outstanding, _ = RIGS[rig]
    return Chunk(port_bytes=port_bytes, burst_beats=burst_beats, outstanding=outstanding)


def buffer_word(address: int) -> int:
    """Word `address` of the rigs' output buffer."""
    mask = 0xFFFFFFFF
    mixed = (address + 1) * 0x9E3779B1 & mask
    return mixed << 96 | (mixed ^ mask) << 64 | (mixed ^ 0x5A5A1234) << 32 | address


def expected_stream(jobs: list[Job], memory_words: list[int]) -> list[int]:
    """Records of the word stream: flags and fields above the word, as ports_rig.v packs them."""
    records = []
    for job in (job.instruction for job in jobs if job.instruction.op == "LOAD"):
        addresses = job_addresses(job)
        for place, address in enumerate(addresses):
            record = int(place == 0) << 1 | int(place == len(addresses) - 1)
            for name, bits in (
                ("signal", 1),
                ("dest", 3),
                ("base", 14),
                ("cols", 10),
                ("groups", 12),
                ("row0", 10),
                ("col0", 10),
            ):
                record = record << bits | job[name]
            records.append(record << 5 + 8 * WORD_BYTES | memory_words[address])
    return records


def expected_memory(jobs: list[Job], memory_words: list[int], spare: range = range(0)) -> list[int]:
    """The memory after all STOREs; words of `spare` are never written."""
    words = list(memory_words)
    for job in (job.instruction for job in jobs):
        for place, address in enumerate(job_addresses(job)):
            if address not in spare:
                words[address] = buffer_word((job["base"] + place) % 0x4000)
    return words
