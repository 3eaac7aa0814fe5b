"""Records as other programs write them: those that run are the ones that the agent's own functions would run."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.clock import CLOCK
from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.hermes.home import home_of
from hermes_oscron.jobs.due import next_run
from hermes_oscron.jobs.record import next_run_of
from hermes_oscron.service.preview import preview
from tests.agent.test_fire import agent
from tests.conftest import stored
from tests.fuzz.world import Ledger
from tests.manual_clock import ManualClock
from tests.runner.jobs import reconciler, service
from tests.service.world import diagnosis, selection

NOW = datetime.datetime.now(datetime.UTC)
PAST, SOON = ((NOW + datetime.timedelta(minutes=minutes)).isoformat() for minutes in (-30, 30))
DAILY: dict[str, Any] = {"kind": "cron", "expr": "0 9 * * *"}
ONCE: dict[str, Any] = {"kind": "once", "run_at": SOON}

RUNS: dict[str, dict[str, Any]] = {
    "plain": {}, "state disabled": {"state": "disabled"}, "state unknown": {"state": "Paused"},
    "state null": {"state": None},
    "enabled text": {"enabled": "false"}, "enabled number": {"enabled": 1}, "error recurring": {"state": "error"},
    "minutes float": {"schedule": {"kind": "interval", "minutes": 30.0}},
    "next run invalid": {"next_run_at": "soon"}, "next run number": {"next_run_at": 1700000000},
    "next run null": {"next_run_at": None}, "last run number": {"last_run_at": 1700000000},
    "repeat completed text": {"repeat": {"times": 3, "completed": "1"}},
    "repeat completed null": {"repeat": {"times": 3, "completed": None}}, "repeat zero": {"repeat": {"times": 0}},
    "no prompt": {"prompt": None, "script": None}, "name null": {"name": None}, "skills text": {"skills": "a"},
    "number as id": {"id": 7}, "job_id": {"id": None, "job_id": "old7"}, "no id": {"id": None}, "empty id": {"id": ""},
    "once": {"schedule": ONCE, "next_run_at": SOON}, "once without next run": {"schedule": ONCE, "next_run_at": None},
    "next run with Z": {"next_run_at": f"{SOON[:19]}Z"}, "next run without a zone": {"next_run_at": SOON[:19]},
    "next run with a space": {"next_run_at": f"{SOON} "}, "next run in words": {"next_run_at": "20:00 today"},
    "next run false": {"next_run_at": False}, "next run list": {"next_run_at": [SOON]},
    "created at a number": {"created_at": 1700000000}, "created at a date": {"created_at": "2026-01-01"},
    "last run in another zone": {"last_run_at": "2026-01-01 09:00:00+05:30"}, "last run false": {"last_run_at": False},
    "once without a zone": {"schedule": {"kind": "once", "run_at": SOON[:16]}, "next_run_at": None},
    "once with Z": {"schedule": {"kind": "once", "run_at": f"{SOON[:19]}Z"}, "next_run_at": ""},
    "minutes true": {"schedule": {"kind": "interval", "minutes": True}},
    "zone number": {"schedule": {**DAILY, "tz": 5}},
    "deliver list": {"deliver": ["a", "b"]}, "repeat used up": {"repeat": {"times": 1, "completed": 1}},
}
"""Changes of a daily job that leave it one that runs."""
RESTS: dict[str, dict[str, Any]] = {
    "enabled null": {"enabled": None}, "enabled 0": {"enabled": 0}, "enabled empty": {"enabled": ""},
    "enabled false": {"enabled": False}, "paused": {"enabled": False, "state": "paused"},
    "once run": {"schedule": {"kind": "once", "run_at": PAST}, "next_run_at": None, "last_run_at": PAST},
    "completed": {"state": "completed", "enabled": False},
}
"""Changes after which the agent does not run it, which is as it should be."""
NEVER: dict[str, dict[str, Any]] = {
    "schedule text": {"schedule": "0 9 * * *"}, "schedule null": {"schedule": None}, "schedule list": {"schedule": []},
    "kind of another case": {"schedule": {"kind": "Cron", "expr": "0 9 * * *"}},
    "expression under another key": {"schedule": {"kind": "cron", "expression": "0 9 * * *"}},
    "minutes text": {"schedule": {"kind": "interval", "minutes": "30"}},
    "minutes null": {"schedule": {"kind": "interval", "minutes": None}},
    "expr null": {"schedule": {"kind": "cron", "expr": None}},
    "expr broken": {"schedule": {"kind": "cron", "expr": "9"}},
    "once at a number": {"schedule": {"kind": "once", "run_at": 4000000000}, "next_run_at": None},
    "once missed": {"schedule": {"kind": "once", "run_at": PAST}, "next_run_at": None},
    "once used up": {"schedule": {"kind": "once", "run_at": PAST}, "next_run_at": PAST,
                     "repeat": {"times": 1, "completed": 1}},
}
"""Changes after which the agent never runs it: `list`, `doctor` and `adopt --dry-run` report it."""
STRICTER: dict[str, dict[str, Any]] = {
    "paused with enabled": {"state": "paused"}, "paused with spaces": {"state": " paused "},
    "paused_at": {"paused_at": "2026-01-01T00:00:00+00:00"}, "completed and enabled": {"state": "completed"},
    "once in error": {"schedule": ONCE, "next_run_at": SOON, "state": "error"},
    "state list": {"state": ["scheduled"]}, "space in id": {"id": "my job"}, "slash in id": {"id": "a/b"},
    "repeat number": {"schedule": ONCE, "next_run_at": SOON, "repeat": "often"},
}
"""Changes after which some versions of the agent run it, or which cannot be a unit's name."""
SHAPES = RUNS | RESTS | NEVER | STRICTER

AGENT_S_CHOICE = """
import datetime
from cron.jobs import get_due_jobs, load_jobs
due = {job["name"] for job in get_due_jobs()}
answer = [job.get("label") for job in load_jobs()
          if job.get("enabled", True) and job.get("state") not in ("completed", "paused")
          and not (job.get("state") == "error" and job["schedule"].get("kind") == "once")
          and (job.get("next_run_at") or "") > datetime.datetime.now().astimezone().isoformat()]
"""


def write(root: Path, shapes: dict[str, dict[str, Any]]) -> None:
    """Write a daily job with each of `shapes`; the key `label`, which no program uses, names it."""
    records = [{key: value for key, value in
                {"id": f"job{i}", "label": label, "name": label, "prompt": "p", "schedule": DAILY, "enabled": True,
                 "state": "scheduled", "created_at": PAST, "no_agent": False, **changes}.items()
                if not (key == "id" and value is None)}
               for i, (label, changes) in enumerate(shapes.items())]
    folder = root / "cron"
    folder.mkdir(exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps({"jobs": records}))


def ours(root: Path) -> set[str]:
    """Return the labels of the jobs that we would run."""
    now = CLOCK.now()
    return {job.record["label"] for job in job_store.read(home_of(str(root), "default")) if next_run(job, now)}


def test_the_jobs_that_run_are_those_that_the_agent_would_run(hermes: Path) -> None:
    write(hermes, SHAPES)
    mine = ours(hermes)
    theirs = set(agent(hermes, AGENT_S_CHOICE))
    assert mine - theirs == set(), "never what the agent would not run"
    assert mine >= RUNS.keys() and theirs >= RUNS.keys()
    assert not (mine | theirs) & (RESTS.keys() | NEVER.keys())


def test_what_cannot_run_is_reported_by_list_doctor_and_preview(hermes: Path) -> None:
    write(hermes, NEVER | {"state list": STRICTER["state list"], "once in error": STRICTER["once in error"]})
    jobs = {job["label"]: job for job in service(hermes).list_jobs()["jobs"]}
    found = diagnosis(hermes, Ledger(str(hermes)))
    effects = {each.instance: each.effect for each in preview(selection(hermes))}
    for label, job in jobs.items():
        assert (job["state"], job["next_run_at"]) == ("error", None), label
        assert any(f"default:{job['id']}: the job can never fire" in sentence for sentence in found), (label, found)
        assert effects[f"default:{job['id']}"].startswith("never fires"), label
    assert len(jobs) == len(NEVER) + 2


def test_an_entry_without_a_usable_id_is_reported_and_kept(hermes: Path) -> None:
    write(hermes, {"space in id": {"id": "my job"}, "slash": {"id": "a/b"}, "first": {"id": "x"},
                   "second": {"id": "x"}})
    path = hermes / "cron" / "jobs.json"
    path.write_text(json.dumps({"jobs": [*json.loads(path.read_text())["jobs"], "junk", None]}))
    listed = service(hermes).list_jobs()
    assert [job["label"] for job in listed["jobs"]] == ["first"]
    assert [sentence.partition(", ")[2].partition(":")[0] for sentence in listed["unusable"]] == [
        "entry 1", "entry 2", "entry 4", "entry 5", "entry 6"]
    assert "'my job' cannot be the name of a timer" in listed["unusable"][0] and "same id x" in listed["unusable"][2]
    assert set(listed["unusable"]) <= set(diagnosis(hermes, Ledger(str(hermes))))
    reconciler(hermes).sync()
    entries = json.loads(path.read_text())["jobs"]
    assert [entry["id"] for entry in entries[:4]] == ["my job", "a/b", "x", "x"] and entries[4:] == ["junk", None]


def test_a_sync_stores_the_ids_by_which_the_agent_finds_the_jobs(hermes: Path) -> None:
    write(hermes, {label: RUNS[label] for label in ("number as id", "job_id", "no id", "empty id")})
    shown = {job["label"]: job["id"] for job in service(hermes).list_jobs()["jobs"]}
    assert (shown["number as id"], shown["job_id"]) == ("7", "old7") and len(set(shown.values())) == 4
    reconciler(hermes).sync()
    assert {record["label"]: record["id"] for record in stored(hermes)} == shown
    assert all("job_id" not in record for record in stored(hermes))
    assert agent(hermes, "from cron.jobs import get_job\n"
                         f"answer = [get_job(i) is not None for i in {list(shown.values())}]") == [True] * 4


@pytest.mark.parametrize("jobs", [{"a": {"schedule": DAILY}, "b": {"schedule": DAILY, "id": "c"}}, [], None, {}, "x",
                                  5])
def test_every_form_of_the_list_is_read_as_the_newest_agent_reads_it(hermes: Path, jobs: Any) -> None:
    (hermes / "cron").mkdir()
    (hermes / "cron" / "jobs.json").write_text(json.dumps({"jobs": jobs, "version": 3}))
    home = home_of(str(hermes), "default")
    assert [job.id for job in job_store.read(home)] == (["a", "c"] if jobs and isinstance(jobs, dict) else [])
    assert len(jobs_file.unusable(home)) == isinstance(jobs, str | int)
    reconciler(hermes).sync()
    assert isinstance(stored(hermes), list) and json.loads((hermes / "cron" / "jobs.json").read_text())["version"] == 3
    count = 2 if jobs and isinstance(jobs, dict) else 0
    assert agent(hermes, "from cron.jobs import load_jobs\n"
                         "answer = len([job for job in load_jobs() if isinstance(job, dict)])") == count


@pytest.mark.parametrize(("repeat", "times"), [
    (1, 1), (3, 3), ("3", 3), ("once", 1), ("forever", None), (None, None), (0, None), (-2, None), (" 1x ", 1),
    ({"times": "2"}, 2), ({"times": 2.0}, 2), ({"times": True}, 1),
])
def test_a_repeat_count_is_read_as_the_newest_agent_reads_it(hermes: Path, repeat: Any, times: int | None) -> None:
    write(hermes, {"x": {"repeat": repeat}})
    assert service(hermes).list_jobs()["jobs"][0]["repeat"] == {"times": times, "completed": 0}
    value = repeat["times"] if isinstance(repeat, dict) else repeat
    assert agent(hermes, "import cron.jobs as jobs\nread = getattr(jobs, 'normalize_repeat_value', None)\n"
                         f"answer = [read({value!r})] if read else None") in ([times], None)


@pytest.mark.parametrize("label", SHAPES)
def test_a_job_of_any_shape_can_be_posted_back(hermes: Path, label: str) -> None:
    write(hermes, {label: SHAPES[label]})
    here = service(hermes, ManualClock(datetime.datetime.now(datetime.UTC)))  # no job becomes due in between
    for job in json.loads(json.dumps(here.list_jobs()["jobs"])):
        assert here.update(job["id"], job) == job
        assert here.update(job["id"], {**job, "name": "changed", "prompt": "other"})["name"] == "changed"


JOBS = '{"jobs": [{"id": "a", "name": "n\u00e9", "prompt": "p", "schedule": {"kind": "cron", "expr": "0 9 * * *"}}]}'


@pytest.mark.parametrize("content", [
    JOBS.encode("utf-8-sig"), JOBS.replace(" ", "\r\n").encode(), JOBS.replace(" ", "\r").encode(),
    JOBS.replace("n\u00e9", "a\tb").encode(), JOBS.replace("n\u00e9", "\\ud800").encode(),
    f'{{"jobs": [], {JOBS[1:]}'.encode(), JOBS.replace('"id": "a"', '"id": "b", "id": "a"').encode(),
    f'{JOBS[:-1]}, "x": [NaN, -Infinity]}}'.encode(), JOBS.replace("jobs", "Jobs").encode(),
    JOBS.encode("utf-16"), JOBS.encode("utf-16-le"), JOBS.encode("utf-32"), JOBS.encode("latin-1"),
    JOBS.replace("]", ",]").encode(), f"// a comment\n{JOBS}".encode(), f"{JOBS}\0".encode(), f"{JOBS}{JOBS}".encode(),
    JOBS[:-1].encode(), b"", b" \n", b"null", JOBS.replace('"', "'").encode(), f"\xa0{JOBS}".encode(),
])
def test_a_file_of_any_form_has_the_jobs_that_the_agent_finds_or_is_left_unchanged(
        hermes: Path, content: bytes) -> None:
    (hermes / "cron").mkdir()
    path = hermes / "cron" / "jobs.json"
    path.write_bytes(content)
    try:
        found = [job.id for job in job_store.read(home_of(str(hermes), "default"))]
    except jobs_file.NotAJobsFile:
        found = None
    if found is None:
        with pytest.raises(jobs_file.NotAJobsFile):
            service(hermes).create({"schedule": "0 9 * * *", "prompt": "x"})
        assert path.read_bytes() == content
    assert found == agent(hermes, "from cron.jobs import load_jobs\n"
                                  "try:\n    answer = [job['id'] for job in load_jobs()]\n"
                                  "except (RuntimeError, ValueError):\n    answer = None")


def test_a_due_time_must_be_a_text() -> None:
    assert next_run_of({"next_run_at": 1700000000}) is None
