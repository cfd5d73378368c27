"""A serial execution of one pass on all chunks: it shows that none waits for ever, or which ones do, and for what.

Executing a job never takes away what another waits for, so which chunk goes next makes no difference to where an
execution ends: if this one comes to its end, all do.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from dna.accelerator.isa import EVENTS
from dna.compile.waits import Wait


class Job(NamedTuple):
    """One instruction, or what stands for several: what it waits for, and the counter it raises, if any."""

    waits: tuple[Wait, ...] = ()
    event: int = -1
    """COMMITTED, FETCHED or -1."""
    layer: int = -1


class Stuck(NamedTuple):
    """A chunk that cannot go on: its job, and what that waits for."""

    chunk: int
    job: Job
    wait: Wait


class Serial(NamedTuple):
    """The chunk of each job in turn, and the chunks that did not come to their end."""

    order: tuple[int, ...]
    stuck: tuple[Stuck, ...]


def serial(chunks: Sequence[Sequence[Job]]) -> Serial:
    """Executes the jobs of each chunk in order, always in the chunk that has done the smallest part of its jobs."""
    order: list[int] = []
    at = [0] * len(chunks)
    counts = {(chunk, event): 0 for chunk in range(len(chunks)) for event in EVENTS.values()}
    waiting: dict[tuple[int, int], list[int]] = {}
    ready = [(0.0, -chunk) for chunk, jobs in enumerate(chunks) if jobs]
    heapq.heapify(ready)
    while ready:
        chunk = -heapq.heappop(ready)[1]
        jobs = chunks[chunk]
        job = jobs[at[chunk]]
        missing = _missing(job, counts)
        if missing is not None:
            waiting.setdefault((missing.peer, missing.event), []).append(chunk)
            continue
        order.append(chunk)
        at[chunk] += 1
        if at[chunk] < len(jobs):
            heapq.heappush(ready, (at[chunk] / len(jobs), -chunk))
        if job.event >= 0:
            counts[chunk, job.event] += 1
            for other in waiting.pop((chunk, job.event), ()):
                heapq.heappush(ready, (at[other] / len(chunks[other]), -other))
    stuck = []
    for chunk, jobs in enumerate(chunks):
        if at[chunk] < len(jobs):
            job = jobs[at[chunk]]
            missing = _missing(job, counts)
            assert missing is not None, "only a job that waits is left over"
            stuck.append(Stuck(chunk, job, missing))
    return Serial(tuple(order), tuple(stuck))


def _missing(job: Job, counts: dict[tuple[int, int], int]) -> Wait | None:
    """A wait of the job that is not over; of passes before, all are over."""
    for wait in job.waits:
        if wait.ago == 0 and counts[wait.peer, wait.event] < wait.index:
            return wait
    return None
