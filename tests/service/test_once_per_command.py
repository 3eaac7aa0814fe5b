"""Each command reads jobs.json once and writes it once, as a new process does that has nothing in memory."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron import files
from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.service.jobs import JobService
from tests.conftest import write_jobs
from tests.fuzz.world import Ledger

from .world import DAILY_JOB, service

_opened: list[str] = []
"""The paths of all calls of os.open; the built-in open has a mode too (Audit events table)."""
sys.addaudithook(lambda event, given: _opened.append(str(given[0])) if event == "open" and given[1] is None else None)

COMMANDS: dict[str, tuple[int, Callable[[JobService], Any]]] = {
    "list": (0, lambda jobs: jobs.list_jobs()),
    "show": (0, lambda jobs: jobs.show("a")),
    "create": (1, lambda jobs: jobs.create({"prompt": "x", "schedule": "0 9 * * *"})),
    "update": (1, lambda jobs: jobs.update("a", {"schedule": "0 10 * * *"})),
    "pause": (1, lambda jobs: jobs.pause("a")),
    "resume": (1, lambda jobs: jobs.resume("b")),
    "delete": (1, lambda jobs: jobs.delete("a")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_and_writes_the_file_at_most_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = str(write_jobs(root, DAILY_JOB, {**DAILY_JOB, "id": "b", "enabled": False, "state": "paused"}))
    time.sleep(2 * files.TICK_NS / 1e9)  # a file that has just changed is compared by its content
    jobs_file._cache.clear()
    job_store._parsed.clear()
    written: list[str] = []

    def write_atomic(path: str, content: bytes) -> None:
        written.append(path)
        files.write_atomic(path, content)

    monkeypatch.setattr(jobs_file, "write_atomic", write_atomic)
    writes, command = COMMANDS[name]
    _opened.clear()
    command(service(root, Ledger(str(root))))
    assert [each for each in _opened if each == path] == [path], _opened
    assert written == [path] * writes and os.path.exists(path)
