"""The code in docs/networks.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path


def test_worked_example() -> None:
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/networks.md", "exec"), {})
