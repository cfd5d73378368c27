"""Stages as layers: the input's format, signs and clip bounds settled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.importer.imported import FloatArray, FloatWeights, ImportedNetwork, InputFormat, TensorScale
from dna.network.importer.stages import UNBOUNDED, Builder, Stage, map_axes
from dna.network.importer.weighted import apply_affine
from dna.network.layer import Layer
from dna.network.network import Network

Borders = Literal["alpha", "layer"]
_ALPHA = 255


@dataclass
class Finish:
    """Turns a builder's stages into an ImportedNetwork."""

    name: str
    builder: Builder
    input: Stage
    input_scale: float
    borders: Borders
    alpha: bool = False

    def result(self, output: Stage) -> ImportedNetwork:
        """UserError where a layer breaks the layer set's limits."""
        self._settle_input()
        self._prune(output)
        if not self.builder.stages:
            raise UserError(f"{self.name}: the model holds no layers")
        signed = self._signs()
        self._share_scales(signed)
        layers = tuple(self._layer(stage, signed) for stage in self.builder.stages)
        network = Network(self.name, layers)
        stages = {stage.name: stage for stage in self.builder.stages}
        weights = {
            name: FloatWeights(stage.weight, stage.bias)
            for name, stage in stages.items()
            if stage.weight is not None and stage.bias is not None
        }
        bounds = {name: s.bounds for name, s in stages.items() if s.bounds not in (UNBOUNDED, (0.0, math.inf))}
        return ImportedNetwork(
            Blueprint(network, bounds, frozenset(layer.name for layer in layers if layer.op in ("conv", "depthwise"))),
            weights,
            InputFormat(self.input_scale, self.alpha),
            self._scales(stages),
            {name: stage.weight_scale for name, stage in stages.items() if stage.weight_scale is not None},
            tuple(self.builder.notices),
            {name: stage.node for name, stage in stages.items()},
        )

    def _scales(self, stages: dict[str, Stage]) -> dict[str, TensorScale]:
        """Given scales, and those that follow: max pooling and concatenation have their inputs'."""
        scales = {} if self.input.scale is None else {"input": self.input.scale}
        for name, stage in stages.items():
            if stage.scale is None and stage.op in ("maxpool", "concat") and stage.bounds == UNBOUNDED:
                stage.scale = stage.sources[0].scale
            if stage.scale is not None:
                scales[name] = stage.scale
        return scales

    def _prune(self, output: Stage) -> None:
        """Leaves out stages that the output does not need."""
        needed, pending = set(), [output]
        while pending:
            stage = pending.pop()
            if id(stage) not in needed:
                needed.add(id(stage))
                pending += [*stage.sources, *([stage.residual] if stage.residual else [])]
        self.builder.stages = [stage for stage in self.builder.stages if id(stage) in needed]

    def _settle_input(self) -> None:
        """Joins what waits on the network's input with the weights that read it, exactly at padded borders too."""
        readers = list(self.builder.readers(self.input))
        open_readers = [stage for stage in readers if not self._joined(stage)]
        if not open_readers:
            return
        plain = all(stage.op == "fc" or (stage.op == "conv" and stage.groups == 1) for stage in readers)
        if self.borders == "alpha" and plain and (self.input.scale is None or not self.input.scale.signed):
            self._use_alpha(readers, open_readers)
            return
        made: list[tuple[FloatArray, FloatArray, Stage]] = []
        for stage in open_readers:
            stage.sources = [self._normalised(stage, made)]

    def _joined(self, stage: Stage) -> bool:
        """Whether the pending factor and shift could be joined, if need be by another value outside the image."""
        if stage.input_affine is None:
            return True
        factor, shift = stage.input_affine
        pad = 0
        if any(stage.padding) and np.any(shift != 0):
            if np.any(factor == 0):
                return False
            zero = -shift / factor / self.input_scale
            pad = round(float(zero[0]))
            low, high = (-128, 127) if self.input.scale is not None and self.input.scale.signed else (0, 255)
            if np.abs(zero - pad).max() > 1e-4 or not low <= pad <= high:
                return False
        _join(stage, factor, shift, self.builder)
        stage.pad_value = pad
        return True

    def _use_alpha(self, readers: list[Stage], open_readers: list[Stage]) -> None:
        """One more input channel, 255 inside the image and 0 outside, whose weights are the mean's share."""
        for stage in readers:
            assert stage.weight is not None and stage.bias is not None
            extra = np.zeros_like(stage.weight[:, :1])
            if stage in open_readers:
                assert stage.input_affine is not None
                factor, shift = stage.input_affine
                extra = (stage.weight * shift[:, None, None]).sum(axis=1, keepdims=True) / (_ALPHA * self.input_scale)
                _join(stage, factor, np.zeros_like(shift), self.builder)
            stage.weight = np.concatenate([stage.weight, extra], axis=1)
            stage.weight_scale = None
        self.input.channels += 1
        self.alpha = True
        self.builder.notices.append(
            "the input has one more channel, 255 in every pixel (an opaque alpha channel): it carries the mean, which"
            " no bias can at padded borders; InputFormat.frames adds it"
        )

    def _normalised(self, reader: Stage, made: list[tuple[FloatArray, FloatArray, Stage]]) -> Stage:
        assert reader.input_affine is not None
        factor, shift = reader.input_affine
        for known_factor, known_shift, stage in made:
            if np.array_equal(known_factor, factor) and np.array_equal(known_shift, shift):
                return stage
        size = (self.input.channels, self.input.height, self.input.width)
        stage = Stage(
            self.builder.name("normalise"), "depthwise", reader.node, [self.input], *size,
            weight=factor.reshape(-1, 1, 1, 1).copy(), bias=shift.copy(),
        )  # fmt: skip
        self.builder.stages.insert(0, stage)
        self.builder.notices.append("the image is normalised by a layer of its own in front")
        made.append((factor, shift, stage))
        return stage

    def _signs(self) -> dict[int, bool]:
        """Whether each stage's output is signed, by identity; the parts of a concatenation agree."""
        signed = {id(self.input): self.input.scale is not None and self.input.scale.signed}
        forced: set[int] = set()
        while True:
            for stage in self.builder.stages:
                signed[id(stage)] = id(stage) in forced or self._sign(stage, signed)
            more = {
                id(part)
                for stage in self.builder.stages
                if stage.op == "concat" and signed[id(stage)]
                for part in stage.sources
                if not signed[id(part)]
            }
            if not more:
                return signed
            forced |= more
            if id(self.input) in more:
                forced.discard(id(self.input))
                self._copy_input()

    def _copy_input(self) -> None:
        """An unsigned input among signed parts needs a signed copy."""
        size = (self.input.channels, self.input.height, self.input.width)
        copy = Stage(self.builder.name("input_copy"), "maxpool", "input", [self.input], *size, force_signed=True)
        self.builder.stages.insert(0, copy)
        for stage in self.builder.stages:
            if stage.op == "concat":
                stage.sources = [copy if source is self.input else source for source in stage.sources]

    def _share_scales(self, signed: dict[int, bool]) -> None:
        """The parts of a concatenation lie in one tensor: given scales become the largest of them."""
        joins = [stage for stage in self.builder.stages if stage.op == "concat"]
        changed = True
        while changed:
            changed = False
            for join in joins:
                members = [join, *join.sources]
                given = [(m.scale, signed[id(m)]) for m in members if m.scale is not None]
                if not given:
                    continue
                # An unsigned byte's range, kept in a signed one, needs steps twice as large.
                step = max(s.scale * (2 if is_signed and not s.signed else 1) for s, is_signed in given)
                shared = TensorScale(step, True, -128, 127) if signed[id(join)] else TensorScale(step, False, 0, 255)
                if any(member.scale != shared for member in members):
                    changed = True
                    if len({s.scale for s, _ in given}) > 1:
                        self.builder.notices.append(f"layer '{join.name}': its parts share the scale {step:g}")
                for member in members:
                    member.scale = shared

    def _sign(self, stage: Stage, signed: dict[int, bool]) -> bool:
        if stage.force_signed:
            return True
        if stage.op == "concat":
            return any(signed[id(part)] for part in stage.sources) or (stage.scale is not None and stage.scale.signed)
        if stage.scale is not None:
            return stage.scale.signed
        if stage.op in ("maxpool", "avgpool") and stage.bounds[0] < 0:
            return signed[id(stage.sources[0])]
        return stage.bounds[0] < 0

    def _layer(self, stage: Stage, signed: dict[int, bool]) -> Layer:
        source, out_signed = stage.sources[0], signed[id(stage)]
        in_signed = signed[id(source)]
        if stage.op == "concat":
            whole = (-128, 127) if out_signed else (0, 255)
            return Layer(
                stage.name, "concat", source.name, stage.channels, stage.height, stage.width, stage.channels,
                in_signed=out_signed, out_signed=out_signed, lo=whole[0], hi=whole[1],
                parts=tuple(part.name for part in stage.sources),
            )  # fmt: skip
        low, high = _limits(stage, out_signed)
        pad_value = (-128 if in_signed else 0) if stage.op == "maxpool" else stage.pad_value
        residual = stage.residual
        return Layer(
            stage.name, stage.op, source.name, source.channels, source.height, source.width, stage.channels,  # type: ignore[arg-type]
            stage.kernel, stage.stride, stage.padding, pad_value, in_signed, out_signed, low, high,
            None if residual is None else residual.name, residual is None or signed[id(residual)],
            groups=stage.groups, count_padding=stage.count_padding,
        )  # fmt: skip


def _join(stage: Stage, factor: FloatArray, shift: FloatArray, builder: Builder) -> None:
    assert stage.weight is not None and stage.bias is not None
    stage.weight, stage.bias = stage.weight.copy(), stage.bias.copy()
    apply_affine(stage.weight, stage.bias, factor, shift, -1 if stage.op == "depthwise" else stage.groups)
    if stage.weight_scale is not None:
        same = bool(np.all(factor == factor[0]))
        stage.weight_scale = stage.weight_scale * abs(factor[0]) if same else None
        if not same:
            builder.notices.append(
                f"layer '{stage.name}': factors per input channel joined its weights; their scale is lost"
            )


def _limits(stage: Stage, signed: bool) -> tuple[int, int]:
    """The integer clip bounds: exact with a given scale, otherwise as wide as the type, for calibration to fill."""
    low, high = (-128, 127) if signed else (0, 255)
    if stage.bounds[0] >= 0:
        low = 0
    if stage.scale is not None:
        low, high = max(low, stage.scale.lo), min(high, stage.scale.hi)
        for bound, is_low in ((stage.bounds[0], True), (stage.bounds[1], False)):
            if math.isfinite(bound):
                integer = math.floor(bound / stage.scale.scale + 0.5)
                low, high = (max(low, integer), high) if is_low else (low, min(high, integer))
    return low, high


def input_stage(shape: tuple[int, ...]) -> tuple[Stage, tuple[str, ...]]:
    """The network's input and its axes: channels first, or last where only that looks like an image."""
    if len(shape) == 2:
        stage = Stage("input", "input", "input", [], shape[1], 1, 1)
        return stage, ("", "C" if shape[1] > 1 else "")
    last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    channels, height, width = (shape[3], shape[1], shape[2]) if last else shape[1:]
    stage = Stage("input", "input", "input", [], channels, height, width)
    batch, c, h, w = map_axes(stage)
    return stage, (batch, h, w, c) if last else (batch, c, h, w)
