"""The memory probe: tiny Programs from whose cycles the host's drivers solve the memory's latencies and its width.

Each is one page for chunk 0; all other chunks end at once. Its jobs come strictly one after the other, for a WAIT
stands behind each: nothing overlaps, so the difference of two runs is linear in what is asked for.

    FEW_LOADS     K loads of one word            LONG_LOADS   K of one word, then K of a whole burst
    MORE_LOADS    2 K loads of one word          FEW_STORES, MORE_STORES   K and 2 K stores of one word

    (MORE_LOADS - FEW_LOADS) / K        = read_latency + (first - 1) * beat_interval + read_cycles
    (LONG_LOADS - MORE_LOADS) / K       = (burst - first) * beat_interval
    (MORE_STORES - FEW_STORES) / K      = write_latency + (first - 1) * beat_interval + write_cycles

`first` is the beats of one word, `burst` those of a burst. The two constants, cycles of the hardware itself, come from
the exact schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Memory
from dna.accelerator.isa import DESTINATIONS, ENGINES, EVENTS, REGIONS, WORD_BYTES
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.cost.schedule import schedule
from dna.network.layer import Layer
from dna.network.network import Network

RUNS = ("FEW_LOADS", "MORE_LOADS", "LONG_LOADS", "FEW_STORES", "MORE_STORES")
JOBS = 15
"""K: with 2 K jobs and their WAITs a page is full."""
PAGE_BYTES = 4096
"""From one page of the image to the next; base registers want multiples of this."""
_PLAIN = Memory(64, 1, 16)
"""Any memory will do to find the constants."""


@dataclass(frozen=True)
class Probe:
    """The image, a page per run of `RUNS` and an idle one, and what the cycles have to be solved with."""

    image: bytes
    jobs: int
    first_beats: int
    burst_beats: int
    read_cycles: int
    write_cycles: int

    @property
    def idle_page(self) -> int:
        """The page for all chunks but the first."""
        return len(RUNS)


def make_probe(accelerator: Accelerator) -> Probe:
    """The probe of an accelerator; its chunk 0, port 0 does all the work."""
    chunk = accelerator.chunks[0]
    first = WORD_BYTES // chunk.port_bytes
    pages = [*(_instructions(run, accelerator) for run in RUNS), _page([])]
    image = b"".join(_encoded(page).ljust(PAGE_BYTES, b"\0") for page in pages)
    cycles = {run: probe_cycles(accelerator, run, _PLAIN) for run in RUNS}
    reads = (cycles["MORE_LOADS"] - cycles["FEW_LOADS"]) // JOBS
    writes = (cycles["MORE_STORES"] - cycles["FEW_STORES"]) // JOBS
    beats = (first - 1) * _PLAIN.beat_interval
    return Probe(
        image,
        JOBS,
        first,
        chunk.burst_beats,
        reads - _PLAIN.read_latency - beats,
        writes - _PLAIN.write_latency - beats,
    )


def probe_cycles(accelerator: Accelerator, run: str, memory: Memory) -> int:
    """Cycles that one of `RUNS` takes by the exact schedule."""
    chunk = accelerator.chunks[0]
    page = _instructions(run, accelerator)
    order = (0,) * (page.index(_END) + 1)
    network = Network("probe", (Layer("none", "conv", "input", 1, 1, 1, 1),))
    only = ChunkProgram(chunk, page, _encoded(page), ())
    program = Program(network, (), Accelerator((chunk,)), (only,), 1, order, {}, {}, "none")
    return schedule(program, memory).cycles


_END = Instruction("END")


def _page(body: list[Instruction]) -> tuple[Instruction, ...]:
    return (*body, *(_END for _ in range(PAGE_INSTRUCTIONS - len(body))))


def _encoded(page: tuple[Instruction, ...]) -> bytes:
    return b"".join(instruction.encode() for instruction in page)


def _instructions(run: str, accelerator: Accelerator) -> tuple[Instruction, ...]:
    chunk = accelerator.chunks[0]
    words = chunk.burst_beats * chunk.port_bytes // WORD_BYTES
    runs = {
        "FEW_LOADS": [1] * JOBS,
        "MORE_LOADS": [1] * 2 * JOBS,
        "LONG_LOADS": [1] * JOBS + [words] * JOBS,
    }
    body: list[Instruction] = []
    if run in runs:
        for number, length in enumerate(runs[run], 1):
            body += [_load(length, number == len(runs[run])), _wait("READ0", "FETCHED", number)]
        # The schedule wants a STORE in each pass; behind all loads it takes the same cycles in every run.
        return _page([*body, _wait("WRITE", "FETCHED", len(runs[run])), _store(last=True)])
    count = JOBS if run == "FEW_STORES" else 2 * JOBS
    for number in range(1, count + 1):
        body += [_store(number == count), _wait("WRITE", "COMMITTED", number)]
    return _page(body)


def _load(words: int, last: bool) -> Instruction:
    values = {"dest": DESTINATIONS["INPUT"], "region": REGIONS["INPUT"], "run": words, "n_inner": 1, "n_outer": 1}
    return Instruction("LOAD", values | {"cols": 1, "groups": 1, "pass_last": int(last)})


def _store(last: bool) -> Instruction:
    values = {"region": REGIONS["OUTPUT"], "run": 1, "n_inner": 1, "n_outer": 1, "pass_last": int(last)}
    return Instruction("STORE", values)


def _wait(engine: str, event: str, index: int) -> Instruction:
    return Instruction("WAIT", {"engine": ENGINES[engine], "event": EVENTS[event], "index": index})
