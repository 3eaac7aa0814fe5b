"""The real agent on a node, which has nothing of hermes-oscron and processes of its own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hermes_oscron
from tests.agent.conftest import AGENT
from tests.agent.model import Call, Model
from tests.agent.test_fire import agent
from tests.cluster.slurm import Slurm
from tests.cluster.test_run import CLUSTER, on_cluster, row_of
from tests.runner.jobs import configure, fire, make, make_due, page, record

ON_NODE = """\
#!/bin/sh
exec unshare --mount --pid --fork --kill-child --mount-proc sh -c \
    'mount -t tmpfs none {package} && echo begun >>{root}/begun && exec python3 "$@"' sh "$@"
"""
"""A Python that sees no file of the package, and no process of this machine."""


@pytest.fixture
def model() -> Iterator[Model]:
    with contextlib.closing(Model()) as model:
        yield model


@pytest.fixture
def hermes(slurm: Slurm, root: Path, model: Model) -> Path:
    """`root` as the agent's own home, whose prompts the agent runs with `model` on a node."""
    (root / "config.yaml").write_text(model.config)
    python = root / "python3"
    python.write_text(ON_NODE.format(package=Path(hermes_oscron.__file__).parent, root=root))
    python.chmod(0o755)
    configure(root, f'{CLUSTER}python = "{python}"\n[exec]\nagent = "{AGENT}/hermes"\n')
    return root


def test_the_agent_runs_a_prompt_on_a_node(hermes: Path, model: Model) -> None:
    """A sync in that time does not find the agent's process, as it is on another machine."""
    def answer(_call: Call) -> str:
        gone = agent(hermes, "from cron.executions import recover_interrupted_executions as answer; answer = answer()")
        return f"The model was here, and {gone} process was gone."

    model.answer = answer
    job_id = on_cluster(hermes, make(hermes, prompt="Say ping."), memory_max=1024**3)
    make_due(hermes, job_id)
    ended = fire(job_id)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert len(model.calls_with("Say ping.")) == 1
    assert "The model was here, and 1 process was gone." in page(hermes, job_id)
    job = record(hermes, job_id)
    assert (job["last_status"], job["last_error"], job["repeat"]["completed"]) == ("ok", None, 1)
    row = row_of(hermes, job_id)
    assert row.outcome == "ok" and row.node in ("n1", "n2") and row.cluster_job
    assert (hermes / "begun").read_text() == "begun\n"
