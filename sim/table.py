"""The results as a plain table, without any package."""

from __future__ import annotations

from typing import Any

MEMORY = {
    "fixed": "memory of fixed timing",
    "stalls": "random stalls",
    "shared": "shared memory",
    "faults": "bus errors",
}


def _cells(layer: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    def own(counters: dict[str, int] | None, past: dict[str, int] | None) -> str:
        return "-" if counters is None else f"{counters['commit'] - (past['commit'] if past else 0)}"

    model, rtl = layer["cycles_model"], layer["cycles_rtl"]
    past_model = before["cycles_model"] if before else None
    past_rtl = before["cycles_rtl"] if before else None
    verdict = "differs" if layer["bits_different"] or layer["causes_different"] else "equal"
    return [
        layer["name"],
        layer["op"],
        str(layer["chunk"]),
        own(model, past_model),
        own(rtl, past_rtl),
        str(layer["bits_different"]) if layer["compared"] else "-",
        verdict,
    ]


def render(result: dict[str, Any]) -> str:
    """One run: a row per layer, then the total. Cycles run from the last write of the chunk's layer before to the
    layer's own. A layer whose output stays on the chip has no bits of its own to compare.
    """
    rows = [["layer", "operator", "chunk", "cycles model", "cycles RTL", "bits different", ""]]
    before: dict[int, dict[str, Any]] = {}
    for layer in result["layers"]:
        rows.append(_cells(layer, before.get(layer["chunk"])))
        before[layer["chunk"]] = layer
    model = result["cycles_model"] if result["mode"] == "fixed" else None
    total = [
        "whole program",
        "",
        "",
        "-" if model is None else str(model),
        "-" if result["cycles_rtl"] is None else str(result["cycles_rtl"]),
        "",
        "",
    ]
    rows.append([*total[:6], "equal" if result["ok"] else "differs"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{result['name']}, {MEMORY[result['mode']]}"]
    for row in rows:
        left = (f"{cell:<{width}}" for cell, width in zip(row[:2], widths[:2], strict=True))
        right = (f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        lines.append("  ".join([*left, *right]).rstrip())
    return "\n".join([*lines, *explain(result)])


def explain(result: dict[str, Any]) -> list[str]:
    """One line per difference: which layer, which element, which counter."""
    lines = []
    if result["error"]:
        lines.append(f"error: {result['error']}")
    elif result["mode"] == "fixed" and result["cycles_model"] not in (None, result["cycles_rtl"]):
        lines.append(f"whole program: {result['cycles_model']} cycles by the model, {result['cycles_rtl']} in the RTL")
    for number in result["passes_different"]:
        model, rtl = result["pass_ends_model"][number], result["pass_ends_rtl"][number]
        lines.append(f"pass {number}: ends in cycle {model} by the model, {rtl} in the RTL")
    for layer in result["layers"]:
        if layer["bits_different"]:
            first = layer["first_difference"]
            place = f"frame {first['frame']} of pass {first['pass']}, row {first['row']}, column {first['col']},"
            place += f" channel {first['channel']}"
            extent = f"{layer['bits_different']} bits in {layer['elements_different']} elements differ"
            values = f"expected {first['expected']}, got {first['got']}"
            lines.append(f"layer {layer['name']}: {extent}, first at {place}: {values}")
        for cause in layer["causes_different"]:
            model, rtl = layer["cycles_model"][cause], layer["cycles_rtl"][cause]
            lines.append(f"layer {layer['name']}: counter {cause} is {model} by the model, {rtl} in the RTL")
    return lines
