"""The profile of a job: the option --profile, and PROFILE:ID."""

import json
from pathlib import Path

import pytest

from ..conftest import stored, write_jobs
from .conftest import Cli

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


@pytest.fixture
def work(root: Path) -> Path:
    """The home of the profile `work`, which has the job `foreign`; the active profile is `default`."""
    home = root / "profiles" / "work"
    write_jobs(home, {"id": "foreign", "prompt": "p", "name": "f", "schedule": DAILY})
    return home


def test_every_command_on_a_job_takes_its_profile(cli: Cli, work: Path) -> None:
    for reference in (["foreign", "--profile", "work"], ["work:foreign"], ["work:foreign", "--profile", "work"]):
        assert cli.json("show", *reference)["owner_profile"] == "work"
        assert cli.json("pause", *reference)["state"] == "paused"
        assert cli.json("resume", *reference)["state"] == "scheduled"
        name = " ".join(reference)
        assert cli.json("update", *reference, "--name", name)["name"] == name == stored(work)[0]["name"]
        assert cli.json("runs", *reference) == []
    cli.out("delete", "work:foreign")
    assert stored(work) == []


def test_a_job_is_created_in_the_given_profile(cli: Cli, root: Path, work: Path) -> None:
    job = cli.json("create", "every 2h", "x", "--profile", "work")
    assert job["owner_profile"] == "work" and job["profile"] is None
    assert [record["id"] for record in stored(work)] == ["foreign", job["id"]]
    assert not (root / "cron" / "jobs.json").exists()
    other = cli.json("create", "every 2h", "x", "--run-profile", "work")
    assert (other["owner_profile"], other["profile"]) == ("default", "work")


def test_two_profiles_for_one_job_and_an_unknown_one_are_refused(cli: Cli, work: Path) -> None:
    assert "work:foreign is in the profile work" in cli.refused("show", "work:foreign", "--profile", "default", code=2)
    for arguments in (["list", "--profile", "nemo"], ["show", "nemo:x"], ["create", "1h", "x", "--profile", "nemo"],
                      ["show", "../x:y"]):
        assert "There is no profile" in cli.refused(*arguments)
    assert "no job 'foreign' in profile default" in cli.refused("show", "foreign")


def test_a_job_of_another_profile_is_suggested_as_it_must_be_typed(cli: Cli, root: Path, work: Path) -> None:
    for text in ("foreign", "fore"):
        for command in ("show", "run", "delete"):
            assert cli.refused(command, text).endswith("in profile default. Did you mean work:foreign?")
    assert "Did you mean" not in cli.refused("show", "for") + cli.refused("show", "nemo")
    (root / "profiles" / "broken" / "cron").mkdir(parents=True)
    (root / "profiles" / "broken" / "cron" / "jobs.json").write_text("{")
    assert "work:foreign?" in cli.refused("show", "foreign")
    write_jobs(root / "profiles" / "third", {"id": "foreign", "prompt": "p", "schedule": DAILY})
    assert "third:foreign or work:foreign?" in cli.refused("show", "foreign")


def test_list_names_the_profiles_whose_jobs_it_does_not_show(cli: Cli, root: Path, work: Path) -> None:
    note = "NOTE: other profiles have jobs too: work (1). 'hermes-oscron list --all-profiles' shows them."
    assert cli.out("list").splitlines()[-1] == note, "no job of its own"
    write_jobs(root, {"id": "own", "prompt": "p", "schedule": DAILY})
    assert cli.out("list").splitlines()[-1] == note
    everything = cli.out("list", "--all-profiles")
    assert "work:foreign  f" in everything and "NOTE" not in everything
    of_work = cli.out("list", "--profile", "work")
    assert "foreign" in of_work and "default (1)" in of_work and "own" not in of_work
    assert json.loads(cli.out("list", "--json", "--profile", "work"))["active_profile"] == "work"
