"""The end of in_agent/fire_due.py, with a small agent: as Python ends, except for its last step."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron.hermes.agent import EXIT_UNSUPPORTED, FIRE_DUE_SCRIPT
from hermes_oscron.runner.process import Command
from tests.runner.workers import SmallAgent, result

EXECUTIONS = "create_execution = list_executions = None\n"
LIBRARY = """
import atexit, os, signal

class Native:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGSEGV)

native = Native()
atexit.register(print, "an exit handler")
"""
"""A module that a run imports; its library crashes when the interpreter is destroyed."""
BROKEN = """
import threading, time
import cron.jobs
threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
raise LookupError("broken")
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[SmallAgent]:
    with contextlib.closing(SmallAgent(tmp_path, executions=EXECUTIONS, jobs=LIBRARY)) as worker:
        yield worker


def command(worker: SmallAgent) -> Command:
    """Return a run by `worker`, whose agent cannot run a single job."""
    like = worker.command("")
    return like._replace(argv=[*like.argv[:2], FIRE_DUE_SCRIPT, "0123456789ab", like.directory])


def run(worker: SmallAgent, stdout: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    """Return the run by the agent of `worker` in a process of its own."""
    return subprocess.run(command(worker).argv, env={**worker.environment, "PYTHONUNBUFFERED": ""}, stdout=stdout,
                          stderr=subprocess.PIPE, text=True, check=False)


def test_a_library_that_crashes_at_the_end_of_python_fails_no_run(worker: SmallAgent) -> None:
    own = run(worker)
    for status, output, errors in ((own.returncode, own.stdout, own.stderr), result(worker.begin(command(worker)))):
        assert (status, output) == (EXIT_UNSUPPORTED, "an exit handler\n")
        assert "cannot run a single job" in errors


def test_an_exception_is_shown_and_threads_are_waited_for(worker: SmallAgent) -> None:
    (worker.scheduler.parent / "executions.py").write_text(BROKEN)
    ended = run(worker)
    assert (ended.returncode, ended.stdout) == (1, "a thread\nan exit handler\n")
    assert ended.stderr.endswith("LookupError: broken\n")


def test_output_that_cannot_be_written_fails_the_run(worker: SmallAgent) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = run(worker, full)
    finally:
        os.close(full)
    assert ended.returncode == 120 and "No space left" in ended.stderr
