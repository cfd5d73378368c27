"""When the sequencer hands out each instruction: the exact recurrence of `templates/rtl/dna_sequencer.v`."""

from __future__ import annotations

from dna.accelerator.chunk import PAGE_INSTRUCTIONS

BOOTSTRAP_DELAY = 1
"""Cycles from the start pulse to the first possible dispatch of the bootstrap LOAD."""
PAGE_DELAY = 4
"""Cycles from the last word of a page on the stream to the first possible dispatch of an instruction in it."""
DONE_DELAY = 1
"""Cycles from the end of END to the done pulse."""


class Sequencer:
    """Hands out the bootstrap, then the instructions in order, one per cycle at most; then all that again, per pass.

    Cycles are absolute; `start` is the cycle of the start pulse. For each instruction in turn, ask `earliest`
    (the first cycle in which it may be dispatched if its queue has room), find the first cycle from there on in which
    its queue is ready, and tell `dispatch`. Pages are announced by `page_loaded`, in order, before an instruction
    of the page is asked for.
    """

    def __init__(self, start: int = 0) -> None:
        self._next = start + BOOTSTRAP_DELAY
        self._pages: list[int] = []
        self._index = -1

    def page_loaded(self, cycle: int) -> None:
        """The last word of the next page was on the stream in `cycle`."""
        self._pages.append(cycle)

    @property
    def state(self) -> list[int]:
        """All cycles that later dispatches depend on."""
        return [self._next, *self._pages]

    @property
    def earliest(self) -> int:
        """First cycle in which the next instruction can be dispatched; LookupError before its page is announced."""
        if self._index < 0:
            return self._next
        page = self._index // PAGE_INSTRUCTIONS
        if page >= len(self._pages):
            raise LookupError(f"instruction {self._index} is in page {page}, whose load was not announced")
        return max(self._next, self._pages[page] + PAGE_DELAY)

    def dispatch(self, queue_ready: int = 0) -> int:
        """Dispatch the next instruction, whose queue has room from cycle `queue_ready` on; the cycle it happens."""
        cycle = max(self.earliest, queue_ready)
        self._next = cycle + 1
        self._index += 1
        return cycle

    def next_pass(self, committed: int) -> int:
        """END of a pass that is not the last; returns its cycle. The bootstrap is next, and pages count from 0 again.

        `committed`: first cycle in which this chunk's counter shows that the passes before this one are committed.
        """
        cycle = self.dispatch(committed)
        self._pages, self._index = [], -1
        return cycle

    def finish(self, idle: int) -> int:
        """END of the last pass, with all engines idle and all STOREs committed from `idle` on; the cycle of `done`."""
        return self.dispatch(idle) + DONE_DELAY
