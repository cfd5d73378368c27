"""The code in the documents about networks runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["networks.md", "import.md"])
def test_worked_example(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / name).read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{name}", "exec"), {})
