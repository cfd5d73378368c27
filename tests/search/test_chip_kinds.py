"""Stages with tensors on chip: options against all entries of the menus, links against compiled plans."""

from dataclasses import replace

import numpy as np
import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import LayerMapping
from dna.compile.limits import fits
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources, resources
from dna.network.zoo import Request, build
from dna.search.chip_kinds import ALIGNED, OnChip, Tensors, carried, link_blocks, output_words
from dna.search.links import link_needs
from dna.search.menu_prices import Limits, Prices
from dna.search.outline import plan_of
from dna.search.partition import COLUMNS, Needs
from dna.search.point import Point
from dna.search.point_mappings import Mapper
from dna.search.split_kind import BANKS, DEPTHWISE_LEVELS, DEPTHWISE_SPLIT, MAIN_SPLITS, Split
from dna.search.stage_search import WEIGHTS
from dna.search.stages import Mode, dsp_menu, suits_lut

BOARD = load_board("zc706")
FEW = ((512, 1024), (256, 1024), (64,), (1024, 2048))


def tensors_of(network):
    lowered = lower(network)
    able = frozenset(layer.name for layer in lowered.layers) - set(lowered.places) - {lowered.output}
    return lowered.layers, Tensors(lowered.layers, able)


def loose(layers):
    """Needs that rule nothing out."""
    return Needs.of(WEIGHTS, np.zeros((len(layers), len(WEIGHTS))), 10 * WEIGHTS.sum(axis=1))


@pytest.mark.parametrize("name", ["mnasnet", "resnet18"])
def test_a_link_holds_what_was_written_behind_a_residual(name):
    network = build(name, Request((64, 64, 3), 1.0, 10)).network
    layers, tensors = tensors_of(network)
    chunk = Chunk(16, 4, 4, 8, 4096, 4096, 512, 4096, residual=True, ports=2)
    on_chip = frozenset(name for name, _, _ in tensors.spans())
    point = Point((chunk,), (4,), (0,) * len(layers), 1, on_chip=on_chip)
    found = Mapper(lower(network).layers, point, BOARD).mapping(ordered=True)
    plan = plan_of(network, Accelerator((chunk,)), replace(found, on_chip=on_chip))
    needed = link_needs(plan, on_chip)[0, 0]
    largest = max(tensors.alive)
    assert needed <= ALIGNED * largest
    assert needed >= 0.7 * largest, "and not much more than that"
    living = [
        sum(output_words(layers[w]) for _, w, last in tensors.spans() if w <= n <= last) for n in range(len(layers))
    ]
    assert all(ring >= alone for ring, alone in zip(tensors.alive, living, strict=True))
    assert name == "resnet18" or sum(tensors.alive) > sum(living), "tensors that nobody reads any more are in the way"


@pytest.fixture(scope="module")
def split():
    layers, tensors = tensors_of(build("mobilenet_v2", Request((96, 96, 3), 1.0, 10)).network)
    limits = Limits.of(BOARD, 3)
    main = Prices.of(layers, dsp_menu(layers, 128, ports=2, levels=FEW), BOARD, limits, 2, False)
    menu = dsp_menu(layers, 128, ports=2, levels=DEPTHWISE_LEVELS, depthwise=True)
    return Split(main, Prices.of(layers, menu, BOARD, limits, 2, False), tensors)


def every_option(kind, first, end, interval):
    """What all pairs of entries use that keep up, by definition."""
    found = []
    mains, sides = (int(np.prod(p.menu.shape)) for p in (kind.main, kind.side))
    adds = kind.main.adds(range(first, end))
    side_used = kind.side.fractions(carried(DEPTHWISE_SPLIT), False).reshape(-1, len(COLUMNS))
    for one, intervals in enumerate(MAIN_SPLITS):
        main_used = kind.main.fractions(carried(intervals), adds).reshape(-1, len(COLUMNS))
        for bank in BANKS:
            links = (kind._links(first, end) + link_blocks(bank)) / kind.main.limits.bram36
            for main in range(mains):
                for side in range(sides):
                    if kind.cycles(first, end, (one, bank, main, side)) <= interval:
                        used = main_used[main] + side_used[side]
                        found.append(used + links * (np.array(COLUMNS) == "bram36"))
    return np.array(found)


@pytest.mark.parametrize("segment, ratio", [(0, 1.3), (2, 1.05), (3, 2.0)])
def test_options_of_two_chunks_leave_nothing_out(split, segment, ratio):
    first, end = split.segments[segment].first, split.segments[segment].end
    borders = {one: before[segment] + behind[segment] for one, (before, behind) in split._border.items()}
    each = [(sums[segment + 1] - sums[segment]).min(axis=1) + borders[key[0]] for key, sums in split._sums.items()]
    interval = ratio * float(np.min(each))
    options = split.choices(interval, loose(split.main.layers)).by_run()[first, end]
    everything = every_option(split, first, end, interval)
    everything = everything[(everything <= 1).all(axis=1)]
    assert len(everything)
    # LUTs decide nothing among buffers of one array: places are in the order of their BRAM.
    others = [n for n, name in enumerate(COLUMNS) if name != "lut"]
    own = options.used[:, others]
    assert all((own <= row[others] + 1e-9).all(axis=1).any() for row in everything)
    for payload in options.payload.tolist():
        assert split.cycles(first, end, payload) <= interval


def test_a_bank_holds_whole_what_a_segment_writes_for_the_next_depthwise_layer():
    layers, tensors = tensors_of(build("mobilenet_v1", Request((64, 64, 3), 1.0, 10)).network)
    limits = Limits.of(BOARD, 3)
    main, side = (
        Prices.of(layers, dsp_menu(layers, 64, ports=2, levels=FEW, depthwise=only), BOARD, limits, 1, False)
        for only in (False, True)
    )
    kind = Split(main, side, tensors)
    assert kind._whole(0, 1) == 0
    assert kind._whole(0, 2) == int(ALIGNED * output_words(layers[kind.segments[0].end - 1]))


def test_depthwise_layers_in_a_row_are_all_on_the_side():
    layers, tensors = tensors_of(build("fbnet_b", Request((64, 64, 3), 1.0, 10)).network)
    limits = Limits.of(BOARD, 3)
    main, side = (
        Prices.of(layers, dsp_menu(layers, 64, ports=2, levels=FEW, depthwise=only), BOARD, limits, 1, False)
        for only in (False, True)
    )
    kind = Split(main, side, tensors)
    (number,) = kind._doubled
    segment = kind.segments[number]
    assert [layers[n].op for n in segment.side] == ["depthwise"] * 2
    alone = [kind._cycles(n, DEPTHWISE_SPLIT, BANKS[-1]) for n in segment.side]
    before = kind._before(segment.first, segment.depthwise, MAIN_SPLITS[0])
    behind = kind._cycles(segment.end - 1, MAIN_SPLITS[0])
    sums = kind._sums[0, BANKS[-1]]
    assert (sums[number + 1] - sums[number] >= alone[0][None] + alone[1][None]).all()
    assert (sums[number + 1] - sums[number] >= (before + behind)[:, None]).all()
    inner, last = (link_blocks(output_words(layers[n])) for n in segment.side)
    assert kind._links(segment.first, segment.end) >= inner + last


def test_a_layer_has_one_weight_tile_where_its_weights_can_stay():
    network = build("mobilenet_v2", Request((96, 96, 3), 1.0, 10)).network
    layers, _ = tensors_of(network)
    levels = ((512,), (256, 2048), (64, 512), (1024,))
    prices = Prices.of(layers, dsp_menu(layers, 64, ports=2, levels=levels), BOARD, Limits.of(BOARD, 3), 1, False)
    seen = set()
    for number, layer in enumerate(layers):
        if layer.has_weights:
            tiles = prices.weight_tiles(number)
            for array in range(0, prices.menu.shape[0], 5):
                for place in range(prices.menu.shape[1]):
                    chunk = prices.menu.entry(array, place, True)
                    whole = min(chunk.oc, 16) if layer.per_channel else chunk.oc
                    mapping = LayerMapping(
                        1, 1, 1, 1, min(whole, layer.out_channels), layer.in_channels, layer.kernel[0]
                    )
                    stays = fits(layer, chunk, replace(mapping, resident=True))
                    seen.add(stays)
                    assert stays == (tiles[array, place] == 1) or not fits(layer, chunk, mapping)
    assert seen == {True, False}


def test_traffic_of_a_layer_by_where_its_tensors_are():
    layers, tensors = tensors_of(build("mobilenet_v2", Request((96, 96, 3), 1.0, 10)).network)
    number = next(n for n, layer in enumerate(layers) if layer.residual)
    layer = layers[number]
    read, added = (output_words(layers[tensors.numbers[name]]) for name in (layer.input, layer.residual))
    assert tensors.traffic(number, set()) == (0, read + added, 0)
    assert tensors.traffic(number, {layer.residual}) == (added, read, 0)
    assert tensors.traffic(number, {layer.name, layer.input}) == (read, added, output_words(layer))
    assert tensors.traffic(0, set())[0] == 96 * 96


def test_smaller_splits_of_the_bandwidth_come_first():
    network = build("resnet18", Request((64, 64, 3), 1.0, 10)).network
    layers, tensors = tensors_of(network)
    prices = Prices.of(layers, dsp_menu(layers, 128, ports=2, levels=FEW), BOARD, Limits.of(BOARD, 3), 2, False)
    kind = OnChip(prices, tensors, 32768)
    end = 6
    interval = 1.2 * min(kind.cycles(0, end, (0, a, -1)) for a in range(prices.menu.shape[0]))
    own = kind.choices(interval, loose(layers)).by_run()[0, end]
    by_array = {}
    for used, (_, array, place) in sorted(zip(own.used.tolist(), own.payload.tolist(), strict=True)):
        by_array.setdefault(array, []).append((used[COLUMNS.index("bandwidth")], place))
    for found in by_array.values():
        places = [place for _, place in sorted(found)]
        assert places == sorted(set(places), reverse=True), "more bandwidth only for smaller buffers"
    assert all(kind.cycles(0, end, payload) <= interval for payload in own.payload.tolist())
    part = kind.part(0, end, own.payload[0].tolist())
    assert accelerator_resources(Accelerator(part.chunks))["dsp"] <= 128


def test_arrays_made_of_luts_take_the_same_cycles_and_no_dsp():
    layers, _ = tensors_of(build("resnet18", Request((64, 64, 3), 1.0, 10)).network)
    prices = Prices.of(layers, dsp_menu(layers, 512, levels=FEW), BOARD, Limits.of(BOARD, 3), 2)
    twins = prices.made_of_luts(suits_lut)
    assert 0 < twins.menu.shape[0] < prices.menu.shape[0]
    for number, row in enumerate(twins.rows.tolist()):
        for place in range(twins.menu.shape[1]):
            one, other = prices.menu.entry(row, place, False), twins.menu.entry(number, place, False)
            assert other == replace(one, packed=False, mac_in_lut=True)
        assert resources(other).dsp == 0 < resources(one).dsp
    mode = Mode(2, 2)
    assert (twins.cycles(3, mode) == prices.cycles(3, mode)[twins.rows]).all()
