"""The real Hermes agent, which ./tests/run installs beside the project, and a model for it to call."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.model import Model
from tests.runner.jobs import configure, kill
from tests.runner.workers import own_workers

AGENT_ENVIRONMENT = os.environ.get("AGENT_ENVIRONMENT", ".agent-venv")
"""The folder of the checkout in which ./tests/run has installed the agent."""
AGENT = Path(__file__).parents[2] / AGENT_ENVIRONMENT / "bin"
"""The agent's commands; without them, run ./tests/run once."""


@pytest.fixture
def model() -> Iterator[Model]:
    """A model server of the test's own."""
    model = Model()
    yield model
    model.close()


@pytest.fixture
def hermes(root: Path, model: Model) -> Iterator[Path]:
    """`root` as the agent's own home, whose prompts the agent runs with `model`."""
    (root / "config.yaml").write_text(model.config)
    configure(root, f'[exec]\nagent = "{AGENT}/hermes"\n')
    yield root
    for worker in own_workers(root):
        kill(worker)
