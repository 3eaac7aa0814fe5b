"""Requests about the next run of a job: who takes them, and what a sync removes."""

import os
import threading
import time
from pathlib import Path

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import requests


def test_a_request_is_taken_once(home: Home) -> None:
    with requests.ask(home, "a") as request:
        assert not requests.take(home, "b")
        taken = requests.take(home, "a")
        assert taken and request.is_taken() and not requests.take(home, "a")
        taken.answer(begun=True)
        assert request.answer() == {"begun": True}


def test_a_request_that_is_made_during_syncs_is_taken(home: Home) -> None:
    """A sync looks at each request with a lock of its own, also while a command is making one."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            requests.sweep(home)

    sweepers = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in sweepers:
        thread.start()
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            with requests.ask(home, "a"):
                taken = requests.take(home, "a")
                assert taken
                taken.answer(begun=True)
    finally:
        ended.set()
        for thread in sweepers:
            thread.join()


def test_requests_of_killed_commands_are_removed(home: Home, root: Path) -> None:
    folder = root / "cron" / "oscron" / "requests"
    folder.mkdir(parents=True)
    for name in ("a~1", ".a~2", ".a~3"):
        (folder / name).touch()
    os.utime(folder / ".a~2", (time.time() - 3600,) * 2)
    requests.sweep(home)
    assert [path.name for path in folder.iterdir()] == [".a~3"]


def test_a_waiting_request_is_not_removed(home: Home) -> None:
    with requests.ask(home, "a") as request:
        requests.sweep(home)
        assert not request.is_taken()
