"""kill -9 at every step of every verb."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.faults.faulty import COMMANDS, Faulty

STEPS = ("open", "os.", "fcntl.", "shutil.", "subprocess.")


def kill_at(step: int) -> None:
    """End this process where it is about to take `step`, counted from 0 (sys.addaudithook)."""
    seen = 0

    def hook(event: str, _arguments: object) -> None:
        nonlocal seen
        if event.startswith(STEPS):
            seen += 1
            if seen == step + 1:  # the kill is such an event too
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.mark.parametrize("command", COMMANDS)
def test_one_sync_repairs_a_command_killed_at_any_step(tmp_path: Path, command: str) -> None:
    for step in range(500):
        place = tmp_path / str(step)
        place.mkdir()
        faulty = Faulty(place / "hermes", place / "timers")
        ended = faulty.run_with_fault(command, lambda at=step: kill_at(at))  # type: ignore[misc]
        faulty.assert_one_sync_repairs_it(["one"] if command == "delete" else [])
        if ended:
            assert ended[0] == 200, ended
            break
    assert step > 5, "it was killed, and more than once"
