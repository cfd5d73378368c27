"""Random jobs for the DMA ports' test, and what they must do."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import DESTINATIONS, REGIONS, WORD_BYTES
from dna.compile.program import Instruction
from dna.cost.ports import ReadPort, WritePort

# As in ports_bench.v and ports_rig.v: (port_bytes, burst_beats, outstanding, RD_LATENCY, CHUNKS).
RIGS = (
    (16, 16, 8, 2, 1), (8, 2, 8, 2, 16), (16, 256, 2, 2, 3), (8, 16, 5, 2, 3), (16, 2, 32, 2, 3),
    (8, 256, 3, 2, 3), (16, 8, 1, 1, 3), (8, 4, 1, 4, 3),
)  # fmt: skip
MEMORY_WORDS = 0x8000
WRITTEN_FROM = 0x4000
"""Jobs read words below and write words above."""
REGION_WORD = {
    "PROGRAM": [0] * 4,
    "INPUT": [0x1000, 0x1100, 0x1200, 0x1300],
    "OUTPUT": [0x2000, 0x1F00, 0x1E00, 0x1D00],
    "WORK": [0x2100] * 4,
}
"""First word of each region, by `buffer`."""
BANK_WORDS = 1024
BANKS = 2
"""Links that a rig reads, and as many that it writes."""
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
        if self.instruction.op != "LOAD":
            return self.waits_free
        free = 0 if self.instruction["dest"] == DESTINATIONS["PROGRAM"] else self.waits_free
        return max(free, self.waits_commit)


def job_addresses(job: Instruction) -> list[int]:
    """Absolute words that a job touches, in order; in CHIP words of a bank."""
    if job["region"] == REGIONS["CHIP"]:
        return [address % BANK_WORDS for address in _addresses(job)]
    (region,) = (name for name, number in REGIONS.items() if number == job["region"])
    return [REGION_WORD[region][job["buffer"]] + address for address in _addresses(job)]


def _addresses(job: Instruction) -> list[int]:
    return [
        job["address"] + outer * job["stride_outer"] + inner * job["stride_inner"] + word
        for outer in range(job["n_outer"])
        for inner in range(job["n_inner"])
        for word in range(job["run"])
    ]


def _dma(rng: random.Random, first: int, on_chip: bool) -> dict[str, int]:
    region = rng.choice([*REGION_WORD, *["CHIP"] * 4 * on_chip])
    buffer = rng.randrange(4)
    place = rng.choice([0, 16, rng.randint(0, 255), rng.randint(0, SPAN // 2)])
    run = rng.choice([1, 1, 2, 3, 16, rng.randint(1, 40), rng.randint(1, 40), rng.randint(100, 500)])
    loops = 1 if run >= 100 else rng.choice([1, 1, rng.randint(1, 4)])
    return {
        "region": REGIONS[region],
        "address": rng.getrandbits(27) if region == "CHIP" else first - REGION_WORD[region][buffer] + place,
        "buffer": buffer,
        "pass_last": rng.randint(0, 1),
        "run": run,
        "n_inner": rng.choice([1, 1, rng.randint(1, 4)]),
        "stride_inner": rng.choice([run, 256, rng.randint(0, 300)]),
        "n_outer": loops,
        "stride_outer": rng.choice([1024, rng.randint(0, 400)]),
        "base": rng.randint(0, 1023),
    }


def _load(rng: random.Random, on_chip: bool) -> Instruction:
    values = _dma(rng, 0x2100, on_chip) | {
        "peer": rng.randrange(BANKS),
        "dest": rng.choice(list(DESTINATIONS.values())),
        "cols": rng.randint(0, 1023),
        "groups": rng.randint(0, 4095),
        "row0": rng.randint(0, 1023),
        "col0": rng.randint(0, 1023),
        "signal": rng.randint(0, 1),
        "wait_free": rng.randint(0, 4095),
        "wait_commit": rng.getrandbits(24),
    }
    return Instruction("LOAD", values)


def _store(rng: random.Random, on_chip: bool) -> Instruction:
    values = {"wait_ready": rng.randint(0, 4095), "layer_last": rng.randint(0, 1), "readers": rng.randint(1, 3)}
    return Instruction("STORE", _dma(rng, WRITTEN_FROM, on_chip) | values)


def _wait(rng: random.Random, chunks: int) -> Instruction:
    values = {name: rng.getrandbits(bits) for name, bits in (("event", 1), ("pass", 4), ("index", 20))}
    return Instruction("WAIT", values | {"peer": rng.randrange(chunks)})


def _timed(rng: random.Random, instruction: Instruction, now: int) -> Job:
    def soon() -> int:
        return now + rng.choice([0, 0, 0, rng.randint(0, 300)])

    walk = rng.choice([0, 1, rng.randint(2, 60)])
    return Job(instruction, now, walk, soon(), soon())


def random_jobs(rng: random.Random, count: int, chunks: int = 0, on_chip: bool = False) -> tuple[list[Job], list[Job]]:
    """Jobs of a read port (LOAD and some LAYER) and of a write port; with `chunks`, some WAIT for one of them."""
    reads, writes, now = [], [], 0
    for _ in range(count):
        now += rng.choice([0, 0, 0, rng.randint(0, 40), rng.randint(0, 900)])
        layer = Instruction("LAYER", {"kernel_h": rng.randint(1, 11), "res_multiplier": rng.randint(0, 65535)})
        read = layer if rng.random() < 0.2 else _load(rng, on_chip)
        write = _store(rng, on_chip)
        reads.append(_timed(rng, _wait(rng, chunks) if chunks and rng.random() < 0.2 else read, now))
        writes.append(_timed(rng, _wait(rng, chunks) if chunks and rng.random() < 0.2 else write, now))
    return reads, writes


def rig_jobs(rng: random.Random, rig: int, count: int) -> tuple[list[Job], list[Job]]:
    return random_jobs(rng, count, RIGS[rig][4], has_links(rig))


def has_links(rig: int) -> bool:
    return RIGS[rig][0] == WORD_BYTES


def expected_reads(rig: int, memory: Memory, jobs: list[Job], halt: bool) -> tuple[list[int], list[int]]:
    """When each job is popped, and when each but the WAITs ends (LOAD: last word, LAYER: start), by the model."""
    port, pops, ends = ReadPort(rig_chunk(rig), memory), [], []
    for job in jobs:
        if job.instruction.op == "WAIT":
            pops.append(port.wait(job.available, 0 if halt else job.waits))
        elif job.instruction.op == "LOAD":
            load = port.load(job.instruction, job.available, job.waits)
            pops.append(load.popped)
            ends.append(load.last_word)
        else:
            layer = port.layer(job.available, job.walk)
            pops.append(layer.popped)
            ends.append(layer.started)
    return pops, ends


def expected_writes(
    rig: int, memory: Memory, jobs: list[Job], halt: bool
) -> tuple[list[int], list[tuple[int, int, int]]]:
    """When each job is popped, and (stored, committed, flags of the commit) of each STORE, by the model."""
    port, pops, ends = WritePort(rig_chunk(rig), memory, RIGS[rig][3]), [], []
    for job in jobs:
        if job.instruction.op == "WAIT":
            pops.append(port.wait(job.available, 0 if halt else job.waits))
            continue
        store = port.store(job.instruction, job.available, job.waits)
        pops.append(store.popped)
        flags = job.instruction["layer_last"] | job.instruction["pass_last"] << 1
        ends.append((store.stored, store.committed, flags))
    return pops, ends


def rig_chunk(rig: int) -> Chunk:
    port_bytes, burst_beats, outstanding = RIGS[rig][:3]
    return Chunk(port_bytes=port_bytes, burst_beats=burst_beats, outstanding=outstanding)


def buffer_word(address: int) -> int:
    """Word `address` of the rigs' output buffer."""
    mask = 0xFFFFFFFF
    mixed = (address + 1) * 0x9E3779B1 & mask
    return mixed << 96 | (mixed ^ mask) << 64 | (mixed ^ 0x5A5A1234) << 32 | address


def expected_stream(jobs: list[Job], memory_words: list[int], banks: list[list[int]]) -> list[int]:
    """Records of the word stream: flags and fields above the word, as ports_rig.v packs them."""
    records = []
    for job in (job.instruction for job in jobs if job.instruction.op == "LOAD"):
        addresses = job_addresses(job)
        words = banks[job["peer"]] if job["region"] == REGIONS["CHIP"] else memory_words
        for place, address in enumerate(addresses):
            record = int(place == 0) << 1 | int(place == len(addresses) - 1)
            for name, bits in (
                ("signal", 1),
                ("pass_last", 1),
                ("dest", 3),
                ("base", 14),
                ("cols", 10),
                ("groups", 12),
                ("row0", 10),
                ("col0", 10),
            ):
                record = record << bits | job[name]
            records.append(record << 5 + 8 * WORD_BYTES | words[address])
    return records


def expected_memory(jobs: list[Job], memory_words: list[int], spare: range = range(0), bank: int = -1) -> list[int]:
    """The memory (or a bank that is written) after all STOREs; words of `spare` are never written."""
    words = list(memory_words)
    for job in (job.instruction for job in jobs if job.instruction.op == "STORE"):
        on_chip = job["region"] == REGIONS["CHIP"]
        if on_chip != (bank >= 0) or on_chip and not job["readers"] >> bank & 1:
            continue
        for place, address in enumerate(job_addresses(job)):
            if address not in spare:
                words[address] = buffer_word((job["base"] + place) % 0x4000)
    return words
