"""When counters reached their values and when queues take jobs: the small parts of the schedule's recurrence."""

from __future__ import annotations

from collections import deque

from dna.accelerator.isa import COUNTER_BITS

QUEUE_DEPTH = 8
"""Jobs in the queue of each engine (dna_chunk.v)."""
_RANGE = 1 << COUNTER_BITS
PASSES_KEPT = 5
"""A WAIT looks at most 3 passes back, and at most to the end of the pass before that."""


class Counter:
    """A monotone counter of 12 bits: when each value became visible. The older half of the range is forgotten."""

    def __init__(self) -> None:
        self.recent: deque[int] = deque(maxlen=_RANGE // 2)
        self._count = 0

    def event(self, cycle: int) -> None:
        """The counter's register changes at the end of `cycle`."""
        self.recent.append(cycle + 1)
        self._count += 1

    def reached(self, threshold: int) -> int:
        """First cycle in which the counter has reached `threshold`, which earlier jobs reach; it may have wrapped."""
        behind = (self._count - threshold) % _RANGE
        return self.recent[-1 - behind] if behind < len(self.recent) else 0


class PassCounter:
    """`committed` or `fetched`: {pass, index}, with a known number of events in every pass."""

    def __init__(self, per_pass: int) -> None:
        self.per_pass = per_pass
        self.recent: deque[int] = deque(maxlen=PASSES_KEPT * per_pass)
        self._count = 0

    def event(self, cycle: int) -> None:
        """The counter's register changes at the end of `cycle`."""
        self.recent.append(cycle + 1)
        self._count += 1

    def reached(self, number: int, index: int) -> int:
        """First cycle in which `index` events of pass `number` have happened; 0 if that was before the start.

        LookupError if earlier jobs do not reach it.
        """
        value = number * self.per_pass + index
        if value <= 0:
            return 0
        if value > self._count or index > self.per_pass:
            raise LookupError(f"event {index} of pass {number} is waited for before it has happened: deadlock")
        return self.recent[value - 1 - self._count]


class Queue:
    """A FIFO of jobs: when it takes the next one."""

    def __init__(self) -> None:
        self.pops: deque[int] = deque(maxlen=QUEUE_DEPTH)

    @property
    def ready(self) -> int:
        """First cycle with room for the next job."""
        return self.pops[0] + 1 if len(self.pops) == QUEUE_DEPTH else 0

    def visible(self, dispatched: int) -> int:
        """First cycle in which the job dispatched in that cycle stands at the head."""
        return max(dispatched, self.pops[-1] if self.pops else 0) + 1
