"""Proof on a finished Program: no deadlock, nothing overwritten too early, no word read before it is stored.

It knows the instructions and where tensors lie, not how the compiler chose them. It walks the Program's serial order
twice, for two passes that follow each other, keeps what the instructions so far will have counted once they are done,
and requires:

- every threshold is reached by earlier instructions of the serial order (docs/deadlock.md: then there is no deadlock),
  and is recent enough for counters modulo 2^12;
- a LOAD, or a TILE that writes an output tile, waits until every earlier tile in its place is free;
- a TILE waits until what it reads is loaded, lies where it reads, and is not freed before; a STORE likewise;
- a LOAD knows that the STOREs of this pass that wrote its words are committed (`dna.compile.hazards`);
- a STORE knows that the LOADs that read what it overwrites are complete;
- LOADs and STOREs stay in their tensors, and every word of those is stored;
- END tells what a pass counts, and `pass_last` stands at the last jobs of the pass;
- no chunk can be so far ahead of one that waits for it that their counters compare wrongly.
"""

from __future__ import annotations

import numpy as np

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, ENGINES, EVENTS, MODES, REGIONS
from dna.compile.hazards import Buffer, Event, Known, Words
from dna.compile.paging import PAGE_LOAD
from dna.compile.program import Instruction, Program

_DESTINATION_NAMES = {code: name for name, code in DESTINATIONS.items()}
_ENGINE_NAMES = {code: name for name, code in ENGINES.items()}
_EVENT_NAMES = {code: name.lower() for name, code in EVENTS.items()}
_FETCHED = ("INPUT", "RESIDUAL")
_TILES = ("input", "weight", "param", "residual", "output")
_MADE = {name: f"loaded.{name}" for name in _TILES} | {"output": "ready"}
RECENT = 8
"""Thresholds lie at most this far behind the count: far less than the 2^11 at which a modular comparison fails."""
PASSES = 2
"""Passes that are walked: all later ones look back on the same as the second does."""


class ProgramError(Exception):
    """The Program breaks a rule of docs/program.md: a fault of the compiler, not of the user."""


def check(program: Program) -> None:
    """ProgramError, naming chunk, instruction and rule, unless the Program obeys them all."""
    words = Words(program)
    chunks: list[_Chunk] = []
    for index in range(len(program.chunks)):
        chunks.append(_Chunk(program, index, words, chunks))
    for chunk in chunks:
        if program.order.count(chunk.index) != chunk.length:
            raise ProgramError(f"chunk {chunk.index}: the serial order does not have each instruction once")
    for _ in range(PASSES):
        for index in program.order:
            chunks[index].step()
    for chunk in chunks:
        chunk.check_pages()
        chunk.check_peers()


class _Chunk:
    """What a chunk's instructions so far lead to. `events`: by counter, what each of its events implies."""

    def __init__(self, program: Program, index: int, words: Words, chunks: list[_Chunk]) -> None:
        self.program, self.index, self.words, self.chunks = program, index, words, chunks
        self.count = len(program.chunks)
        self.chunk = program.chunks[index].chunk
        self.instructions = program.chunks[index].instructions
        body = list(self.instructions)
        ops = [job.op for job in body]
        self.length = ops.index("END") + 1 if "END" in ops else 0
        self.per_pass = {
            "committed": ops.count("STORE"),
            "fetched": sum(job.op == "LOAD" and _DESTINATION_NAMES[job["dest"]] in _FETCHED for job in body),
            "tiles": ops.count("TILE"),
        }
        self.at = self.number = self.pages = self.tiles = 0
        self.layer = Instruction("LAYER")
        self.totals = dict.fromkeys(_TILES, 0)
        """What thresholds are higher by in this pass."""
        self.buffers = {name: Buffer(name) for name in _TILES}
        names = [f"{what}.{name}" for what in ("loaded", "freed") for name in _TILES[:-1]]
        self.events: dict[str, list[Known]] = {name: [] for name in (*names, "ready", "stored", "committed", "fetched")}
        self.nothing = np.zeros(2 * self.count, np.int64)
        self.known: dict[str, Known] = dict.fromkeys((*ENGINES, "COMPUTE"), self.nothing)
        self.stored_words = dict.fromkeys((program.layers[at].name for at in program.chunks[index].layers), 0)
        """By tensor, words of all its frames."""
        self.peers: set[tuple[int, str]] = set()
        """Other chunks and counters of theirs that are waited for."""

    def fail(self, message: str) -> None:
        instruction = self.instructions[self.at]
        where = f"chunk {self.index}, instruction {self.at} ({instruction.op}, layer {instruction.layer})"
        raise ProgramError(f"{where}{', second pass' if self.number else ''}: {message}")

    def step(self) -> None:
        """The next instruction."""
        job = self.instructions[self.at]
        match job.op:
            case "LAYER":
                self.layer = job
            case "LOAD":
                self._load(job)
            case "TILE":
                self._tile(job)
            case "STORE":
                self._store(job)
            case "WAIT":
                self._wait(job)
            case _:
                self._end(job)
                return
        self.at += 1

    # ---- what is waited for, and what it implies

    def _threshold(self, counter: str, value: int, tiles: str) -> tuple[int, Known]:
        """The full value of a 12-bit threshold that earlier instructions reach, and what it implies.

        `tiles`: the kind of tile counted, whose total the sequencer adds.
        """
        events = self.events[counter]
        behind = (len(events) - value - self.totals[tiles]) % (1 << COUNTER_BITS)
        if behind >= 1 << (COUNTER_BITS - 1):
            self.fail(f"waits for {counter}, which earlier instructions leave at {len(events)}: deadlock")
        if behind > RECENT:
            self.fail(f"waits for {counter} {behind} events ago: ambiguous modulo 2^{COUNTER_BITS}")
        return len(events) - behind, self._implied(events, len(events) - behind)

    def moment(self, counter: str, ago: int, number: int, index: int) -> tuple[int, int]:
        """Events of all passes up to index `index` of `ago` passes before pass `number`, and those that there are."""
        return (number - ago) * self.per_pass[counter] + index, len(self.events[counter])

    def _implied(self, events: list[Known], value: int) -> Known:
        """What the first `value` events of a counter imply."""
        return events[value - 1] if value > 0 else self.nothing

    def _start(self, engine: str, *implied: Known) -> Known:
        """What the next job of an engine knows when it starts."""
        known = self.known[engine]
        for other in implied:
            known = np.maximum(known, other)
        self.known[engine] = known
        return known

    def _event(self, known: Known, number: int) -> Event:
        return Event(self.index, number, known, tuple(self.number * c.per_pass["committed"] for c in self.chunks))

    def _wait(self, job: Instruction) -> None:
        engine, counter = _ENGINE_NAMES[job["engine"]], _EVENT_NAMES[job["event"]]
        if engine == "READ1" and self.chunk.ports == 1:
            self.fail("is for a port that there is not")
        if job["peer"] >= self.count:
            self.fail(f"waits for chunk {job['peer']}, which there is not")
        peer = self.chunks[job["peer"]]
        value, count = peer.moment(counter, job["ago"], self.number, job["index"])
        if value > count or job["index"] > peer.per_pass[counter]:
            self.fail(
                f"waits for {job['index']} {counter} of chunk {peer.index} {job['ago']} passes ago;"
                f" earlier instructions leave {count} in all: deadlock"
            )
        self._start(engine, self._implied(peer.events[counter], value))
        if peer is not self:
            self.peers.add((peer.index, counter))

    # ---- loads

    def _load(self, job: Instruction) -> None:
        dest = _DESTINATION_NAMES[job["dest"]]
        if dest == "PROGRAM":
            self._page(job)
            return
        port = 0 if dest in _FETCHED else self.chunk.weight_port
        if job["port"] != port:
            self.fail(f"loads {dest} through port {job['port']}, not {port}")
        name = dest.lower()
        wait_free, implied = self._threshold(f"freed.{name}", job["wait_free"], name)
        known = self._start(f"READ{port}", implied, self._commits(job["wait_commit"]))
        number = len(self.events["fetched"]) + 1
        if dest in _FETCHED:
            layer = self.program.layers[job.layer]
            self._check_place(job, layer.input if dest == "INPUT" else layer.residual)
        self.words.load(job, self._event(known, number), self.fail)
        if dest in _FETCHED:
            known = known.copy()
            known[self.count + self.index] = number
            self.events["fetched"].append(known)
            self._check_last(job, "fetched")
        words = job["run"] * job["n_inner"] * job["n_outer"]
        if name in ("weight", "param"):
            self._put_weights(name, job["base"], words, wait_free)
        else:
            first, count = (job["base"], words) if name == "residual" else self._input_place(job)
            self.buffers[name].put(first, count, wait_free, self.fail)
        if job["signal"]:
            self.events["loaded.weight" if name == "param" else f"loaded.{name}"].append(known)

    def _check_place(self, job: Instruction, name: str | None) -> None:
        """A LOAD or STORE stays in its frame of its tensor."""
        if name is None:
            self.fail("loads a residual, which the layer has not")
            return
        tensor = self.program.tensors[name]
        first = tensor.frame_addresses[job.frame]
        last = job["address"] + (job["n_outer"] - 1) * job["stride_outer"] + (job["n_inner"] - 1) * job["stride_inner"]
        inside = first <= job["address"] and last + job["run"] <= first + tensor.extent
        if job["region"] != REGIONS[tensor.region] or not inside:
            self.fail(f"is not in frame {job.frame} of tensor '{tensor.name}'")

    def _commits(self, index: int) -> Known:
        """What a LOAD's `wait_commit` implies."""
        value, count = self.moment("committed", 0, self.number, index)
        if index and value > count or index > self.per_pass["committed"]:
            given = count - self.number * self.per_pass["committed"]
            self.fail(f"waits for {index} commits, earlier instructions give {given}: deadlock")
        return self._implied(self.events["committed"], value if index else 0)

    def _page(self, job: Instruction) -> None:
        page = self.at // PAGE_INSTRUCTIONS
        ok = self.at % PAGE_INSTRUCTIONS == PAGE_LOAD and job["address"] == 2 * PAGE_INSTRUCTIONS * (page + 1)
        ok = ok and job["run"] * job["n_inner"] * job["n_outer"] == 2 * PAGE_INSTRUCTIONS and job["signal"] == 1
        if not ok or job["base"] != PAGE_INSTRUCTIONS * ((page + 1) % 2):
            self.fail("is not the load of the next page at its place in the page")
        self.pages += 1

    def _put_weights(self, name: str, base: int, words: int, wait_free: int) -> None:
        """Weight tiles are counted together: a tile without weights leaves its place in the buffer empty."""
        unit = self.chunk.weight_word_bytes // 16 if name == "weight" else self.chunk.post_lanes // 2
        if name == "weight":
            self.buffers[name].skip(len(self.events["loaded.weight"]))
        self.buffers[name].put(base, words // unit, wait_free, self.fail)

    def _input_place(self, job: Instruction) -> tuple[int, int]:
        """Addresses of a lane that the tile may occupy: the window's, padding included."""
        pitch = self.layer["row_pitch"]
        origin = (job["base"] - job["row0"] * pitch - job["col0"]) % (1 << 14)
        count = self.layer["window_h"] * pitch
        if origin + count > self.chunk.input_words:
            self.fail("fills a lane beyond its buffer")
        return origin, count

    # ---- tiles and stores

    def _tile(self, job: Instruction) -> None:
        chunk, layer, events = self.chunk, self.layer, self.events
        wait_in, by_input = self._threshold("loaded.input", job["wait_in"], "input")
        wait_w, by_weight = self._threshold("loaded.weight", job["wait_w"], "weight")
        wait_res, by_residual = self._threshold("loaded.residual", job["wait_res"], "residual")
        wait_out, by_output = self._threshold("stored", job["wait_out"], "output")
        known = self._start("COMPUTE", by_input, by_weight, by_residual, by_output)
        window = layer["window_h"] * layer["row_pitch"]
        self.buffers["input"].read(job["in_base"], window, wait_in, self.fail)
        if wait_w <= len(events["freed.weight"]):
            self.fail("does not wait for its weight tile")
        per_channel = int(layer["mode"] != MODES["MIX"])
        if not layer["ones"]:
            words = tile.weight_buffer_words(
                job["groups"], layer["kernel_h"], layer["kernel_w"], job["steps"], chunk.ic, per_channel
            )
            weights = self.buffers["weight"]
            weights.freed = len(events["freed.weight"])
            weights.read(job["w_base"], words, wait_w, self.fail)
        if job["last"]:
            self._finish_tile(job, known, wait_out, wait_res)
        self.buffers["input"].freed += job["free_in"]
        events["freed.input"] += [known] * job["free_in"]
        events["freed.weight"] += [known] * job["free_w"]
        self.tiles += 1
        if job["pass_last"] != (self.tiles % self.per_pass["tiles"] == 0):
            self.fail("has pass_last at the wrong place")

    def _finish_tile(self, job: Instruction, known: Known, wait_out: int, wait_res: int) -> None:
        layer, events = self.layer, self.events
        words = (job["groups"] - 1) * layer["slices"] + job["slices_last"]
        params = self.buffers["param"]
        params.read(job["p_base"], words, params.freed + 1, self.fail)
        params.freed += job["free_w"]
        events["freed.param"] += [known] * job["free_w"]
        size = job["out_rows"] * job["out_pitch"]
        if job["out_base"] + size > self.chunk.output_words:
            self.fail("writes beyond the output buffer")
        self.buffers["output"].put(job["out_base"], size, wait_out, self.fail)
        events["ready"].append(known)
        if layer["residual"]:
            self.buffers["residual"].read(job["out_base"], size, wait_res, self.fail)
            self.buffers["residual"].freed += 1
            events["freed.residual"].append(known)

    def _store(self, job: Instruction) -> None:
        wait_ready, implied = self._threshold("ready", job["wait_ready"], "output")
        known = self._start("WRITE", implied)
        words = job["run"] * job["n_inner"] * job["n_outer"]
        self.buffers["output"].read(job["base"], words, wait_ready, self.fail)
        self.buffers["output"].freed += 1
        number = len(self.events["committed"]) + 1
        name = self.program.layers[job.layer].name
        self._check_place(job, name)
        self.stored_words[name] += words
        self.words.store(job, self._event(known, number), self.fail)
        self.events["stored"].append(known)
        known = known.copy()
        known[self.index] = number
        self.events["committed"].append(known)
        self._check_last(job, "committed")

    def _check_last(self, job: Instruction, counter: str) -> None:
        if job["pass_last"] != (len(self.events[counter]) % self.per_pass[counter] == 0):
            self.fail("has pass_last at the wrong place")

    # ---- ends

    def _end(self, job: Instruction) -> None:
        """A pass ends: END tells its totals, all tiles are used up, and the sequencer waits for the pass before."""
        ended = self.number + 1
        events = self.events
        if len(events["ready"]) != len(events["stored"]):
            self.fail(f"{len(events['ready'])} output tiles, but {len(events['stored'])} STORE jobs")
        for name in _TILES:
            self.totals[name] += job[f"{name}s"]
            made = len(self.buffers[name].tiles) if name == "param" else len(events[_MADE[name]])
            used = len(events["stored" if name == "output" else f"freed.{name}"])
            if made != used or (made - self.totals[name]) % (1 << COUNTER_BITS):
                given = f"{job[name + 's']} {name} tiles per pass"
                self.fail(f"tells {given}; {made} were made and {used} used up in {ended} passes")
        for name, words in self.stored_words.items():
            tensor = self.program.tensors[name]
            if words != ended * self.program.frames * tensor.words:
                self.fail(f"{words} words of '{name}' stored in {ended} passes; a frame has {tensor.words}")
        value = self.number * self.per_pass["committed"]
        for engine in self.known:
            self._start(engine, self._implied(self.events["committed"], value))
        self.number, self.at = ended, 0

    def check_pages(self) -> None:
        """The Program is whole pages, each but the last with a load of the next, and ends with END."""
        self.at, count = len(self.instructions) - 1, len(self.instructions)
        if count % PAGE_INSTRUCTIONS or self.instructions[-1].op != "END":
            self.fail("does not end a page with END")
        if self.pages != PASSES * (count // PAGE_INSTRUCTIONS - 1):
            self.fail(f"{self.pages // PASSES} page loads for {count // PAGE_INSTRUCTIONS} pages")

    def check_peers(self) -> None:
        """A chunk that is waited for knows by the end of the second pass that the one who waits is in the first.

        So it is less than two passes ahead, far below the 8 at which {pass, index} counters compare wrongly.
        """
        for index, counter in sorted(self.peers):
            events = self.chunks[index].events[counter]
            if not events or max(events[-1][self.index], events[-1][self.count + self.index]) < 1:
                self.fail(f"waits for {counter} of chunk {index}, which may be any number of passes ahead")
