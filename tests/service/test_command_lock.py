"""One command at a time."""

from pathlib import Path

import pytest

from hermes_oscron.files import StateFileError
from hermes_oscron.schedulers.active import active_scheduler
from hermes_oscron.service.command_lock import command_lock, no_command

from .world import files_limited_to, selection


def test_a_command_waits_for_another_and_then_names_the_lock(root: Path) -> None:
    waiting = selection(root)
    with (no_command(str(root)), pytest.raises(StateFileError, match=r"arming\.lock has been locked by another"),
          command_lock(waiting, timeout_s=0.2)):
        pass
    with command_lock(waiting, timeout_s=0.2):
        pass


def test_two_commands_exclude_each_other(root: Path) -> None:
    first, second = selection(root), selection(root)
    with (command_lock(first), pytest.raises(StateFileError, match=r"arming\.lock"),
          command_lock(second, timeout_s=0.2)):
        pass


def test_the_command_that_changes_jobs_stores_which_scheduler_is_active(root: Path) -> None:
    with command_lock(selection(root)):
        assert active_scheduler(str(root)) == "foreground"


def test_a_command_that_only_reads_stores_no_scheduler(root: Path) -> None:
    with no_command(str(root)):
        assert active_scheduler(str(root)) is None


def test_a_scheduler_that_cannot_be_stored_is_an_error_that_names_the_folder(root: Path) -> None:
    with files_limited_to(0), pytest.raises(StateFileError, match=rf"{root}/cron/oscron cannot be written: File too"), \
            command_lock(selection(root)):
        pass
