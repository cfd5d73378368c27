"""What designs of several chunks take of a chip: memory, area, and the energy of a frame."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dna.accelerator.board import Board
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.technology import Technology
from dna.cost.area import area_mm2, buffer_kb, link_bits
from dna.cost.energy import dynamic_pj, idle_pj
from dna.cost.traffic import Feeding, layer_traffic
from dna.network.layer import Layer
from dna.search.energy_tables import least_traffic
from dna.search.mapping_space import shape_of
from dna.search.pipeline_space import Decoded
from dna.search.stage_rows import Chosen, Places


def chip_size(decoded: Decoded, links: Tensor, board: Board) -> tuple[Tensor, Tensor | None]:
    """On-chip memory in units of 1024 bytes, and area in mm2, None for an FPGA; float64 `(N,)`.

    `links`: words of each pair's link, 0 for none, int64 `(N, pairs)`.
    """
    used, bits = decoded.used.double(), link_bits(links).sum(dim=1)
    kilobytes = (buffer_kb(decoded.values) * used).sum(dim=1) + bits.double() / (8 * 1024)
    if board.technology is None:
        return kilobytes, None
    area = (area_mm2(decoded.values, board.technology) * used).sum(dim=1)
    return kilobytes, area + board.technology.sram_um2(bits, (links > 0).sum(dim=1)) * 1e-6


def idle_energy(decoded: Decoded, links: Tensor, board: Board) -> Tensor:
    """Clock and leakage of all chunks and links in one cycle, pJ, float64 `(N,)`. UserError for an FPGA."""
    chunks = (idle_pj(decoded.values, board) * decoded.used).sum(dim=1)
    assert board.technology is not None
    bits, count = link_bits(links).sum(dim=1), (links > 0).sum(dim=1)
    milliwatts = board.technology.sram_um2(bits, count) * 1e-6 * board.technology.sram_leakage_mw_per_mm2
    return chunks + milliwatts * (1e3 / board.clock_mhz)


def row_energy(
    layer: Layer, values: Mapping[str, Tensor], places: Places, technology: Technology, chosen: Chosen | None
) -> tuple[Tensor, Tensor]:
    """Energy of a layer in one frame but for links, pJ, and bytes through links: float64 `(N,)` each.

    `values`: the chunks' parameters, int64 `(N,)` each. `chosen`: the mappings; None: what no mapping undercuts.
    """
    if chosen is None:
        traffic = least_traffic(shape_of(layer), values, feeding_of(places))
    else:
        traffic = layer_traffic(layer, chosen.candidates, values, feeding_of(places, chosen.resident))
    parts = dynamic_pj(traffic, values, technology)
    return sum(value for name, value in parts.items() if name != "links"), traffic.link  # type: ignore[return-value]


def feeding_of(places: Places, resident: Tensor | int = 0) -> Feeding:
    """How the operands of `(N,)` rows come and go."""
    return Feeding(places.chip_in, places.chip_residual, places.chip_out, places.frames, resident)


def link_pj(linked: Tensor, links: Tensor, technology: Technology) -> Tensor:
    """Energy of bytes through links, pJ, float64 `(N,)`; as if all went through the design's largest link."""
    return linked * technology.sram_byte_pj(WORD_BYTES * links.amax(dim=1))
