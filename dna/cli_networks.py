"""`dna networks`: the model zoo."""

from __future__ import annotations

import click

from dna.network.zoo import ENTRIES, Request, build, names
from dna.report.console import console, table


@click.command()
@click.argument("name", required=False)
@click.option("--size", type=click.IntRange(1, 4096), default=224, show_default=True, help="Image height and width.")
@click.option(
    "--width", type=click.FloatRange(0.01, 16), default=1.0, show_default=True, help="Multiplier of channels."
)
@click.option("--classes", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
def networks(name: str | None, size: int, width: float, classes: int) -> None:
    """List the networks of the model zoo, or one: NAME.

    Parameters are those of the float model: weights, and biases or batch normalisation's scale and shift.
    """
    request = Request((size, size, 3), width, classes)
    numbers = ("million MACs", "million parameters", "layers")
    rows = table("network", "input", *numbers, numbers=numbers)
    for entry in [name] if name else names():
        blueprint = build(entry, request)
        layers = sum(layer.computes for layer in blueprint.network.layers)
        macs, parameters = f"{blueprint.macs / 1e6:,.1f}", f"{blueprint.parameters / 1e6:,.2f}"
        rows.add_row(entry, f"{size} × {size} × 3", macs, parameters, str(layers))
    out = console()
    out.print(rows)
    for known in ENTRIES:
        if known.name == name:
            figures = f"{known.published_macs} MACs, {known.published_parameters} parameters"
            note = f"; {known.note}" if known.note else ""
            out.print(f"\nPublished at 224 × 224: {figures} ({known.source}{note}).", style="dim")
