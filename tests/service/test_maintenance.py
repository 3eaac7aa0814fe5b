"""The start of the hourly maintenance. tests/agent runs it in the real agent."""

from pathlib import Path

from hermes_oscron.service import maintenance
from tests.conftest import write_jobs
from tests.runner.jobs import configure

from .world import DAILY_JOB


def test_it_has_the_environment_of_the_jobs(root: Path) -> None:
    """[exec] may have what the agent needs to deliver a message: a proxy, for example."""
    write_jobs(root, DAILY_JOB)
    python, hermes, seen = root / "bin/python3", root / "bin/hermes", root / "seen"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$PROXY $PATH" >{seen}\n')
    hermes.write_text(f"#!{python}\n")
    for program in (python, hermes):
        program.chmod(0o755)
    configure(root, f'[exec]\nagent = "{hermes}"\npath = "/opt/jobs:/bin"\nenvironment = {{PROXY = "http://proxy:3128"}}\n')
    maintenance.run_if_due(str(root))
    assert seen.read_text() == "http://proxy:3128 /opt/jobs:/bin\n"
