"""A real Slurm for all tests of the session, and a home whose jobs run on it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, missing
from tests.conftest import wait_for
from tests.runner.jobs import configure


@pytest.fixture(scope="session")
def cluster() -> Iterator[Slurm]:
    if reason := missing():
        pytest.skip(reason)
    with contextlib.closing(Slurm()) as slurm:
        yield slurm


@pytest.fixture
def slurm(cluster: Slurm, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster with two idle nodes, which the jobs of `root` can use. After the test nothing runs on it."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    configure(root, '[cluster]\nengine = "slurm"\n')
    yield cluster
    try:
        wait_for(lambda: not cluster.jobs(), 20)
    finally:
        cluster.call("scancel", "--user=root")
        wait_for(lambda: cluster.call("sinfo", "--noheader", "--format=%D %t") == "2 idle", 60)
