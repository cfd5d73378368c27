"""Sharing one memory's bandwidth: an estimate, but one that moves no byte twice and delays nobody who is alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_mapping
from dna.cost.bandwidth import Bandwidth
from dna.cost.schedule import schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights

READ, WRITE = 0, 1


def test_one_port_alone_is_served_beat_by_beat() -> None:
    memory = Bandwidth(16)
    assert memory.serve(10, 16, 16, READ) == 26
    assert memory.serve(1000, 500, 16, READ) == 1500
    assert Bandwidth(32).serve(0, 100, 16, READ) == 100, "a beat per cycle is the most"


def test_half_the_bandwidth_takes_twice_as_long() -> None:
    memory, cycle = Bandwidth(8), 0
    for _ in range(100):
        cycle = memory.serve(cycle, 16, 16, READ)
    assert 0.97 < cycle / 3200 < 1.03


def test_two_servers_move_no_more_than_there_is() -> None:
    memory, ends = Bandwidth(16), [0, 0]
    for _ in range(200):
        for server in (READ, WRITE):
            ends[server] = memory.serve(ends[server], 16, 16, server)
    assert max(ends) >= 0.97 * 2 * 200 * 16
    assert min(ends) > 0.8 * max(ends), "both make progress"


def test_a_schedule_with_bandwidth_to_spare_is_the_exact_one() -> None:
    layer = Layer("a", "conv", "input", 16, 20, 20, 32, (3, 3), padding=(1, 1, 1, 1))
    network = Network("one", (layer, replace(layer, name="b", input="a", in_channels=32)))
    chunk = Chunk(px=2)
    weights = random_weights(network, np.random.default_rng(0))
    program = compile(network, weights, Accelerator((chunk,)), default_mapping(network, chunk))
    memory = Memory(30)
    exact = schedule(program, memory)
    assert schedule(program, memory, shared_bytes=64).cycles == exact.cycles
    assert schedule(program, memory, shared_bytes=2).cycles > exact.cycles
    assert len(schedule(program, memory, 5, shared_bytes=64).pass_ends) == 5
