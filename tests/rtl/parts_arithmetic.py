"""Runs inside the simulator: post lanes, MAC cells, MAC arrays and weight operands against the formulas."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb

from tests.rtl.parts_bench import BENCHES, select
from tests.rtl.parts_drive import Part, draw, pack

POST_LATENCY = 5
A_MAX, A_MIN = (1 << 24) - 1, -(1 << 24)
M_MAX = (1 << 17) - 1


def post_formula(sum_: int, bias: int, m: int, s: int, r: int, mr: int, lo: int, hi: int) -> int:
    """docs/arithmetic.md, word for word; the byte that comes out."""
    a = min(max(sum_ + bias, A_MIN), A_MAX)
    y = (a * m + r * mr + (1 << (s - 1))) >> s
    return min(max(y, lo), hi) & 0xFF


def _post_vector(rng: random.Random) -> dict[str, int]:
    """Operands: wild ones, and ones whose result lies near the clip bounds."""
    s, m = draw(rng, 1, 40), draw(rng, 0, M_MAX, (1 << 16, 1))
    bias = draw(rng, -(1 << 31), (1 << 31) - 1, (0, -1))
    if rng.random() < 0.6:
        s, m = rng.randint(1, 33), draw(rng, 1 << 16, M_MAX)
        wanted = min(max((rng.randint(-300, 300) << s) // m, A_MIN - 1), A_MAX + 1)
        bias = rng.randint(-(1 << 20), 1 << 20)
        sum_ = wanted - bias
    elif rng.random() < 0.5:
        sum_ = rng.choice((A_MAX, A_MIN)) + rng.randint(-1, 1) - bias
    else:
        sum_ = draw(rng, -(1 << 31), (1 << 31) - 1, (0, -1, 1))
    sum_ = min(max(sum_, -(1 << 31)), (1 << 31) - 1)
    return {"sum_": sum_, "bias": bias, "m": m, "s": s, "r": draw(rng, -128, 255, (-1, 0, 127, 128))}


@cocotb.test()
async def post_lane_equals_formula(dut: Any) -> None:
    """Every result, exactly five cycles after its operands; one vector per cycle."""
    rng = random.Random(1)
    for name in select("arithmetic", "dna_post_lane"):
        part, seen = Part(dut, name), set()
        residual = BENCHES["arithmetic"][name].parameters["RESIDUAL"]
        for _ in range(20):
            layer = {
                "mr": draw(rng, 0, M_MAX),
                "lo": rng.choice((-128, 0, rng.randint(-128, 0))),
                "hi": rng.choice((0, 127, 255, rng.randint(1, 255))),
            }
            part.set(res_multiplier=layer["mr"], lo=layer["lo"], hi=layer["hi"])
            due: deque[int] = deque()
            for _ in range(400):
                vector = _post_vector(rng)
                part.set(
                    sum_d2=vector["sum_"],
                    param_d2=(vector["bias"] & 0xFFFFFFFF) | vector["m"] << 32 | vector["s"] << 49,
                    residual_d2=vector["r"],
                )
                used = dict(vector, **layer) if residual else dict(vector, **layer, r=0)
                due.append(post_formula(**used))
                await part.settle()
                if len(due) > POST_LATENCY:
                    expected = due.popleft()
                    assert part.get("y_d7") == expected, f"{name}: {used}"
                    seen.add(expected)
                await part.edge()
        assert len(seen) > 200, "the vectors must reach most bytes"


@cocotb.test()
async def post_lane_saturates_exactly(dut: Any) -> None:
    """The residual moves the rounding boundary onto the bounds of 25 bits, so that each step of `a` there is seen."""
    rng, part = random.Random(4), Part(dut, "post_lane_residual")
    part.set(lo=-128, hi=255)
    results = set()
    for mr in (65535, 65536, 65537, 65538):
        part.set(res_multiplier=mr)
        for bound in (A_MIN, A_MAX):
            for step in range(-3, 4):
                bias = rng.randint(-(1 << 30), 1 << 30)
                part.set(sum_d2=bound + step - bias, param_d2=(bias & 0xFFFFFFFF) | 1 << 32 | 17 << 49, residual_d2=1)
                for _ in range(POST_LATENCY):
                    await part.cycle()
                await part.settle()
                expected = post_formula(bound + step - bias, bias, 1, 17, 1, mr, -128, 255)
                assert part.get("y_d7") == expected, f"bound {bound}, step {step}, mr {mr}"
                results.add((bound, expected))
                await part.edge()
    assert len(results) == 4, "both sides of both boundaries"


class MacModel:
    """Accumulators of OC x PX cells. Operands are given in stage 3, control in stage 5."""

    def __init__(self, oc: int, ic: int, px: int) -> None:
        self.oc, self.ic, self.px, self.cg = oc, ic, px, min(oc, 16)
        self.sums: list[int] | None = None

    def dots(self, x: list[list[int]], xc: list[list[int]], w: list[list[int]]) -> list[int]:
        """Lane-major dot products: activation 0 of row o is channel o's own, the others are shared."""
        return [
            xc[lane][o % self.cg] * w[o][0] + sum(x[lane][i] * w[o][i] for i in range(1, self.ic))
            for lane in range(self.px)
            for o in range(self.oc)
        ]

    def apply(self, dots: list[int], first: bool, maximum: bool) -> None:
        if first:
            self.sums = dots
        elif self.sums is not None:
            join = max if maximum else int.__add__
            self.sums = [join(old, new) for old, new in zip(self.sums, dots, strict=True)]


def _activation(rng: random.Random) -> int:
    return draw(rng, -128, 255, (0, -1, 127))


def _weight(rng: random.Random) -> int:
    return draw(rng, -127, 127, (0, 1, -1))


async def _run_macs(part: Part, model: MacModel, is_cell: bool, maximum: bool, rng: random.Random) -> int:
    """Random accumulations; the sums are compared in every cycle. Number of cycles that were checked."""
    staged: deque[list[int]] = deque()
    checked = 0
    part.set(max_s5=int(maximum), valid_s5=0, first_s5=0)
    for now in range(160):
        x = [[_activation(rng) for _ in range(model.ic)] for _ in range(model.px)]
        xc = [[_activation(rng) for _ in range(model.cg)] for _ in range(model.px)]
        w = [[_weight(rng) for _ in range(model.ic)] for _ in range(model.oc)]
        if maximum:
            w = [[1] + [0] * (model.ic - 1) for _ in range(model.oc)]
        if is_cell:
            part.set(x_s3=pack([xc[0][0], *x[0][1:]], 9), w_s3=pack(w[0], 8))
        else:
            part.set(
                x_s3=pack((v for lane in x for v in lane), 9),
                xc_s3=pack((v for lane in xc for v in lane), 9),
                w_s3=pack((v for row in w for v in row), 8),
            )
        staged.append(model.dots(x, xc, w))
        valid = now >= 2 and rng.random() < 0.75
        first = rng.random() < 0.15
        part.set(valid_s5=int(valid), first_s5=int(first))
        await part.settle()
        if model.sums is not None:
            assert part.get("sum" if is_cell else "sums") == pack(model.sums, 32), f"cycle {now}, max {maximum}"
            checked += 1
        if now >= 2:
            dots = staged.popleft()
            if valid:
                model.apply(dots, first, maximum)
        await part.edge()
    return checked


@cocotb.test()
async def mac_sums_and_maxima(dut: Any) -> None:
    """MIX and MAX, sums that start anew or go on, gaps; the sum changes three cycles after its operands."""
    rng = random.Random(2)
    for name in select("arithmetic", "dna_mac_cell") + select("arithmetic", "dna_mac_array"):
        instance = BENCHES["arithmetic"][name]
        if instance.parameters.get("SUM_WORDS"):
            continue
        is_cell = instance.module == "dna_mac_cell"
        sizes = instance.parameters
        for maximum in (False, True, False):
            model = MacModel(sizes.get("OC", 1), sizes["IC"], sizes.get("PX", 1))
            assert await _run_macs(Part(dut, name), model, is_cell, maximum, rng) > 50


async def _run_sums(part: Part, model: MacModel, places: int, maximum: bool, rng: random.Random) -> int:
    """Random sums at random addresses, the same one cycle after cycle too; compared as they are handed over."""
    stored: dict[int, list[int]] = {}
    dots: deque[list[int]] = deque()
    orders: deque[tuple[int, bool, bool]] = deque()  # address, valid, kept; of stage 4, then of stage 5
    expected: list[int] | None = None
    address = checked = 0
    part.set(max_s5=int(maximum), valid_s5=0)
    for now in range(300):
        x = [[_activation(rng) for _ in range(model.ic)] for _ in range(model.px)]
        xc = [[_activation(rng) for _ in range(model.cg)] for _ in range(model.px)]
        w = [[_weight(rng) for _ in range(model.ic)] for _ in range(model.oc)]
        if maximum:
            w = [[1] + [0] * (model.ic - 1) for _ in range(model.oc)]
        part.set(
            x_s3=pack((v for lane in x for v in lane), 9),
            xc_s3=pack((v for lane in xc for v in lane), 9),
            w_s3=pack((v for row in w for v in row), 8),
        )
        dots.append(model.dots(x, xc, w))
        address = rng.choice((address, (address + 1) % places, rng.randrange(places)))
        orders.append((address, now >= 1 and rng.random() < 0.8, rng.random() < 0.9))
        # The control of stage 5 belongs to the address of the cycle before, and to operands of two cycles before.
        at, valid, kept = orders.popleft() if now else (0, False, False)
        first = at not in stored or rng.random() < 0.1
        part.set(sum_address_s4=address, read_s4=int(orders[-1][1]), valid_s5=int(valid), first_s5=int(first))
        part.set(keep_s5=int(kept))
        await part.settle()
        if expected is not None:
            assert part.get("sums") == pack(expected, 32), f"cycle {now}, max {maximum}"
            checked += 1
        new = dots.popleft() if now >= 2 else []
        if valid:
            join = max if maximum else int.__add__
            expected = new if first else [join(old, dot) for old, dot in zip(stored[at], new, strict=True)]
            stored.pop(at, None)
            if kept:
                stored[at] = expected
        await part.edge()
    return checked


@cocotb.test()
async def mac_sums_in_buffers(dut: Any) -> None:
    """Sums of many pixels or groups in turn, in any order, packed or not: read, joined, written in each cycle."""
    rng = random.Random(5)
    for name in (name for name in select("arithmetic", "dna_mac_array") if name.startswith("summing")):
        sizes = BENCHES["arithmetic"][name].parameters
        for maximum in (False, True):
            model = MacModel(sizes["OC"], sizes["IC"], sizes["PX"])
            assert await _run_sums(Part(dut, name), model, sizes["SUM_WORDS"], maximum, rng) > 200


@cocotb.test()
async def packed_products_at_every_extreme(dut: Any) -> None:
    """All pairs of extreme activations with all extreme weights: equal in all products, so that sums are as large as
    they can be, and each in one product alone while the others draw it to the other side."""
    extremes, weights = (-128, -127, -1, 0, 1, 127, 128, 254, 255), (-127, -126, -1, 0, 1, 126, 127)
    sums = set()
    for name in ("packed_8_4_2", "packed_2_16_2", "packed_32_2_2", "packed_16_1_3"):
        sizes, part = BENCHES["arithmetic"][name].parameters, Part(dut, name)
        model = MacModel(sizes["OC"], sizes["IC"], sizes["PX"])
        part.set(max_s5=0, valid_s5=1, first_s5=1)
        due: deque[int] = deque()
        for low in extremes:
            for high in extremes:
                for weight in weights:
                    for alone in (False, True):
                        rest = (high, low, -weight) if alone else (low, high, weight)
                        x = [[[low, high, low][lane]] + [rest[lane % 2]] * (model.ic - 1) for lane in range(model.px)]
                        w = [[weight] + [rest[2]] * (model.ic - 1)] * model.oc
                        xc = [[lane[0]] * model.cg for lane in x]
                        part.set(
                            x_s3=pack((v for lane in x for v in lane), 9),
                            xc_s3=pack((v for lane in xc for v in lane), 9),
                            w_s3=pack((v for row in w for v in row), 8),
                        )
                        dots = model.dots(x, xc, w)
                        sums.update(dots)
                        due.append(pack(dots, 32))
                        await part.settle()
                        if len(due) > 3:
                            assert part.get("sums") == due.popleft(), f"{name}: {x}, {w}"
                        await part.edge()
    assert {16 * 255 * 127, -16 * 255 * 127, 4 * 255 * 127, 2 * -255 * 127, 128 * 127} <= sums


@cocotb.test()
async def every_product_of_luts(dut: Any) -> None:
    """All activations of 9 bits with all weights of 8, in all places of an array whose multipliers are LUTs."""
    sizes, part = BENCHES["arithmetic"]["in_lut_16_1_3"].parameters, Part(dut, "in_lut_16_1_3")
    oc, px = sizes["OC"], sizes["PX"]
    part.set(max_s5=0, valid_s5=1, first_s5=1)
    due: deque[int] = deque()
    for weights in ([start + o * 256 // oc for o in range(oc)] for start in range(-128, -128 + 256 // oc)):
        for first in range(-256, 256, px):
            lanes = [min(first + lane, 255) for lane in range(px)]
            part.set(xc_s3=pack((x for x in lanes for _ in range(oc)), 9), w_s3=pack(weights, 8))
            due.append(pack((x * w for x in lanes for w in weights), 32))
            await part.settle()
            if len(due) > 3:
                assert part.get("sums") == due.popleft(), f"{lanes}, {weights}"
            await part.edge()


@cocotb.test()
async def mac_holds_the_longest_sum(dut: Any) -> None:
    """The accumulator counts to the limits of 32 bits without a loss."""
    part = Part(dut, "cell_16")
    for x, w in ((255, 127), (255, -127), (-128, 127)):
        part.set(x_s3=pack([x] * 16, 9), w_s3=pack([w] * 16, 8), valid_s5=0, first_s5=1, max_s5=0)
        await part.cycle()
        await part.cycle()
        part.set(valid_s5=1)
        await part.cycle()
        part.set(first_s5=0)
        count = (1 << 31) // abs(16 * x * w) - 1
        for _ in range(count):
            await part.cycle()
        part.set(valid_s5=0)
        await part.settle()
        assert part.get("sum") == pack([16 * x * w * (count + 1)], 32)
        await part.edge()


@cocotb.test()
async def weight_operand_by_mode(dut: Any) -> None:
    """MIX passes the word; channel modes give the tap of the cycle to multiplier 0; `ones` gives 1. One cycle later."""
    rng = random.Random(3)
    for name in select("arithmetic", "dna_weight_operand"):
        sizes = BENCHES["arithmetic"][name].parameters
        oc, ic = sizes["OC"], sizes["IC"]
        part, expected = Part(dut, name), None
        for _ in range(300):
            word = [rng.randint(-127, 127) for _ in range(oc * ic)]
            mode, tap = rng.choice(("mix", "channel", "ones")), rng.randrange(ic)
            part.set(word_s2=pack(word, 8), channel_s2=int(mode != "mix"), ones_s2=int(mode == "ones"), tap_s2=tap)
            await part.settle()
            if expected is not None:
                assert part.get("w_s3") == expected, name
            rows = [word[o * ic : (o + 1) * ic] for o in range(oc)]
            if mode != "mix":
                rows = [[1 if mode == "ones" else row[tap]] + [0] * (ic - 1) for row in rows]
            expected = pack((w for row in rows for w in row), 8)
            await part.edge()
