"""A Hermes root on which prompts can run."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def runs_prompts(root: Path) -> None:
    """A program runs the prompts of `root`."""
    (root / "oscron.toml").write_text('[exec]\ncommand = ["cat"]\n')
