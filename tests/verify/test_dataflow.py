"""Weight- and input-stationary chunks through the whole chain: sums that wait in buffers, every kind of layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dna.accelerator.chunk import Chunk, Dataflow, Memory
from dna.accelerator.mapping import LayerMapping
from dna.cost.schedule import Schedule, schedule
from dna.network.layer import Layer
from dna.quantize.reference import run
from dna.verify import Case, verify_many
from tests.compile import cases

BUILDS = Path(__file__).parents[2] / "build" / "sim"
CHUNK = Chunk(oc=8, ic=2, px=2, post_lanes=2, input_words=512, weight_words=2048, output_words=256)
LAYERS = [
    replace(cases.conv("deep", "input", (9, 8, 40), 24), padding=(0, 0, 0, 0)),
    Layer("own", "depthwise", "deep", 24, 7, 6, 24, (3, 3), padding=(1, 1, 1, 1)),
    Layer("largest", "maxpool", "own", 24, 7, 6, 24, (3, 2), stride=(2, 2)),
    Layer("all", "fc", "largest", 24, 3, 3, 20, (3, 3)),
]
MAPPINGS = [
    LayerMapping(1, 2, 4, 2, 24, 16, 2),  # slices of channels and of kernel rows, 8 pixels and 3 groups at a time
    LayerMapping(2, 1, 2, 6, 24, 24, 3, "weights"),
    LayerMapping(1, 1, 3, 3, 24, 24, 1),  # slices of kernel rows, all pixels and groups
    LayerMapping(1, 1, 1, 1, 20, 24, 2),  # one pixel: the same sum in every cycle, or every third
]


def sliced(dataflow: Dataflow, **parameters: int | bool) -> cases.Case:
    chunk = replace(CHUNK, dataflow=dataflow, sum_words=32, **parameters)  # type: ignore[arg-type]
    return cases.made_case(LAYERS, chunk, MAPPINGS)


@pytest.mark.parametrize(("dataflow", "packed"), [("weight", True), ("input", False)])
def test_slices_of_many_pixels_and_groups(dataflow: Dataflow, packed: bool, tmp_path: Path) -> None:
    """Bits and cycles, and the pauses for two post lanes in the last step of every reduction."""
    case = sliced(dataflow, packed=packed)
    program, reference = case.compile(), {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    result = verify_many(
        [Case(program, reference, memory) for memory in (Memory(), Memory(7, 2, 3))], tmp_path / "many", build=BUILDS
    )
    assert result.ok, "\n".join(result.differences)
    fixed = [run for run in result.runs if run.mode == "fixed"]
    assert len(fixed) == 2 and all(run.cycles_model == run.cycles_rtl for run in fixed)
    assert all(layer.model and layer.model["wait_output"] > 0 for layer in fixed[0].layers)


def test_dataflows_differ_in_pauses_alone() -> None:
    """The same mapping in three chunks: as many MAC cycles, and in the buffered ones as many pauses."""
    whole = [
        replace(m, in_channels=layer.in_channels, kernel_rows=layer.kernel[0])
        for layer, m in zip(LAYERS, MAPPINGS, strict=True)
    ]

    def of(chunk: Chunk) -> Schedule:
        return schedule(cases.made_case(LAYERS, replace(chunk, input_words=2048), whole).compile(), Memory())

    output = of(CHUNK)
    weight, inputs = (of(replace(CHUNK, dataflow=dataflow, sum_words=64)) for dataflow in ("weight", "input"))
    assert output.causes.busy == weight.causes.busy == inputs.causes.busy
    assert output.causes.wait_output < weight.causes.wait_output == inputs.causes.wait_output
