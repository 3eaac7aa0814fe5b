"""A sync: with jobs, with runs that were cut off, and with schedulers that refuse."""

import datetime
import json
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.config import Config
from hermes_oscron.hermes import job_store
from hermes_oscron.hermes.home import Home
from hermes_oscron.jobs.record import instant
from hermes_oscron.runs import lock
from hermes_oscron.runs.model import SCHEDULE, Run
from hermes_oscron.schedulers.active import active_scheduler, last_sync, set_active_scheduler
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import NO_LIMITS, ChangeWatcher, EndOfStart, Limits, Scheduler, SchedulerError
from hermes_oscron.schedulers.systemd.path_watch import NoWatcher
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import MAX_ROUNDS, Reconciler
from tests.conftest import stored, write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import NOON, ManualClock

from .world import (
    DAILY,
    DAILY_JOB,
    LATE_JOB,
    Refusing,
    Timers,
    UnwatchedSelection,
    cut_off_run,
    files_limited_to,
    put_record,
    reconciler,
    selection,
    service,
)


def test_a_one_shot_that_has_run_is_completed_and_not_run_again(root: Path) -> None:
    long_ago = "2026-01-01T09:00:00+00:00"
    put_record(root, schedule={"kind": "once", "run_at": long_ago}, last_run_at=long_ago, last_status="ok",
               next_run_at=None, state="scheduled")
    ledger = Ledger(str(root))
    reconciler(root, ledger).sync()
    assert service(root).show("odd")["state"] == "completed" and ledger.ran == []


def test_an_unreadable_profile_affects_no_other(root: Path, home: Home) -> None:
    put_record(root)
    work = root / "profiles" / "work" / "cron"
    work.mkdir(parents=True)
    (work / "jobs.json").write_text("{")
    [problem] = reconciler(root).sync().problems
    assert problem.subject == "work" and "is not JSON" in problem.sentence and problem.needs_edit
    assert len(service(root).list_jobs(all_profiles=True)["jobs"]) == 2
    assert job_store.find(home, "sound").next_run_at, "sync went on"


def test_the_jobs_of_an_unreadable_profile_stay_armed(root: Path) -> None:
    work = root / "profiles" / "work"
    write_jobs(work, {**DAILY_JOB, "id": "theirs"})
    write_jobs(root, DAILY_JOB)
    ledger = Ledger(str(root))
    reconciler(root, ledger).sync()
    (work / "cron" / "jobs.json").write_text("{")
    write_jobs(root)
    assert reconciler(root, ledger).sync().disarmed == ["default:a"]
    assert list(ledger.armed) == ["work:theirs"]


def test_records_of_other_programs_get_their_real_next_run(root: Path) -> None:
    """croniter ignores clock changes, and the agent writes microseconds. A job that is due stays due."""
    past = "2026-01-01T09:00:00.123456+00:00"
    path = write_jobs(
        root,
        {"id": "wrong", "prompt": "x", "schedule": DAILY, "next_run_at": "2099-01-01T09:00:00+00:00"},
        {"id": "micro", "prompt": "x", "schedule": {"kind": "interval", "minutes": 90},
         "next_run_at": "2099-01-01T09:00:00.654321+00:00"},
        {"id": "due", "prompt": "x", "schedule": DAILY, "next_run_at": past},
        {"id": "failed", "prompt": "x", "schedule": DAILY, "next_run_at": None, "state": "error"},
    )
    reconciler(root).sync()
    after = {record["id"]: record["next_run_at"] for record in json.loads(path.read_text())["jobs"]}
    assert after["wrong"] == after["failed"] and after["wrong"][:2] == "20" and "T09:00:00+00:00" in after["wrong"]
    assert not after["wrong"].startswith("2099") and after["due"] == past
    micro = instant(after["micro"])
    assert micro and micro.microsecond == 0


def test_a_sync_that_waited_does_not_undo_a_move_made_in_between(root: Path) -> None:
    """It must not take the scheduler that was active when it began for the one to keep."""
    write_jobs(root, DAILY_JOB)
    set_active_scheduler(str(root), "systemd")
    timers = Timers(str(root))
    waited = UnwatchedSelection(str(root), timers, active_at_start="systemd")
    set_active_scheduler(str(root), "foreground")
    assert Reconciler(waited).sync().armed == [] and timers.armed == {}
    assert active_scheduler(str(root)) == "foreground" and waited.active.kind == "foreground"


def test_a_sync_does_not_undo_a_move_made_while_it_starts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jobs(root, DAILY_JOB)
    set_active_scheduler(str(root), "systemd")
    timers = Timers(str(root))

    def choose_scheduler(*_: object) -> Timers:
        set_active_scheduler(str(root), "foreground")
        return timers

    monkeypatch.setattr("hermes_oscron.service.selection.choose_scheduler", choose_scheduler)
    assert Reconciler(UnwatchedSelection.load(str(root), Config())).sync().armed == [] and timers.armed == {}
    assert active_scheduler(str(root)) == "foreground"


def test_a_move_arms_the_jobs_only_in_the_configured_scheduler(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    timers, ledger = Timers(str(root)), Ledger(str(root))
    moved = selection(root, timers)
    Reconciler(moved).sync()
    moved.configured = ledger
    assert Reconciler(moved).sync().armed == ["default:a"] == list(ledger.armed)
    assert timers.armed == {} and timers.removed == ["default:a"]
    assert active_scheduler(str(root)) == moved.active.kind == "foreground"


def test_a_move_that_cannot_be_stored_is_reversed(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    set_active_scheduler(str(root), "systemd")
    timers = Timers(str(root))
    moved = selection(root, timers)
    Reconciler(moved).sync()
    moved.configured = Refusing(str(root))
    with files_limited_to(0), pytest.raises(OSError, match="File too large"):
        Reconciler(moved).sync()
    assert timers.removed == list(timers.armed) == ["default:a"]
    assert active_scheduler(str(root)) == moved.active.kind == "systemd"


class Moving(UnwatchedSelection):
    """The schedulers of a root whose jobs move from `present` to `configured`."""

    def __init__(self, root: Path, present: Scheduler, configured: Scheduler) -> None:
        super().__init__(str(root), configured)
        self._present = present

    @property
    def active(self) -> Scheduler:
        return self.configured if active_scheduler(self.root) == self.configured.kind else self._present


def test_a_move_that_the_new_scheduler_refuses_is_reversed(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    set_active_scheduler(str(root), "systemd")
    timers = Timers(str(root))
    reconciler(root, timers).sync()
    moved = Moving(root, timers, Refusing(str(root)))
    with pytest.raises(SchedulerError, match="no"):
        Reconciler(moved).sync()
    assert timers.removed == list(timers.armed) == ["default:a"]
    assert active_scheduler(str(root)) == moved.active.kind == "systemd"


class BlindSelection(Selection):
    """Schedulers of a root whose files cannot be watched."""

    class Blind(NoWatcher):
        def watch(self, profiles: Collection[str]) -> None:
            raise SchedulerError("systemd refused: no space left on device")

    @property
    def watcher(self) -> ChangeWatcher:
        return self.Blind()


def test_files_that_cannot_be_watched_are_reported_and_fail_no_sync(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    ledger = Ledger(str(root))
    report = Reconciler(BlindSelection(str(root), ledger)).sync()
    assert [problem.sentence for problem in report.problems] == ["systemd refused: no space left on device"]
    assert stored(root)[0]["next_run_at"] and report.armed == list(ledger.armed) == ["default:a"]


def test_only_a_sync_without_problems_counts_as_the_last_one(root: Path) -> None:
    path = write_jobs(root, DAILY_JOB)
    path.write_text("{")
    reconciler(root).sync()
    assert last_sync(str(root)) == 0
    write_jobs(root, DAILY_JOB)
    reconciler(root).sync()
    assert last_sync(str(root)) > 0


class Starting(Ledger):
    """Starts no runner: another program changes jobs.json at each start instead."""

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        self.ran.append(instance)
        root = Path(self._root)
        write_jobs(root, *[{**job, "looks": len(self.ran)} for job in stored(root)])
        return lambda: None


def test_a_sync_starts_an_overdue_job_once_in_all_its_rounds(root: Path) -> None:
    write_jobs(root, {**DAILY_JOB, "next_run_at": "2026-01-01T09:00:00+00:00"})
    scheduler = Starting(str(root))
    report = reconciler(root, scheduler).sync()
    assert not report.problems and scheduler.ran == ["default:a"]
    [sentence] = report.started
    assert sentence == "a (a): was due at 2026-01-01 09:00:00 UTC, had not run; started now."


def test_a_sync_ends_even_if_the_jobs_keep_changing(root: Path) -> None:
    """Another program adds a job in every round."""
    class Changing(Ledger):
        rounds = 0

        def drift(self, *arguments: Any) -> Any:
            self.rounds += 1
            write_jobs(root, *stored(root), {**DAILY_JOB, "id": f"new{self.rounds}"})
            return super().drift(*arguments)

    write_jobs(root, DAILY_JOB)
    scheduler = Changing(str(root))
    report = reconciler(root, scheduler).sync()
    assert scheduler.rounds == MAX_ROUNDS
    assert sorted(report.armed) == sorted(scheduler.armed) == [
        "default:a", *(f"default:new{n}" for n in range(1, MAX_ROUNDS))]


def test_a_change_during_a_sync_is_included(root: Path) -> None:
    class Changing(Ledger):
        def apply(self, *arguments: Any) -> Any:
            if not self.armed:
                write_jobs(root, *stored(root), {**DAILY_JOB, "id": "b"})
            return super().apply(*arguments)

    write_jobs(root, DAILY_JOB)
    scheduler = Changing(str(root))
    assert reconciler(root, scheduler).sync().armed == ["default:a", "default:b"] == sorted(scheduler.armed)


def test_a_run_that_cannot_be_recorded_hides_no_job_and_disarms_none(root: Path) -> None:
    write_jobs(root, DAILY_JOB)
    set_active_scheduler(str(root), "foreground")
    run = cut_off_run(root, "a")
    ledger = Ledger(str(root))
    commands, syncs = service(root, ledger), reconciler(root, ledger)
    with files_limited_to(0):
        assert [job["id"] for job in commands.list_jobs()["jobs"]] == ["a"] and commands.status() == {}
        [problem] = syncs.sync().problems
        assert problem.subject == "default" and "File too large" in problem.sentence
        assert list(ledger.armed) == ["default:a"]
    assert run.exists() and "last_status" not in stored(root)[0]
    assert not syncs.sync().problems and stored(root)[0]["last_status"] == "error"


@pytest.mark.parametrize("seconds", [0.5, 2, 20, 59, 3600])
def test_a_sync_starts_a_job_that_has_just_become_due(root: Path, seconds: float) -> None:
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    write_jobs(root, {**LATE_JOB, "next_run_at": due.replace(microsecond=0).isoformat()})
    ledger = Ledger(str(root))
    reconciler(root, ledger).sync()
    assert ledger.ran == ["default:a"]


def test_overdue_jobs_are_started_oldest_first(root: Path) -> None:
    write_jobs(root, *({**LATE_JOB, "id": job_id, "next_run_at": f"2026-01-{day:02}T09:00:00+00:00"}
                       for job_id, day in (("a", 4), ("b", 2), ("c", 3), ("d", 2))))
    ledger = Ledger(str(root))
    reconciler(root, ledger).sync()
    assert ledger.ran == ["default:b", "default:d", "default:c", "default:a"]


def test_no_job_is_started_while_no_scheduler_can_fire(root: Path) -> None:
    class Unavailable(Ledger):
        availability = Foreground.availability

    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00"})
    ledger = Unavailable(str(root))
    assert reconciler(root, ledger).sync().problems == [] and ledger.ran == []


def test_a_sync_starts_a_job_that_becomes_due_while_it_is_armed(root: Path) -> None:
    """A timer that is started after its time does not elapse for it."""
    class Slow(Ledger):
        def apply(self, *arguments: Any) -> Any:
            clock.set(NOON + datetime.timedelta(seconds=3))
            return super().apply(*arguments)

    clock = ManualClock()
    write_jobs(root, *({**DAILY_JOB, "id": job_id, "schedule": {"kind": "once", "run_at": due}, "next_run_at": due}
                       for job_id, due in (("a", "2030-06-05T12:00:02+00:00"), ("b", "2030-06-05T12:00:04+00:00"))))
    ledger = Slow(str(root))
    [sentence] = Reconciler(selection(root, ledger), clock).sync().started
    assert ledger.ran == ["default:a"] and sentence.startswith("a (a): was due at 2030-06-05 12:00:02 UTC")


def test_an_overdue_job_that_no_program_can_run_stays_due(root: Path) -> None:
    """Also a one-shot, which a failed run would use up."""
    due = "2026-01-01T09:00:00+00:00"
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "once", "run_at": due}, "next_run_at": due,
                      "enabled": True, "state": "scheduled"})
    (root / "oscron.toml").write_text('[exec]\nagent = "none"\n')
    ledger = Ledger(str(root))
    report = reconciler(root, ledger).sync()
    problem, = report.problems
    assert report.started == [] and problem.needs_edit and "stays due: No program can run" in problem.sentence
    assert stored(root)[0]["next_run_at"] == due
    (root / "oscron.toml").write_text('[exec]\ncommand = ["cat"]\n')
    assert len(reconciler(root, ledger).sync().started) == 1


@pytest.mark.parametrize(("settings", "ran"), [("cron: {catch_up_missed: false}", []), ("", ["default:a"])])
def test_an_occurrence_missed_by_far_is_skipped_only_if_the_agent_does_not_catch_up(
        root: Path, home: Home, settings: str, ran: list[str]) -> None:
    yearly = {"kind": "cron", "expr": "0 0 1 1 *"}
    write_jobs(root, {**LATE_JOB, "schedule": yearly, "next_run_at": "2026-01-01T00:00:00+00:00"})
    (root / "config.yaml").write_text(settings)
    ledger = Ledger(str(root))
    assert reconciler(root, ledger).sync().problems == []
    assert ledger.ran == ran
    due = job_store.find(home, "a").next_run_at
    assert due and (due.year > 2026) != bool(ran)


def test_nothing_that_is_due_is_started_while_hermes_is_paused(root: Path, home: Home) -> None:
    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00"})
    before = (root / "cron" / "jobs.json").read_bytes()
    (root / "ESTOP").touch()
    ledger = Ledger(str(root))
    for _ in range(2):
        assert reconciler(root, ledger).sync().started == []
    assert ledger.ran == [] and (root / "cron" / "jobs.json").read_bytes() == before
    (root / "ESTOP").unlink()
    assert len(reconciler(root, ledger).sync().started) == 1 and ledger.ran == ["default:a"]


def test_a_job_of_any_profile_that_was_held_by_a_pause_is_started_by_the_foreground_after_it(root: Path) -> None:
    ledger = Ledger(str(root))
    here = reconciler(root, ledger)
    for home in (root, root / "profiles" / "work", root / "profiles" / "zoo"):
        home.mkdir(parents=True, exist_ok=True)
        write_jobs(home, {**DAILY_JOB, "next_run_at": "2026-01-02T09:00:00+00:00"})
        (home / "ESTOP").touch()
    here.record_and_plan(datetime.datetime.now(datetime.UTC))
    assert not ledger.ran
    for home in (root / "profiles" / "work", root):
        (home / "ESTOP").unlink()
    here.record_and_plan(datetime.datetime.now(datetime.UTC))
    assert sorted(ledger.ran) == ["default:a", "work:a"]


def starts_by_the_foreground(here: Reconciler, ledger: Ledger) -> list[int]:
    """Return the seconds, of three minutes, at which the foreground starts a job whose runner ends at once."""
    begun, starts = datetime.datetime.now(datetime.UTC), list[int]()
    for second in range(180):
        here.record_and_plan(begun + datetime.timedelta(seconds=second))
        starts += [second] * (len(ledger.ran) - len(starts))
    return starts


def test_a_due_job_whose_runner_ends_at_once_is_started_by_the_foreground_once_a_minute(root: Path) -> None:
    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00"})
    ledger = Ledger(str(root))
    assert starts_by_the_foreground(reconciler(root, ledger), ledger) == [5, 65, 125]


@pytest.mark.parametrize("reason", ["ran", "paused", "claimed", "used up", "disarmed", "Hermes is paused", "queued"])
def test_the_foreground_starts_no_job_that_must_not_start(root: Path, home: Home, reason: str) -> None:
    claim = {"at": datetime.datetime.now(datetime.UTC).isoformat(), "by": f"{os.uname().nodename}:{os.getpid()}:f00d"}
    changes: dict[str, dict[str, Any]] = {
        "ran": {"next_run_at": "2099-01-02T09:00:00+00:00"}, "paused": {"state": "paused", "enabled": False},
        "claimed": {"fire_claim": claim},
        "used up": {"schedule": {"kind": "once", "run_at": "2026-01-02T09:00:00+00:00"},
                    "repeat": {"times": 1, "completed": 1}}}
    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00", **changes.get(reason, {})})
    ledger = Ledger(str(root))
    if reason == "disarmed":
        reconciler(root, ledger).disarm()
    if reason == "Hermes is paused":
        (root / "ESTOP").touch()
    run_lock = lock.acquire(home, "a") if reason == "queued" else None
    if run_lock:
        run_lock.write(Run("a", time.time(), SCHEDULE, queued=True))
    assert starts_by_the_foreground(reconciler(root, ledger), ledger) == []
    if run_lock:
        run_lock.release()
