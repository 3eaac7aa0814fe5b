"""docs/faults.md: every line has its test, and that test is there."""

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2]
PAGE = (SOURCE / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_line_names_an_existing_test() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(lines) > 10 and all("`tests/" in line for line in lines)
    for path, name in NAMED:
        assert re.search(rf"^def {name}\(", (SOURCE / path).read_text(), re.M), f"{path}::{name}"
