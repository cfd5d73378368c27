"""The bursts of the jobs of many designs side by side: how each job is cut, and when its bursts enter and end.

The recurrence is that of `dna.cost.ports`. As many bursts as may be under way are taken together, for within such a
window each burst waits for one of those before it. Of a long job, windows are left out once it is under way; what
stands for them is what the port needs for them at least, so no burst is later than there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WINDOWS = 16
"""Windows at the beginning of a job that are looked at; two where all bursts between its first and last are full."""


@dataclass(frozen=True, eq=False)
class Job:
    """Words that a LOAD or STORE moves: runs in two loops, as the DMA fields have them. int64 `(designs,)` each."""

    address: Tensor
    run: Tensor
    inner: Tensor
    step_inner: Tensor
    outer: Tensor
    step_outer: Tensor

    @staticmethod
    def stream(address: Tensor, words: Tensor) -> Job:
        """Consecutive words."""
        one = torch.ones_like(words)
        return Job(address, words, one, one, one, one)

    def select(self, ids: Tensor) -> Job:
        return Job(*(value[ids] for value in vars(self).values()))

    @property
    def words(self) -> Tensor:
        return self.run * self.inner * self.outer


class Cut:
    """A job cut into bursts, none of which crosses a multiple of `burst` words, a power of two."""

    def __init__(self, job: Job, burst: Tensor) -> None:
        self.words, self._run, self._burst = job.words, job.run, burst
        self._runs = job.inner * job.outer
        number = torch.arange(int(self._runs.max()))[:, None]
        outer = number // job.inner
        place = job.address + outer * job.step_outer + (number - outer * job.inner) * job.step_inner
        self._place = place & (burst - 1)
        last = self._place + job.run - 1
        counts = torch.where(last < burst, 1, last // burst + 1)
        within = number < self._runs
        self._ends = (counts * within).cumsum(0)
        self.count = self._ends[-1]
        shortest = torch.where(counts == 1, job.run, (burst - self._place).minimum((last & (burst - 1)) + 1))
        shortest = torch.where(within, shortest, burst).amin(0)
        self.single = self._runs == 1
        self.shortest = torch.where(self.single, burst, shortest)
        """Words of the shortest burst; of a single run, of those between its first and its last."""

    def before(self, number: Tensor) -> Tensor:
        """Words in front of each burst `number` `(K, designs)`; all words from the number of bursts on."""
        if len(self._place) == 1:
            return (number * self._burst - self._place).clamp(min=0).minimum(self._run)
        run = torch.searchsorted(self._ends.T.contiguous(), number.T.contiguous(), right=True).T
        run = run.minimum(self._runs - 1)
        inside = number - self._ends.gather(0, (run - 1).clamp(min=0)) * (run > 0)
        return run * self._run + (inside * self._burst - self._place.gather(0, run)).clamp(min=0).minimum(self._run)


@dataclass(eq=False)
class Flow:
    """A port's state between two bursts: int64 `(designs,)`, `ends` `(outstanding, designs)` from the oldest on."""

    ends: Tensor
    entered: Tensor
    server: Tensor
    """First cycle in which the memory can begin another beat."""
    issued: Tensor
    """Cycle in which the last word was asked for; only of STOREs."""


@dataclass(frozen=True, eq=False)
class Pace:
    """What bursts of a port cost, int64 `(designs,)` each."""

    beats: Tensor
    """Per word."""
    interval: Tensor
    """Cycles per beat."""
    answer: Tensor
    """From the address in its register (of a STORE from the first word asked for) to the first beat."""
    response: Tensor
    """From a burst's last beat to its end."""
    stores: bool


def move(flow: Flow, cut: Cut, pace: Pace) -> None:
    """All bursts of a job, `flow.entered` being the cycle in which it is popped."""
    done = torch.zeros_like(cut.count)
    window = 0
    while bool((done < cut.count).any()):
        if window:
            left = torch.where(cut.single | (window >= WINDOWS), cut.count - done, 0)
            turns = (left // len(flow.ends) - 1) * (window > 1)
            if bool((turns > 0).any()):
                done = _leave_out(flow, cut, pace, done, turns.clamp(min=0))
        done = _window(flow, cut, pace, done)
        window += 1


def _window(flow: Flow, cut: Cut, pace: Pace, done: Tensor) -> Tensor:
    """The next bursts, as many as may be under way; returns how many are done then."""
    size = len(flow.ends)
    number = torch.arange(size + 1)[:, None]
    words = cut.before(done + number) * pace.beats
    head, tail, place = words[:-1], words[1:], number[:-1]
    enter = (flow.ends - place).cummax(0).values.maximum(flow.entered) + place + 1
    asked = enter + 1
    if pace.stores:
        asked = (asked - head).cummax(0).values.maximum(flow.issued + pace.beats - head[0]) + head
    first = (asked + pace.answer - head * pace.interval).cummax(0).values
    free = first.maximum(flow.server - head[0] * pace.interval) + tail * pace.interval
    moved = (cut.count - done).clamp(min=0, max=size)
    flow.ends = torch.cat([flow.ends, free + pace.response - pace.interval]).gather(0, moved + place)
    some, last = moved > 0, (moved - 1).clamp(min=0)[None]
    flow.entered = torch.where(some, enter.gather(0, last)[0], flow.entered)
    flow.server = torch.where(some, free.gather(0, last)[0], flow.server)
    if pace.stores:
        issued = (asked + tail - head).gather(0, last)[0] - pace.beats
        flow.issued = torch.where(some, issued, flow.issued)
    return done + moved


def _leave_out(flow: Flow, cut: Cut, pace: Pace, done: Tensor, turns: Tensor) -> Tensor:
    """`turns` times as many bursts as may be under way. For each place of the window the latest of three bounds:

    its own turns with the shortest burst in each; the words that the server moves; and, as one of the places takes at
    least the mean of all words, that many turns but one from the window's first, and from there the server.
    """
    size, skips = len(flow.ends), turns > 0
    number = done - size + 1 + torch.arange(size)[:, None]
    begin = cut.before(number.clamp(min=0))
    end, middle = cut.before(number + turns * size), cut.before((done + (turns - 1) * size)[None])[0]
    words = (end - begin) * pace.beats * skips
    shared = (middle - begin[-1]).clamp(min=0) * pace.beats * pace.interval // size
    after = (end - middle).clamp(min=0) * pace.beats * pace.interval
    turn = pace.answer + 2 - pace.interval + pace.response
    own = turn + cut.shortest * pace.beats * pace.interval
    mean = torch.where(skips, flow.ends[0] + (turns - 1) * turn + shared, flow.ends[0]) + after
    bound = (flow.ends + turns * own).maximum(flow.ends + words * pace.interval).maximum(mean)
    flow.ends = torch.where(skips, bound, flow.ends)
    flow.entered = flow.entered + turns * own
    flow.server = torch.where(skips, flow.ends[-1] + pace.interval - pace.response, flow.server)
    if pace.stores:
        flow.issued = (flow.issued + words[-1]).maximum(torch.where(skips, flow.entered + 1, flow.issued))
    return done + turns * size
