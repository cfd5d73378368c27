"""The engines of many designs side by side: when each takes its next job (`dna.cost.walk`).

The constants are those of `dna.cost.schedule`; a port's bursts are `dna.cost.walk_bursts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, WORD_BYTES
from dna.cost.counters import QUEUE_DEPTH
from dna.cost.dispatch import BOOTSTRAP_DELAY, DONE_DELAY, PAGE_DELAY
from dna.cost.ports import LONG_AGO, OUTPUT_READ_LATENCY
from dna.cost.schedule import CAPTURE_STAGES, POST_STAGES
from dna.cost.walk_bursts import Cut, Flow, Job, Pace, move

PAGE_WORDS = PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // WORD_BYTES
PAGE_BODY = PAGE_INSTRUCTIONS - 1
"""Instructions of a page besides the LOAD of the next one."""
PAGE_LOAD = 16
"""Place of that in its page."""
_TIMES = (
    *("free0", "server0", "word0", "free1", "server1", "word1", "store_free", "store_server", "issued"),
    *("sequencer", "next_page", "compute", "drained", "input", "weight", "next_weight", "added", "committed"),
    *("in_free1", "in_free2", "w_free1", "w_free2", "p_free1", "p_free2", "r_free1", "r_free2", "stored1", "stored2"),
)
"""Cycles: ports, the other engines, what was loaded last and the latest two events of each counter. Behind them stand
the ends of the latest bursts of both read ports and the write port."""
T = {name: row for row, name in enumerate(_TIMES)}


@dataclass(frozen=True, eq=False)
class Ports:
    """The ports of each design and the memory behind them, int64 `(designs,)`."""

    single: Tensor
    """Whether weights come through port 0, bool."""
    latency: Tensor
    interval: Tensor
    write: Tensor
    beats: Tensor
    """Per word."""
    burst: Tensor
    """Words of a full burst."""

    @staticmethod
    def of(a: Mapping[str, Tensor], memories: Sequence[Memory]) -> Ports:
        names = ("read_latency", "beat_interval", "write_latency")
        latency, interval, write = (torch.tensor([getattr(m, name) for m in memories]) for name in names)
        burst = a["burst_beats"] * a["port_bytes"] // WORD_BYTES
        return Ports(a["ports"] == 1, latency, interval, write, WORD_BYTES // a["port_bytes"], burst)

    def select(self, ids: Tensor) -> Ports:
        return Ports(*(value[ids] for value in vars(self).values()))


class Engines:
    """All times of a batch, int64 `(rows, designs)`: `T` names rows; masks and ids choose designs."""

    def __init__(self, ports: Ports, walk: Tensor, outstanding: int, last_load: Tensor) -> None:
        """`walk`: cycles of LAYER. `last_load`: instructions of a pass from which on no page is loaded."""
        self.ports, self.walk, self.ring, self.last_load = ports, walk, outstanding, last_load
        self.rings = [len(_TIMES) + port * outstanding for port in range(3)]
        self.queues = len(_TIMES) + 3 * outstanding
        """Rows of the latest jobs that were popped from the queues of READ0, the weights' port, WRITE and COMPUTE."""
        self.body = self.queues + 4 * QUEUE_DEPTH
        """Row that counts the instructions of the pass, pages' LOADs aside; those before it are times."""
        self.times = torch.zeros(self.body + 1, len(walk), dtype=torch.int64)
        self.times[len(_TIMES) : self.body] = LONG_AGO
        self.times[T["sequencer"]] = BOOTSTRAP_DELAY

    def select(self, ids: Tensor) -> None:
        """Go on with these designs alone."""
        self.ports, self.walk, self.last_load = self.ports.select(ids), self.walk[ids], self.last_load[ids]
        self.times = self.times[:, ids]

    def row(self, name: str) -> Tensor:
        return self.times[T[name]]

    def put(self, mask: Tensor, name: str, value: Tensor) -> None:
        """New times where the mask is set."""
        torch.where(mask, value, self.row(name), out=self.row(name))

    def event(self, mask: Tensor, name: str, seen: Tensor) -> None:
        """A counter goes up; `seen`: from which cycle on."""
        self.put(mask, f"{name}2", self.row(f"{name}1"))
        self.put(mask, f"{name}1", seen)

    # ------------------------------------------------------------ sequencer

    def _room(self, ids: Tensor, queue: Tensor) -> Tensor:
        """The next instruction goes to this queue, which has room then; returns when its head shows it."""
        room = self.times[queue, ids] + 1
        self.times[T["sequencer"], ids] = self.times[T["sequencer"], ids].maximum(room)
        return self.times[T["sequencer"], ids] + 1

    def _popped(self, ids: Tensor, queue: Tensor, popped: Tensor) -> None:
        rows = queue + torch.arange(QUEUE_DEPTH)[:, None]
        self.times[rows, ids] = torch.cat([self.times[rows[1:], ids], popped[None]])

    def count(self, mask: Tensor) -> None:
        """An instruction was handed out; behind some of them comes the LOAD of the next page, or that page."""
        sequencer, body = self.row("sequencer"), self.times[self.body]
        sequencer += mask
        body += mask
        place = body % PAGE_BODY
        due = torch.nonzero(mask & (place == PAGE_LOAD) & (body < self.last_load))[:, 0]
        if len(due):
            self.times[T["next_page"], due] = self._page(due)
        enters = mask & (place == 0)
        torch.maximum(sequencer, self.row("next_page") * enters, out=sequencer)

    def _page(self, ids: Tensor) -> Tensor:
        """The LOAD of a page of the program; returns the first cycle in which an instruction of it is handed out."""
        nothing = torch.zeros_like(ids)
        seen = self._read(ids, True, nothing, Job.stream(nothing, nothing + PAGE_WORDS))
        self.times[T["sequencer"], ids] += 1
        return seen - 1 + PAGE_DELAY

    def start(self, ids: Tensor) -> None:
        """A pass begins: the bootstrap LOAD of page 0."""
        page = self._page(ids)
        self.times[T["sequencer"], ids] = self.times[T["sequencer"], ids].maximum(page)
        self.times[self.body, ids] = 0

    def end(self, ids: Tensor, before: Tensor) -> None:
        """END of a pass that is not the last; `before`: when all passes before it were committed."""
        self.times[T["sequencer"], ids] = self.times[T["sequencer"], ids].maximum(before) + 1

    def done(self, ids: Tensor) -> Tensor:
        """END of the last pass, all being idle: the cycle of done."""
        names = ("committed", "compute", "sequencer")
        return torch.stack([self.times[T[name], ids] for name in names]).amax(0) + DONE_DELAY

    # ------------------------------------------------------------ ports

    def load(self, mask: Tensor, into: str, waits: Tensor, job: Job) -> None:
        """A LOAD of INPUT or RESIDUAL."""
        ids = torch.nonzero(mask)[:, 0]
        if len(ids):
            self.times[T[into], ids] = self._read(ids, False, waits[ids], job.select(ids))
            self.count(mask)

    def stream(self, mask: Tensor, into: str, waits: Tensor, words: Tensor, place: Tensor) -> None:
        """A LOAD of consecutive words from word `place` on, on the weights' port."""
        ids = torch.nonzero(mask)[:, 0]
        if len(ids):
            self.times[T[into], ids] = self._read(ids, True, waits[ids], Job.stream(place[ids], words[ids]))
            self.count(mask)

    def _read(self, ids: Tensor, streams: bool, waits: Tensor, job: Job) -> Tensor:
        """A LOAD on port 0 or the weights' port; returns the cycle in which its counter is seen."""
        p = self.ports.select(ids)
        port = (~p.single).long() if streams else torch.zeros_like(ids)
        rows = T["free0"] + 3 * port + torch.arange(3)[:, None]
        ring_rows = self.rings[0] + self.ring * port + torch.arange(self.ring)[:, None]
        free, server, _ = self.times[rows, ids].unbind(0)
        queue = self.queues + port * QUEUE_DEPTH
        popped = waits.maximum(free).maximum(self._room(ids, queue))
        self._popped(ids, queue, popped)
        flow = Flow(self.times[ring_rows, ids], popped, server, popped)
        move(flow, Cut(job, p.burst), Pace(p.beats, p.interval, p.latency, torch.zeros_like(server), False))
        last_word = flow.ends[-1] + 1
        self.times[rows, ids] = torch.stack([flow.entered, flow.server, last_word])
        self.times[ring_rows, ids] = flow.ends
        return last_word + 1

    def store(self, mask: Tensor, job: Job) -> Tensor:
        """A STORE of what the post lanes finished last; returns the cycle in which it is seen to be committed."""
        ids = torch.nonzero(mask)[:, 0]
        if len(ids):
            queue = torch.full_like(ids, self.queues + 2 * QUEUE_DEPTH)
            shown = self._room(ids, queue)
            p, t, delay = self.ports.select(ids), self.times[:, ids], OUTPUT_READ_LATENCY + 3
            popped = shown.maximum(t[T["drained"]]).maximum(t[T["store_free"]])
            self._popped(ids, queue, popped)
            ring = slice(self.rings[2], self.rings[2] + self.ring)
            flow = Flow(t[ring], popped, t[T["store_server"]], t[T["issued"]])
            pace = Pace(p.beats, p.interval, torch.full_like(popped, delay), p.write, True)
            move(flow, Cut(job.select(ids), p.burst), pace)
            self.times[ring, ids] = flow.ends
            for name, value in (
                ("store_free", flow.entered),
                ("store_server", flow.server),
                ("issued", flow.issued),
                ("stored2", t[T["stored1"]]),
                ("stored1", flow.issued + delay),
                ("committed", flow.ends[-1] + 2),
            ):
                self.times[T[name], ids] = value
            self.count(mask)
        return self.row("committed")

    # ------------------------------------------------------------ compute

    def layer(self, mask: Tensor) -> None:
        """LAYER, on read port 0 and in front of the array."""
        ids = torch.nonzero(mask)[:, 0]
        if not len(ids):
            return
        reads = torch.full_like(ids, self.queues)
        compute = reads + 3 * QUEUE_DEPTH
        self._room(ids, reads)
        shown, t, walk = self._room(ids, compute), self.times[:, ids], self.walk[ids]
        started = shown.maximum(t[T["word0"]] + 1).maximum(t[T["free0"]]) + 1
        self._popped(ids, reads, started + walk)
        self.times[T["free0"], ids] = started + walk + 1
        popped = shown.maximum(t[T["compute"]]).maximum(t[T["drained"]]) + walk
        self._popped(ids, compute, popped)
        self.times[T["compute"], ids] = popped + 1
        self.count(mask)

    def tile(
        self, mask: Tensor, last: Tensor, stored: Tensor, adds: Tensor, cycles: Tensor, idle: Tensor, post: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A TILE; returns the cycles from which on its operands' slots and its output are seen to be free, and ready.

        `last`: its sums go to the post lanes, `stored` being when their slot is free; `adds`: with a residual.
        """
        ids = torch.nonzero(mask)[:, 0]
        queue = torch.full_like(ids, self.queues + 3 * QUEUE_DEPTH)
        self._room(ids, queue)
        start = (self.row("sequencer") + 1).maximum(self.row("compute")).maximum(stored)
        start = start.maximum(self.row("added") * adds).maximum(self.row("input")).maximum(self.row("weight"))
        self._popped(ids, queue, start[ids])
        end = start + cycles
        captured = end - idle + CAPTURE_STAGES
        ready = captured + post + POST_STAGES + 1
        self.put(mask, "compute", end + 1)
        self.put(mask, "drained", torch.where(last, ready, captured))
        self.count(mask)
        return end + 1, ready
