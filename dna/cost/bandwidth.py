"""A memory whose ports share one bandwidth: an estimate, where private memories are exact.

Ports take turns in `sim/dna_memory.v`, so what one gets depends on all others in the same cycle. Here time is cut into
windows, each with its bytes. A burst takes what is left in the windows from its start on, at most a beat per cycle;
and a part of its fair share of a window even where others, earlier in the schedule's serial order, took all of it: the
bytes are then missing in the next window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW = 64
"""Cycles of a window: about the turn of a few bursts."""
LATE_SHARE = 0.3
"""Part of its fair share that a burst still gets where others have taken all: they are not delayed after the fact, so
the whole share would move too many bytes. Fitted to two networks; `benchmarks/shared_memory.py` measures others too."""


@dataclass
class _Window:
    left: int
    """Bytes that nobody has taken."""
    taken: dict[int, int] = field(default_factory=dict)
    """Bytes by who took them."""


class Bandwidth:
    """Bytes per cycle that all ports and both directions share."""

    def __init__(self, bytes_per_cycle: int) -> None:
        self._rate = bytes_per_cycle
        self._windows: dict[int, _Window] = {}

    def serve(self, start: int, beats: int, width: int, server: int) -> int:
        """The cycle after the last of `beats` beats of `width` bytes, the first of them in cycle `start` or later.

        `server`: one direction of one port, any number of its own.
        """
        cycle = start
        while True:
            number, place = divmod(cycle, WINDOW)
            window = self._window(number)
            before = window.taken.get(server, 0)
            window.taken[server] = before
            fair = int(LATE_SHARE * WINDOW * self._rate / len(window.taken)) - before
            taken = min(beats, WINDOW - place, max(window.left, fair) // width)
            self._take(number, server, taken * width)
            beats -= taken
            if beats == 0:
                return cycle + taken
            cycle = (number + 1) * WINDOW

    def _window(self, number: int) -> _Window:
        if number not in self._windows:
            self._windows[number] = _Window(WINDOW * self._rate)
        return self._windows[number]

    def _take(self, number: int, server: int, amount: int) -> None:
        """Book the bytes; what the window has not is owed by the next ones."""
        window = self._window(number)
        window.taken[server] += amount
        window.left -= amount
        while window.left < 0:
            owed, window.left = -window.left, 0
            number += 1
            window = self._window(number)
            window.left -= owed
