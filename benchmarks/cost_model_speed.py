"""Prices and solved layers per second, and beside them ZigZag's evaluations of the same layers.

    python -m benchmarks.cost_model_speed [--quick] [--zigzag]

A **price** is the cycles, the legality and the buffer needs of one mapping of one layer on one array
(`dna.cost.cycles.price`), for the executed layers of MobileNetV2 at 224 x 224 on arrays of the default space of the
ZC706, those with 8 pixel lanes together. A **layer solved** is one layer on one array with its best mapping of all
candidates, for every choice of the four buffers of the space at once (`dna.search.mapping_space.buffer_tables`); how
many designs, array times buffers, one table answers is given beside it. A **walk** is one layer of one design in
`dna.cost.walk.network_cycles`, MobileNetV2 at 64 x 64. Best of three each, for others may use
the machine; what a second of processor time does is given beside it.

With `--zigzag`, an evaluation of ZigZag's cost model (spatial and temporal mapping of a layer on its TPU-like
accelerator) counts as its price; its search is its own. It has other dependencies than DNA; install it for this
benchmark alone: `pip install zigzag-dse==3.9.1 six`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Row, report, write
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk, Memory
from dna.compile.lowering import lower
from dna.cost.cycles import price
from dna.cost.walk import network_cycles
from dna.cost.walk_groups import writers
from dna.network.layer import Layer
from dna.network.zoo import Request, build
from dna.search.accelerator import space_for
from dna.search.mapping_space import buffer_tables, candidates, shape_of, solve_mappings
from dna.search.space import BUFFER_AXES

LANES = 8
BLOCK = 512
"""Mappings priced together: intermediate results stay in the caches."""
CORES = 2
TRIES = 3
ZIGZAG_ACCELERATOR = "tpu_like"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three layers, one try; nothing is written")
    parser.add_argument("--zigzag", action="store_true", help="measure ZigZag too, if it is installed")
    given = parser.parse_args()
    tries = 1 if given.quick else TRIES
    layers = lower(build("mobilenet_v2", Request((224, 224, 3), 1.0, 1000)).network).layers
    shapes = list(dict.fromkeys(shape_of(layer) for layer in layers))[:: 10 if given.quick else 1]
    torch.set_num_threads(1)
    rows = [prices(shapes, tries), solved(shapes, tries), walked(8 if given.quick else 64)]
    if given.zigzag:
        rows += zigzag(convolutions(shapes)[-2:], 1, float(rows[0].value))
    if not given.quick:
        write("cost_model_speed", rows)
    return report(rows)


def best(work: Callable[[], object], tries: int) -> tuple[float, float]:
    """Shortest of some runs, seconds; the least processor time of all threads."""
    seconds, busy = [], []
    for _ in range(tries):
        begin, used = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - begin)
        busy.append(time.process_time() - used)
    return min(seconds), min(busy)


def family(layers: Sequence[Layer]) -> tuple[dict[str, Tensor], list[tuple[int, ...]], Memory]:
    """Arrays of the board's space with `LANES` pixel lanes, the depths of the buffers, the memory."""
    board = load_board("zc706")
    space = space_for(layers, board)
    arrays = space.arrays[space.values(space.arrays)["px"] == LANES]
    levels = [space.axes[space.column(name)].values for name in BUFFER_AXES]
    return space.values(arrays), levels, board.memory


def prices(shapes: Sequence[Layer], tries: int) -> Row:
    """Layer-mapping prices per second, all cores."""
    values, _, memory = family(shapes)
    blocks = []
    for shape in shapes:
        rows = candidates(shape, LANES)
        places = torch.arange(len(rows)).split(BLOCK)
        blocks += [(shape, rows.select(ids)) for ids in places]
    count = sum(len(rows) for _, rows in blocks) * len(values["px"])
    with ThreadPoolExecutor(CORES) as pool:

        def work() -> None:
            list(pool.map(lambda block: price(block[0], block[1], values, memory), blocks))

        work()
        seconds, busy = best(work, tries)
    extra = {
        "layers": len(shapes),
        "arrays": len(values["px"]),
        "prices": count,
        "seconds": round(seconds, 2),
        "per second of processor time": round(count / busy),
    }
    return Row("layer-mapping prices per second", round(count / seconds), "1/s", ">= 10000000", extra)


def solved(shapes: Sequence[Layer], tries: int) -> Row:
    """Layers per second, each on one design, the mapping solved."""
    values, levels, memory = family(shapes)
    with ThreadPoolExecutor(CORES) as pool:

        def work() -> None:
            list(pool.map(lambda shape: buffer_tables(shape, values, levels, memory), shapes))

        seconds, busy = best(work, tries)
    pairs = len(shapes) * len(values["px"])
    buffers = torch.Size([len(level) for level in levels]).numel()
    extra = {
        "layers on arrays per second": round(pairs / seconds),
        "layers on arrays per second of processor time": round(pairs / busy),
        "choices of buffers answered by each": buffers,
        "mappings per layer, mean": round(sum(len(candidates(s, LANES)) for s in shapes) / len(shapes)),
        "seconds": round(seconds, 2),
    }
    return Row("layers on designs solved per second", round(pairs * buffers / seconds), "1/s", ">= 300000", extra)


def walked(designs: int) -> Row:
    """Layers per second of the walk over tiles: designs that run the whole network with solved mappings."""
    lowered = lower(build("mobilenet_v2", Request((64, 64, 3), 1.0, 1000)).network)
    board = load_board("zc706")
    space = space_for(lowered.layers, board)
    chunks: list[Chunk] = []
    generator = torch.Generator().manual_seed(0)
    while len(chunks) < designs:
        drawn = [space.chunk(row) for row in space.sample(designs, generator)]
        fits = solve_mappings(lowered.layers, drawn, board.memory).feasible.all(0)
        chunks += [chunk for chunk, ok in zip(drawn, fits.tolist(), strict=True) if ok]
    chunks = chunks[:designs]
    solution = solve_mappings(lowered.layers, chunks, board.memory)
    values = {name: torch.tensor([c.integers[name] for c in chunks]) for name in chunks[0].integers}
    mappings = []
    for layer, ids in zip(lowered.layers, solution.ids, strict=True):
        tables = [candidates(shape_of(layer), chunk.px).select(i[None]) for chunk, i in zip(chunks, ids, strict=True)]
        mappings.append(type(tables[0])(*(torch.cat(column) for column in zip(*map(_columns, tables), strict=True))))
    written = writers(lowered)
    seconds, busy = best(lambda: network_cycles(lowered.layers, mappings, values, board.memory, written), 1)
    count = designs * len(lowered.layers)
    extra = {
        "designs": designs,
        "layers": len(lowered.layers),
        "seconds": round(seconds, 1),
        "per second of processor time": round(count / busy),
    }
    return Row("layers walked per second, one core", round(count / seconds), "1/s", "", extra)


def _columns(table: Any) -> list[Tensor]:
    return list(vars(table).values())


def convolutions(shapes: Sequence[Layer]) -> list[Layer]:
    """The pointwise layers, largest first: ZigZag and DNA see the same loops."""
    found = [shape for shape in shapes if shape.op == "conv" and shape.kernel == (1, 1) and shape.residual is None]
    return sorted(found, key=lambda shape: -shape.out_height * shape.in_channels * shape.out_channels)


def zigzag(layers: Sequence[Layer], tries: int, ours: float) -> list[Row]:
    """ZigZag's evaluations per second on the same layers."""
    try:
        api = importlib.import_module("zigzag.api")
        model: Any = importlib.import_module("zigzag.cost_model.cost_model")
    except ImportError as error:
        print(f"ZigZag is not installed ({error}): pip install zigzag-dse==3.9.1 six", file=sys.stderr)
        return []
    inputs = Path(str(api.__file__)).parent / "inputs"
    counted = 0
    original = model.CostModelEvaluation.__init__

    def counting(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal counted
        counted += 1
        original(self, *arguments, **named)

    model.CostModelEvaluation.__init__ = counting
    logging.disable(logging.INFO)
    seconds = []
    try:
        for _ in range(tries):
            counted = 0
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                api.get_hardware_performance_zigzag(
                    [_workload(number, layer) for number, layer in enumerate(layers)],
                    str(inputs / "hardware" / f"{ZIGZAG_ACCELERATOR}.yaml"),
                    str(inputs / "mapping" / f"{ZIGZAG_ACCELERATOR}.yaml"),
                    dump_folder=folder,
                    loma_show_progress_bar=False,
                )
                seconds.append(time.perf_counter() - begin)
    finally:
        model.CostModelEvaluation.__init__ = original
        logging.disable(logging.NOTSET)
    rate = counted / min(seconds)
    extra = {"evaluations": counted, "layers": len(layers), "seconds": round(min(seconds), 1), "version": "3.9.1"}
    return [
        Row("ZigZag: evaluations per second, same layers, one core", round(rate), "1/s", "", extra),
        Row("prices per second / ZigZag's evaluations per second", round(ours / rate)),
    ]


def _workload(number: int, layer: Layer) -> dict[str, Any]:
    """A pointwise convolution in ZigZag's words."""
    sizes = [1, layer.out_channels, layer.in_channels, layer.out_height, layer.out_width, 1, 1]
    return {
        "id": number,
        "name": f"layer{number}",
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "dimension_relations": ["ix=1*ox+1*fx", "iy=1*oy+1*fy"],
        "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
        "loop_sizes": sizes,
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
        "operand_source": {"I": number, "W": number},
    }


if __name__ == "__main__":
    sys.exit(main())
