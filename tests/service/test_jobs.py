"""The commands on jobs, with the real jobs.json and without anything that fires."""

import contextlib
import datetime
import inspect
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron.files import StateFileError
from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.jobs import lifecycle
from hermes_oscron.jobs.fields import ValidationError
from hermes_oscron.jobs.model import Job
from hermes_oscron.jobs.record import instant, state_of
from hermes_oscron.runs import lock, requests
from hermes_oscron.runs.model import Run
from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import ScheduleError
from hermes_oscron.schedule.parse import parse_schedule, read_schedule
from hermes_oscron.schedulers.active import set_active_scheduler
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import MINUTE, NO_LIMITS, EndOfStart, Limits, Scheduler, SchedulerError
from hermes_oscron.service.command_lock import no_command
from hermes_oscron.service.jobs import JobService
from tests import strategies
from tests.conftest import stored, wait_for, write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import ManualClock
from tests.wrong_reading import read_wrongly

from .world import DAILY_JOB, LATE_JOB, Refusing, UnwatchedSelection, cut_off_run, put_record, reconciler, service

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
INSTANTS = st.datetimes(datetime.datetime(2030, 1, 1), datetime.datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0).isoformat())
SCHEDULES = strategies.expressions() | st.integers(1, 500_000).map(lambda n: f"every {n}m") | INSTANTS


@settings(max_examples=300, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES))
def test_the_display_of_a_schedule_parses_to_the_same_schedule(schedule: str, zone: str) -> None:
    """Through the commands and jobs.json: clients post what they were shown."""
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_TIMEZONE", zone)
        clock = ManualClock(datetime.datetime.now(datetime.UTC))  # no minute may begin between the commands
        commands = service(Path(root), clock=clock)
        try:
            job = commands.create({"prompt": "x", "schedule": schedule})
        except ScheduleError:
            return
        again = commands.update(job["id"], {"schedule": job["schedule_display"]})
        assert (again["schedule"], again["next_run_at"]) == (job["schedule"], job["next_run_at"])
        by_expression = commands.update(job["id"], {"schedule": job["schedule"]["expression"]})
        assert by_expression["schedule"] == job["schedule"]
        stored = job_store.find(home_of(root, "default"), job["id"])
        assert stored.schedule
        assert {"kind": stored.schedule.kind, "expression": stored.schedule.expression} == job["schedule"]
        display = stored.record["schedule"]["display"]
        assert parse_schedule(display, ZoneInfo(zone), clock.now()) == stored.schedule


@contextlib.contextmanager
def calls_of(*functions: Callable[..., object]) -> Iterator[list[str]]:
    """Collect the names of those of `functions` that this thread calls within the block, however it imports them."""
    codes = {getattr(inspect.unwrap(function), "__func__", inspect.unwrap(function)).__code__ for function in functions}
    calls = list[str]()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in codes:
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("schedule", ["0 9 * * 1-5", "every 2h", "in 2h", "weekdays at 9:30", "2090-03-15 09:00"])
def test_create_parses_its_schedule_once(root: Path, schedule: str) -> None:
    commands = service(root, Ledger(str(root)))
    cron.parse.cache_clear()
    with calls_of(read_schedule, Job.from_record, cron.parse) as calls:
        job = commands.create({"prompt": "x", "schedule": schedule})
    assert calls == ["read_schedule"] + ["parse"] * (job["schedule"]["kind"] == "cron")


def test_update_parses_its_schedule_once(root: Path) -> None:
    commands = service(root, Ledger(str(root)))
    job_id = commands.create({"prompt": "x", "schedule": "every 2h"})["id"]
    with calls_of(read_schedule) as calls:
        commands.update(job_id, {"schedule": "0 9 * * 1-5", "name": "changed"})
    assert calls == ["read_schedule"]


def test_a_schedule_that_croniter_reads_in_another_way_is_refused_and_nothing_changes(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Ledger(str(root))
    commands = service(root, scheduler)
    job_id = commands.create({"prompt": "x", "schedule": "0 9 * * 1"})["id"]
    before, armed = stored(root), dict(scheduler.armed)
    read_wrongly(monkeypatch, datetime.timedelta(hours=1))
    with pytest.raises(ScheduleError, match=r"'30 8 \* \* 1' is due at .* 09:30 .* but at .* 08:30 as croniter does"):
        commands.create({"prompt": "x", "schedule": "30 8 * * 1"})
    with pytest.raises(ScheduleError, match="30 8"):
        commands.update(job_id, {"schedule": "30 8 * * 1", "name": "changed"})
    assert (stored(root), scheduler.armed) == (before, armed)
    commands.update(job_id, {"schedule": "0 9 * * 1", "name": "changed"})  # the present schedule is not compared
    assert [record["name"] for record in stored(root)] == ["changed"]


def test_a_new_zone_moves_the_wall_clock_and_no_instant(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = service(root)
    daily = commands.create({"prompt": "x", "schedule": "0 9 * * *"})
    once = commands.create({"prompt": "x", "schedule": "2040-01-01T09:00"})
    monkeypatch.setenv("HERMES_TIMEZONE", "Asia/Tokyo")
    assert commands.show(daily["id"])["next_run_at"].endswith("09:00:00+09:00")
    moved = commands.show(once["id"])
    assert moved["schedule_display"] == "Once at 2040-01-01 18:00"
    assert instant(moved["next_run_at"]) == instant(once["next_run_at"])


MALFORMED: list[dict[str, Any]] = [
    {"schedule": {"kind": "interval", "minutes": "120"}}, {"schedule": {"kind": "interval", "minutes": 10**15}},
    {"schedule": {"kind": "interval", "minutes": True}}, {"schedule": None}, {"schedule": "x"}, {"schedule": []},
    {"schedule": {"kind": "once", "run_at": "0001-01-01T00:00:00+00:00"}},
    {"schedule": {"kind": "once", "run_at": "2999-01-01T00:00:00"}}, {"schedule": {"kind": "cron", "expr": "x"}},
    {"schedule": {"kind": "cron", "expr": "0 9 31 2 *"}}, {"repeat": 3}, {"repeat": {"completed": "x", "times": []}},
    {"name": 7, "prompt": None, "enabled": "yes", "state": 4, "last_run_at": {}, "next_run_at": 1e300},
]


@pytest.mark.parametrize("fields", MALFORMED)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_malformed_record_affects_no_other(root: Path, fields: dict[str, Any], zone: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_TIMEZONE", zone)
    put_record(root, **fields)
    commands, syncs = service(root), reconciler(root)
    run = cut_off_run(root, "odd")
    sound, odd = commands.list_jobs()["jobs"]
    assert (sound["id"], odd["id"]) == ("sound", "odd")
    assert odd["last_status"] == "error", "the cut-off run is shown"
    syncs.sync()
    assert not run.exists(), "the cut-off run is recorded"
    assert "default:sound" in syncs.plans(datetime.datetime.now(datetime.UTC))
    assert commands.update("odd", {"schedule": "every 2h"})["state"] in ("scheduled", "paused")
    commands.pause("odd")
    commands.delete("odd")


@pytest.mark.parametrize("expr", ["0 9 31 2 *", "x"])
def test_a_job_whose_schedule_never_fires_is_in_state_error(root: Path, expr: str) -> None:
    put_record(root, schedule={"kind": "cron", "expr": expr})
    assert service(root).show("odd")["state"] == "error"


def test_a_requested_repeat_is_kept_by_a_change_of_the_schedule_kind(root: Path) -> None:
    commands = service(root)
    job_id = commands.create({"prompt": "x", "schedule": "in 2h"})["id"]
    assert commands.update(job_id, {"schedule": "every 2h", "repeat": 1})["repeat"]["times"] == 1
    job_id = commands.create({"prompt": "x", "schedule": "in 2h"})["id"]
    assert commands.update(job_id, {"schedule": "every 2h"})["repeat"]["times"] is None


@pytest.mark.parametrize("when", ["2200-01-01", "5000-01-01", "9998-12-31"])
def test_a_year_that_systemd_cannot_express_is_refused(root: Path, when: str) -> None:
    with pytest.raises(ScheduleError, match=r"2199.*a cron expression"):
        service(root).create({"prompt": "x", "schedule": when})


@pytest.mark.parametrize("schedule", [None, "", "   "])
def test_a_job_without_a_schedule_is_not_created(root: Path, schedule: str | None) -> None:
    with pytest.raises(ValidationError, match="schedule is missing"):
        service(root).create({"prompt": "x", "schedule": schedule})


def test_a_run_that_cannot_be_recorded_yet_does_not_count_as_running(root: Path) -> None:
    put_record(root)
    commands = service(root)
    cut_off_run(root, "sound")
    jobs_file = root / "cron" / "jobs.json"
    whole = jobs_file.read_text()
    jobs_file.write_text("{")
    with pytest.raises(StateFileError):
        commands.list_jobs()
    assert commands.progress("sound") is None and commands.status() == {}
    jobs_file.write_text(whole)
    assert commands.progress("sound") is None and commands.show("sound")["last_status"] == "error"


def test_a_read_shows_a_cut_off_run_and_writes_nothing(root: Path) -> None:
    path = write_jobs(root, DAILY_JOB)
    run = cut_off_run(root, "a", started_at=time.time())
    before = path.read_bytes(), run.read_bytes()
    commands = service(root)
    [listed] = commands.list_jobs()["jobs"]
    assert listed == commands.show("a")
    assert listed["last_status"] == "error" and "interrupted" in listed["last_error"]
    assert (path.read_bytes(), run.read_bytes()) == before


@pytest.mark.parametrize("command", ["update", "pause", "resume"])
def test_a_command_changes_the_job_as_reads_show_it(root: Path, command: str) -> None:
    """A cut-off run is recorded first: a one-shot that has run must not be scheduled again, or be paused."""
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    put_record(root, schedule={"kind": "once", "run_at": tomorrow}, repeat={"times": 1, "completed": 0})
    run = cut_off_run(root, "odd", started_at=time.time())
    commands = service(root)
    shown = commands.show("odd")
    assert (shown["state"], shown["last_status"]) == ("completed", "error")
    changed = commands.update("odd", {"enabled": True}) if command == "update" else getattr(commands, command)("odd")
    assert changed == shown == commands.show("odd")
    assert not run.exists()


@pytest.mark.parametrize("command", ["update", "pause"])
def test_undo_reverts_the_command_and_not_a_run_that_ended_during_it(root: Path, home: Home, command: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    due = (now - datetime.timedelta(seconds=5)).isoformat()
    write_jobs(root, {**DAILY_JOB, "theirs": 1, "next_run_at": due, "armed_at": due, "created_at": due})
    scheduler = Refusing(str(root), before_refusing=lambda: job_store.change(
        home, "a", lambda job: lifecycle.record_run(job, now, now, None)))
    commands = service(root, scheduler)
    with pytest.raises(SchedulerError):
        commands.update("a", {"schedule": "every 2h"}) if command == "update" else commands.pause("a")
    record = jobs_file.find(home, "a")
    assert record["last_status"] == "ok" and record["theirs"] == 1 and record["schedule"]["expr"] == "0 9 * * *"
    assert state_of(record) == "scheduled" and "paused_at" not in record
    assert datetime.datetime.fromisoformat(record["next_run_at"]) > now


@pytest.mark.parametrize("command", ["update", "resume"])
def test_a_job_changed_during_a_move_fits_the_new_scheduler(
        root: Path, home: Home, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A change waits for the sync that moves the jobs. cron needs intervals on the minute."""
    class Cron(Ledger):
        kind = "crontab"
        resolution = MINUTE

    monkeypatch.setattr("hermes_oscron.service.selection.scheduler_of", lambda root, kind: Cron(root))
    clock = ManualClock(datetime.datetime(2026, 11, 24, 12, 0, 37, tzinfo=datetime.UTC))
    commands = service(root, Ledger(str(root)), clock)
    job_id = commands.create({"prompt": "x", "schedule": "every 2h"})["id"]
    if command == "resume":
        commands.pause(job_id)
    changes = {"update": lambda: commands.update(job_id, {"schedule": "every 3h"}),
               "resume": lambda: commands.resume(job_id)}
    with no_command(str(root)):
        thread = threading.Thread(target=changes[command])
        thread.start()
        lock_path = home.state.command_lock
        wait_for(lambda: sum(os.path.realpath(f"/proc/self/fd/{fd}") == lock_path for fd in os.listdir("/proc/self/fd"))
                 == 2)
        set_active_scheduler(str(root), "crontab")
    thread.join()
    due = job_store.find(home, job_id).next_run_at
    assert due and due.second == 0


def test_a_list_reads_once_which_scheduler_is_active(root: Path) -> None:
    class Counting(UnwatchedSelection):
        reads = 0

        @property
        def active(self) -> Scheduler:
            self.reads += 1
            return super().active

    write_jobs(root, *({**DAILY_JOB, "id": job_id} for job_id in "abc"))
    here = Counting(str(root), Foreground(str(root)))
    assert len(JobService(here).list_jobs()["jobs"]) == 3
    assert here.reads == 1


def test_a_create_that_the_scheduler_refuses_leaves_no_job(root: Path) -> None:
    with pytest.raises(SchedulerError):
        service(root, Refusing(str(root))).create({"prompt": "x", "schedule": "every 2h"})
    assert service(root).list_jobs()["jobs"] == []


def test_a_delete_that_the_scheduler_refuses_leaves_the_job_as_it_was(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    before = service(root).show("a")
    with pytest.raises(SchedulerError):
        service(root, Refusing(str(root))).delete("a")
    assert service(root).show("a") == before


def test_a_run_that_begins_between_two_polls_is_the_requested_one(
        root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner takes the request and the lock after the command saw that the request was not taken."""
    class Silent(Ledger):
        def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
            return lambda: None

    find = lock.find
    locks: list[lock.RunLock | None] = []

    def begin_and_find(home: Home, job_id: str) -> Run | None:
        if taken := requests.take(home, job_id):
            locks.append(lock.acquire(home, job_id))
            found = find(home, job_id)
            taken.answer(begun=True)
            return found
        return find(home, job_id)

    write_jobs(root, LATE_JOB)
    monkeypatch.setattr(lock, "find", begin_and_find)
    assert service(root, Silent(str(root))).run("a") is None
    held, = locks
    assert held
    held.release()
