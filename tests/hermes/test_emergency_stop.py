"""The file that `hermes pause` writes."""

import json
import os
from pathlib import Path

import pytest

from hermes_oscron.hermes.emergency_stop import paused
from hermes_oscron.hermes.home import Home, home_of


@pytest.fixture
def work(root: Path) -> Home:
    """The profile `work` of `root`."""
    (root / "profiles" / "work").mkdir(parents=True)
    return home_of(str(root), "work")


def test_the_file_of_the_root_holds_every_profile_and_that_of_a_profile_only_this_one(home: Home, work: Home) -> None:
    assert not paused(home) and not paused(work)
    Path(work.path, "ESTOP").touch()
    assert not paused(home) and paused(work)
    Path(work.path, "ESTOP").unlink()
    Path(home.root, "ESTOP").touch()
    assert paused(home) and paused(work)


@pytest.mark.parametrize(("content", "reason"), [
    (json.dumps({"reason": "moving\n house", "engaged_at": None}), " (moving house)"), ('{"reason": null}', ""),
    ("", ""), ("{", ""), ("[]", ""), ('{"reason": 5}', ""), ("\ufeff{\"reason\": \"x\"}", " (x)"), ("[" * 60000, ""),
])
def test_the_reason_is_shown_and_any_content_pauses(home: Home, content: str, reason: str) -> None:
    Path(home.root, "ESTOP").write_text(content)
    assert paused(home) == f"Hermes is paused{reason} by {home.root}/ESTOP; 'hermes resume' ends that."


@pytest.mark.timeout(10)
def test_a_pipe_or_a_folder_pauses_too(home: Home) -> None:
    os.mkfifo(f"{home.root}/ESTOP")
    assert paused(home)
    os.unlink(f"{home.root}/ESTOP")
    os.mkdir(f"{home.root}/ESTOP")
    assert paused(home)


def test_a_file_that_cannot_be_checked_pauses(home: Home) -> None:
    os.symlink("ESTOP", f"{home.root}/ESTOP")
    sentence = paused(home)
    assert sentence and "cannot be checked: Too many levels of symbolic links." in sentence
