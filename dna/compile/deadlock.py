"""Proof on a finished Program: no deadlock, no buffer overwritten too early, no word read before it is stored.

It knows the instructions alone, not how the compiler chose them. Walking through the Program it keeps what the
instructions so far will have counted once they are done, and requires:

- every threshold is reached by earlier instructions (docs/program.md: then there is no deadlock), and is recent enough
  for counters modulo 2^12;
- a LOAD, or a TILE that writes an output tile, waits until every earlier tile in its place is free;
- a TILE waits until what it reads is loaded, lies where it reads, and is not freed before; a STORE likewise;
- every word a LOAD reads from a tensor was written by a STORE that it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, MODES, REGIONS
from dna.compile.program import Instruction, Program

_DESTINATION_NAMES = {code: name for name, code in DESTINATIONS.items()}
_REGION_NAMES = {code: name for name, code in REGIONS.items()}
RECENT = 8
"""Thresholds lie at most this far behind the count: far less than the 2^11 at which a modular comparison fails."""


class ProgramError(Exception):
    """The Program breaks a rule of docs/program.md: a fault of the compiler, not of the user."""


def check(program: Program) -> None:
    """ProgramError, naming instruction and rule, unless the Program obeys them all."""
    _Walk(program).run()


def run_addresses(job: Instruction) -> NDArray[np.int64]:
    """Word addresses in the region that a LOAD or STORE visits, in stream order."""
    outer = np.arange(job["n_outer"], dtype=np.int64)[:, None, None] * job["stride_outer"]
    inner = np.arange(job["n_inner"], dtype=np.int64)[None, :, None] * job["stride_inner"]
    return np.asarray(job["address"] + outer + inner + np.arange(job["run"], dtype=np.int64)).ravel()


@dataclass
class _Tile:
    """A tile in a buffer: its addresses [first, end) and its number among the counted ones."""

    first: int
    end: int
    index: int


@dataclass
class _Buffer:
    """Tiles of one buffer, in order; the n-th free event frees tile n."""

    name: str
    tiles: list[_Tile] = field(default_factory=list)
    freed: int = 0

    def put(self, first: int, count: int, wait_free: int, fail: Callable[[str], None]) -> None:
        """A new tile, written once `wait_free` earlier ones are free."""
        new = _Tile(first, first + count, len(self.tiles))
        for other in self.tiles[max(0, wait_free) :]:
            if other.first < new.end and new.first < other.end:
                fail(f"overwrites {self.name} tile {other.index} before it is free")
        self.tiles.append(new)

    def read(self, first: int, count: int, waited: int, fail: Callable[[str], None]) -> None:
        """The oldest tile that is not free is read at these addresses, `waited` tiles being there."""
        if self.freed >= len(self.tiles):
            fail(f"reads {self.name}, but no tile is loaded")
            return
        current = self.tiles[self.freed]
        if waited <= current.index:
            fail(f"does not wait for {self.name} tile {current.index}")
        if first < current.first or first + count > current.end:
            fail(f"reads {self.name} [{first}, {first + count}), tile is at [{current.first}, {current.end})")


class _Walk:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.at = 0
        self.layer = Instruction("LAYER")
        self.buffers = {name: _Buffer(name) for name in ("input", "weight", "param", "residual", "output")}
        self.loaded = {"input": 0, "weight": 0, "residual": 0}
        self.freed_weight = 0
        self.ready = 0
        self.stores = 0
        self.pages = 0
        self.writer = {
            name: np.full(words, 0 if name == "INPUT" else -1, np.int64)
            for name, words in program.region_words.items()
            if name != "PROGRAM"
        }
        """Number of the STORE, counted from 1, that writes each word; -1 if none did."""

    def fail(self, message: str) -> None:
        instruction = self.program.instructions[self.at]
        raise ProgramError(f"instruction {self.at} ({instruction.op}, layer {instruction.layer}) {message}")

    def run(self) -> None:
        for at, instruction in enumerate(self.program.instructions):
            self.at = at
            if instruction.op == "LAYER":
                self.layer = instruction
            elif instruction.op != "END":
                {"LOAD": self._load, "TILE": self._tile, "STORE": self._store}[instruction.op](instruction)
        self._finish()

    def _finish(self) -> None:
        count = len(self.program.instructions)
        if count % PAGE_INSTRUCTIONS or self.program.instructions[-1].op != "END":
            self.fail("does not end a page with END")
        if self.pages != count // PAGE_INSTRUCTIONS - 1:
            self.fail(f"{self.pages} page loads for {count // PAGE_INSTRUCTIONS} pages")
        if self.stores != self.ready:
            self.fail(f"{self.ready} output tiles, but {self.stores} STORE jobs")

    def _threshold(self, name: str, value: int, count: int) -> int:
        """The full value of a 12-bit threshold on a counter that reaches `count` by earlier instructions."""
        behind = (count - value) % (1 << COUNTER_BITS)
        if behind >= 1 << (COUNTER_BITS - 1):
            self.fail(f"waits for {name}, which earlier instructions leave at {count}: deadlock")
        if behind > RECENT:
            self.fail(f"waits for {name} {behind} events ago: ambiguous modulo 2^{COUNTER_BITS}")
        return count - behind

    def _load(self, job: Instruction) -> None:
        dest = _DESTINATION_NAMES[job["dest"]]
        if dest == "PROGRAM":
            self._page(job)
            return
        self._check_port(job, dest)
        self._check_source(job)
        name = dest.lower()
        buffer = self.buffers[name]
        freed = self.freed_weight if name == "weight" else buffer.freed
        wait_free = self._threshold(f"freed.{name}", job["wait_free"], freed)
        words = job["run"] * job["n_inner"] * job["n_outer"]
        if name in ("weight", "param"):
            chunk = self.program.chunk
            unit = chunk.weight_word_bytes // 16 if name == "weight" else chunk.post_lanes // 2
            self._put_weights(name, job["base"], words // unit, wait_free)
            self.loaded["weight"] += job["signal"]
            return
        first, count = (job["base"], words) if name == "residual" else self._input_place(job)
        buffer.put(first, count, wait_free, self.fail)
        self.loaded[name] += job["signal"]

    def _check_port(self, job: Instruction, dest: str) -> None:
        port = 0 if dest in ("INPUT", "RESIDUAL") else self.program.chunk.weight_port
        if job["port"] != port:
            self.fail(f"loads {dest} through port {job['port']}, not {port}")

    def _page(self, job: Instruction) -> None:
        page = self.at // PAGE_INSTRUCTIONS
        ok = self.at % PAGE_INSTRUCTIONS == 0 and job["address"] == 2 * PAGE_INSTRUCTIONS * (page + 1)
        ok = ok and job["run"] * job["n_inner"] * job["n_outer"] == 2 * PAGE_INSTRUCTIONS and job["signal"] == 1
        if not ok or job["base"] != PAGE_INSTRUCTIONS * ((page + 1) % 2):
            self.fail("is not the load of the next page at the head of its page")
        self.pages += 1

    def _check_source(self, job: Instruction) -> None:
        """Every word read was stored by a job the LOAD waits for."""
        region = _REGION_NAMES[job["region"]]
        if job["wait_commit"] > self.stores:
            self.fail(f"waits for {job['wait_commit']} commits, earlier instructions give {self.stores}: deadlock")
        addresses = run_addresses(job)
        if addresses[-1] >= self.program.region_words[region]:
            self.fail(f"reads beyond region {region}")
        if region == "PROGRAM":
            return
        writers = self.writer[region][addresses]
        if writers.min() < 0:
            self.fail(f"reads {region} words that nothing stored")
        if writers.max() > job["wait_commit"]:
            self.fail(f"reads words of STORE {writers.max()}, but waits for {job['wait_commit']} commits only")

    def _put_weights(self, name: str, base: int, count: int, wait_free: int) -> None:
        """Weight tiles are counted together: a tile without weights leaves its place in the buffer empty."""
        buffer = self.buffers[name]
        while name == "weight" and len(buffer.tiles) < self.loaded["weight"]:
            buffer.tiles.append(_Tile(0, 0, len(buffer.tiles)))
        buffer.put(base, count, wait_free, self.fail)

    def _input_place(self, job: Instruction) -> tuple[int, int]:
        """Addresses of a lane that the tile may occupy: the window's, padding included."""
        pitch = self.layer["row_pitch"]
        origin = (job["base"] - job["row0"] * pitch - job["col0"]) % (1 << 14)
        count = self.layer["window_h"] * pitch
        if origin + count > self.program.chunk.input_words:
            self.fail("fills a lane beyond its buffer")
        return origin, count

    def _tile(self, job: Instruction) -> None:
        chunk, layer = self.program.chunk, self.layer
        waits = {
            name: self._threshold(f"loaded.{name}", job[f"wait_{short}"], self.loaded[name])
            for name, short in (("input", "in"), ("weight", "w"), ("residual", "res"))
        }
        self.buffers["input"].read(job["in_base"], layer["window_h"] * layer["row_pitch"], waits["input"], self.fail)
        if waits["weight"] <= self.freed_weight:
            self.fail("does not wait for its weight tile")
        per_channel = int(layer["mode"] != MODES["MIX"])
        if not layer["ones"]:
            words = tile.weight_buffer_words(
                job["groups"], layer["kernel_h"], layer["kernel_w"], job["steps"], chunk.ic, per_channel
            )
            weights = self.buffers["weight"]
            weights.freed = self.freed_weight
            weights.read(job["w_base"], words, waits["weight"], self.fail)
        wait_out = self._threshold("stored", job["wait_out"], self.stores)
        if job["last"]:
            self._finish_tile(job, wait_out, waits["residual"])
        self.buffers["input"].freed += job["free_in"]
        self.freed_weight += job["free_w"]

    def _finish_tile(self, job: Instruction, wait_out: int, wait_res: int) -> None:
        chunk, layer = self.program.chunk, self.layer
        per_group = layer["slices"]
        words = (job["groups"] - 1) * per_group + job["slices_last"]
        params = self.buffers["param"]
        params.read(job["p_base"], words, params.freed + 1, self.fail)
        params.freed += job["free_w"]
        size = job["out_rows"] * job["out_pitch"]
        if job["out_base"] + size > chunk.output_words:
            self.fail("writes beyond the output buffer")
        self.buffers["output"].put(job["out_base"], size, wait_out, self.fail)
        self.ready += 1
        if layer["residual"]:
            self.buffers["residual"].read(job["out_base"], size, wait_res, self.fail)
            self.buffers["residual"].freed += 1

    def _store(self, job: Instruction) -> None:
        wait_ready = self._threshold("ready", job["wait_ready"], self.ready)
        addresses = run_addresses(job)
        self.buffers["output"].read(job["base"], len(addresses), wait_ready, self.fail)
        self.buffers["output"].freed += 1
        self.stores += 1
        region = _REGION_NAMES[job["region"]]
        if region not in ("OUTPUT", "WORK") or addresses[-1] >= self.program.region_words[region]:
            self.fail(f"writes beyond region {region}")
        if self.writer[region][addresses].max() >= 0:
            self.fail("writes a word for the second time")
        self.writer[region][addresses] = self.stores
