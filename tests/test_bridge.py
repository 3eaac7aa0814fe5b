"""The verbs together with the store, without anything that fires."""

import contextlib
import datetime
import json
import resource
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_oscron import cli
from hermes_oscron.bridge import Bridge
from hermes_oscron.hermes import homes, records, requests, runs, store
from hermes_oscron.hermes.homes import Home
from hermes_oscron.schedule import text
from hermes_oscron.schedule.errors import ScheduleError
from hermes_oscron.schedulers.charge import in_charge, put_in_charge
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.plan import Plan, SchedulerError
from tests import strategies
from tests.conftest import in_seconds, stored, write_jobs
from tests.fuzz.world import Ledger
from tests.manual_clock import ManualClock

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
INSTANTS = st.datetimes(datetime.datetime(2030, 1, 1), datetime.datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0).isoformat())
SCHEDULES = strategies.expressions() | st.integers(1, 500_000).map(lambda n: f"every {n}m") | INSTANTS


@settings(max_examples=300, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES))
def test_what_is_displayed_comes_back_as_the_same_schedule(schedule: str, zone: str) -> None:
    """Through the API's verbs and the store: clients post what they were shown."""
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_TIMEZONE", zone)
        clock = ManualClock(datetime.datetime.now(datetime.UTC))  # no minute may begin between the verbs
        bridge = Bridge(root, Foreground(root), clock)
        try:
            job = bridge.create({"prompt": "x", "schedule": schedule})
        except ScheduleError:
            return
        again = bridge.update(job["id"], {"schedule": job["schedule_display"]})
        assert (again["schedule"], again["next_run_at"]) == (job["schedule"], job["next_run_at"])
        by_expression = bridge.update(job["id"], {"schedule": job["schedule"]["expression"]})
        assert by_expression["schedule"] == job["schedule"]
        stored = store.find(homes.home(root, "default"), job["id"])
        kept = records.schedule_of(stored, ZoneInfo(zone))
        assert {"kind": kept.kind, "expression": kept.expression} == job["schedule"]
        assert text.parse(stored["schedule"]["display"], ZoneInfo(zone), clock.now()) == kept


def test_a_zone_set_anew_moves_the_wall_clock_and_no_instant(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = Bridge(str(root), Foreground(str(root)))
    daily = bridge.create({"prompt": "x", "schedule": "0 9 * * *"})
    once = bridge.create({"prompt": "x", "schedule": "2040-01-01T09:00"})
    monkeypatch.setenv("HERMES_TIMEZONE", "Asia/Tokyo")
    assert bridge.show(daily["id"])["next_run_at"].endswith("09:00:00+09:00")
    moved = bridge.show(once["id"])
    assert moved["schedule_display"] == "Once at 2040-01-01 18:00"
    assert records.instant(moved["next_run_at"]) == records.instant(once["next_run_at"])


MALFORMED: list[dict[str, Any]] = [
    {"schedule": {"kind": "interval", "minutes": "120"}}, {"schedule": {"kind": "interval", "minutes": 10**15}},
    {"schedule": {"kind": "interval", "minutes": True}}, {"schedule": None}, {"schedule": "x"}, {"schedule": []},
    {"schedule": {"kind": "once", "run_at": "0001-01-01T00:00:00+00:00"}},
    {"schedule": {"kind": "once", "run_at": "2999-01-01T00:00:00"}}, {"schedule": {"kind": "cron", "expr": "x"}},
    {"schedule": {"kind": "cron", "expr": "0 9 31 2 *"}}, {"repeat": 3}, {"repeat": {"completed": "x", "times": []}},
    {"name": 7, "prompt": None, "enabled": "yes", "state": 4, "last_run_at": {}, "next_run_at": 1e300},
]


def put_record(root: Path, **fields: Any) -> None:
    """Write a job as somebody else might, beside a sound one."""
    sound = {"id": "sound", "name": "sound", "prompt": "x", "schedule": {"kind": "interval", "minutes": 60}}
    odd = {"id": "odd", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}, "enabled": True, **fields}
    (root / "cron").mkdir(exist_ok=True)
    (root / "cron" / "jobs.json").write_text(json.dumps({"jobs": [sound, odd]}))


@pytest.mark.parametrize("fields", MALFORMED)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_record_that_is_none_harms_no_other(root: Path, fields: dict[str, Any], zone: str,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_TIMEZONE", zone)
    put_record(root, **fields)
    bridge = Bridge(str(root), Foreground(str(root)))
    runs = root / "cron" / "oscron" / "runs"
    runs.mkdir(parents=True)
    (runs / "odd").write_text(json.dumps({"started_at": 1700000000, "trigger": "schedule"}))
    assert [job["id"] for job in bridge.jobs()["jobs"]] == ["sound", "odd"]
    assert not list(runs.iterdir()), "the cut-off run is recorded"
    bridge.sync()
    assert "default:sound" in bridge.plans(datetime.datetime.now(datetime.UTC))
    assert bridge.update("odd", {"schedule": "every 2h"})["state"] in ("scheduled", "paused")
    bridge.pause("odd")
    bridge.delete("odd")


@pytest.mark.parametrize("expr", ["0 9 31 2 *", "x"])
def test_a_schedule_that_never_comes_is_an_error_and_told(root: Path, expr: str) -> None:
    put_record(root, schedule={"kind": "cron", "expr": expr})
    scheduler = Foreground(str(root))
    bridge = Bridge(str(root), scheduler)
    assert bridge.show("odd")["state"] == "error"
    with scheduler.firing(lambda now: {}):
        assert any("default:odd has a schedule that nothing can keep" in fault for fault in bridge.faults())


def test_a_one_shot_that_has_run_is_done_and_not_run_again(root: Path) -> None:
    long_ago = "2026-01-01T09:00:00+00:00"
    put_record(root, schedule={"kind": "once", "run_at": long_ago}, last_run_at=long_ago, last_status="ok",
               next_run_at=None, state="scheduled")
    bridge = Bridge(str(root), Foreground(str(root)))
    bridge.sync()
    assert bridge.show("odd")["state"] == "completed"


def test_a_profile_that_cannot_be_read_stops_no_other(root: Path) -> None:
    put_record(root)
    (root / "profiles" / "work" / "cron").mkdir(parents=True)
    (root / "profiles" / "work" / "cron" / "jobs.json").write_text("{")
    bridge = Bridge(str(root), Foreground(str(root)))
    assert "is not JSON" in bridge.sync().refused["work"]
    assert len(bridge.jobs(all_profiles=True)["jobs"]) == 2
    assert records.instant(store.find(bridge.home, "sound")["next_run_at"]), "sync went on"


def test_a_repeat_that_was_asked_for_outlives_a_change_of_kind(root: Path) -> None:
    bridge = Bridge(str(root), Foreground(str(root)))
    job_id = bridge.create({"prompt": "x", "schedule": "in 2h"})["id"]
    assert bridge.update(job_id, {"schedule": "every 2h", "repeat": 1})["repeat"]["times"] == 1
    job_id = bridge.create({"prompt": "x", "schedule": "in 2h"})["id"]
    assert bridge.update(job_id, {"schedule": "every 2h"})["repeat"]["times"] is None


def test_what_cannot_be_recorded_is_not_running_for_ever(root: Path) -> None:
    put_record(root)
    bridge = Bridge(str(root), Foreground(str(root)))
    runs = root / "cron" / "oscron" / "runs"
    runs.mkdir(parents=True)
    (runs / "sound").write_text(json.dumps({"started_at": 1700000000, "trigger": "schedule"}))
    jobs_file = root / "cron" / "jobs.json"
    whole = jobs_file.read_text()
    jobs_file.write_text("{")
    with pytest.raises(store.StoreError):
        bridge.jobs()
    jobs_file.write_text(whole)
    assert bridge.elapsed("sound") is None and bridge.show("sound")["last_status"] == "error"


@pytest.mark.parametrize("when", ["2200-01-01", "5000-01-01", "9998-12-31"])
def test_what_systemd_cannot_keep_is_refused(root: Path, when: str) -> None:
    with pytest.raises(ScheduleError, match=r"2199.*Write a cron expression"):
        Bridge(str(root), Foreground(str(root))).create({"prompt": "x", "schedule": when})


def test_a_sync_gives_the_records_of_others_the_next_run_that_is_going_to_be(root: Path) -> None:
    """croniter knows no clock changes, and the agent writes microseconds; what is due already stays."""
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    daily = {"kind": "cron", "expr": "0 9 * * *", "display": ""}
    past = "2026-01-01T09:00:00.123456+00:00"
    path.write_text(json.dumps({"jobs": [
        {"id": "wrong", "prompt": "x", "schedule": daily, "next_run_at": "2099-01-01T09:00:00+00:00"},
        {"id": "micro", "prompt": "x", "schedule": {"kind": "interval", "minutes": 90},
         "next_run_at": "2099-01-01T09:00:00.654321+00:00"},
        {"id": "due", "prompt": "x", "schedule": daily, "next_run_at": past},
        {"id": "failed", "prompt": "x", "schedule": daily, "next_run_at": None, "state": "error"},
    ]}))
    Bridge(str(root), Foreground(str(root))).sync()
    after = {record["id"]: record["next_run_at"] for record in json.loads(path.read_text())["jobs"]}
    assert after["wrong"] == after["failed"] and after["wrong"][:2] == "20" and "T09:00:00+00:00" in after["wrong"]
    assert not after["wrong"].startswith("2099") and after["due"] == past
    assert records.instant(after["micro"]).microsecond == 0  # type: ignore[union-attr]


class Timers(Ledger):
    """Stands for systemd."""

    kind = "systemd"

    def withdraw(self) -> None:
        self.armed.clear()


def test_a_sync_that_had_to_wait_does_not_undo_a_move_that_was_made_meanwhile(root: Path) -> None:
    """It took the scheduler that was in charge for the one to stay with."""
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    put_in_charge(str(root), "systemd")
    timers = Timers(str(root))
    waited = Bridge(str(root), timers, found="systemd")
    put_in_charge(str(root), "foreground")
    assert waited.sync().armed == [] and timers.armed == {}
    assert in_charge(str(root)) == "foreground" and waited.scheduler.kind == "foreground"


def test_a_sync_does_not_undo_a_move_that_is_made_while_it_starts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    put_in_charge(str(root), "systemd")
    timers = Timers(str(root))

    def choose(*_: object) -> Timers:
        put_in_charge(str(root), "foreground")
        return timers

    monkeypatch.setattr("hermes_oscron.bridge.choose", choose)
    assert cli.bridge().sync().armed == [] and timers.armed == {}
    assert in_charge(str(root)) == "foreground"


def test_a_move_that_is_made_while_doctor_starts_is_no_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_charge(str(root), "systemd")
    monkeypatch.setattr("hermes_oscron.bridge.scheduler_of", lambda root, kind: Timers(root))
    assert Bridge(str(root), Foreground(str(root)), found="foreground").faults() == []
    assert "systemd fires, and oscron.toml wants foreground" in Bridge(str(root), Foreground(str(root))).faults()[0]


def test_changes_that_cannot_be_watched_for_are_told_and_stop_no_sync(root: Path) -> None:
    class Blind(Foreground):
        def watch(self, profiles: Collection[str]) -> None:
            raise SchedulerError("systemd refused: no space left on device")

    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    schedule = {"kind": "cron", "expr": "0 9 * * *"}
    path.write_text(json.dumps({"jobs": [{"id": "a", "prompt": "x", "schedule": schedule}]}))
    report = Bridge(str(root), Blind(str(root))).sync()
    assert list(report.refused.values()) == ["systemd refused: no space left on device"]
    assert json.loads(path.read_text())["jobs"][0]["next_run_at"]


def test_a_verb_waits_for_another_for_a_while_and_then_says_who_has_the_lock(root: Path) -> None:
    first, second = (Bridge(str(root), Foreground(str(root))) for _ in range(2))
    held = r"arming\.lock .* held"
    with first.verb_lock(), pytest.raises(store.StoreError, match=held), second.verb_lock(patience=0.2):
        pass
    with second.verb_lock(patience=0.2):
        pass


class Refusing(Foreground):
    """Lets a run end, by whatever `meanwhile` is, and then refuses."""

    meanwhile: Callable[[], object]

    def unavailable(self) -> None:
        return None

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        self.meanwhile()
        raise SchedulerError("no")

    def disarm(self, instances: Iterable[str]) -> None:
        self.meanwhile()
        raise SchedulerError("no")


@pytest.mark.parametrize("verb", ["update", "pause"])
def test_what_is_undone_is_the_verb_and_not_a_run_that_has_ended_meanwhile(root: Path, home: Home, verb: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    due = (now - datetime.timedelta(seconds=5)).isoformat()
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}, "theirs": 1,
                      "next_run_at": due, "armed_at": due, "created_at": due})
    scheduler = Refusing(str(root))
    scheduler.meanwhile = lambda: store.change(
        home, "a", lambda record: records.finish(record, now, now, ZoneInfo("UTC"), None))
    bridge = Bridge(str(root), scheduler)
    with pytest.raises(SchedulerError):
        bridge.update("a", {"schedule": "every 2h"}) if verb == "update" else bridge.pause("a")
    record = store.find(home, "a")
    assert record["last_status"] == "ok" and record["theirs"] == 1 and record["schedule"]["expr"] == "0 9 * * *"
    assert records.state(record) == "scheduled" and "paused_at" not in record
    assert datetime.datetime.fromisoformat(record["next_run_at"]) > now


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes (RLIMIT_FSIZE, setrlimit(2)), as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_move_that_cannot_be_written_down_goes_back(root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    put_in_charge(str(root), "systemd")
    withdrawn: list[str] = []

    class Withdrawn(Timers):
        def withdraw(self) -> None:
            withdrawn.extend(self.armed)
            super().withdraw()

    timers = Withdrawn(str(root))
    bridge = Bridge(str(root), timers)
    bridge.sync()
    bridge.wanted = Refusing(str(root))
    with files_limited_to(0), pytest.raises(OSError, match="File too large"):
        bridge.sync()
    assert withdrawn == list(timers.armed) == ["default:a"]
    assert in_charge(str(root)) == bridge.scheduler.kind == "systemd"


def test_a_sync_starts_what_is_overdue_once_however_often_it_looks(root: Path) -> None:
    class Starting(Refusing):
        def catch_up(self, instance: str) -> None:
            started.append(instance)
            write_jobs(root, *[{**job, "looks": len(started)} for job in stored(root)])

    started: list[str] = []
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"},
                      "next_run_at": "2026-01-01T09:00:00+00:00"})
    assert not Bridge(str(root), Starting(str(root))).sync().refused
    assert started == ["default:a"]


def test_a_run_that_cannot_be_recorded_hides_no_job_and_disarms_none(root: Path, home: Home) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}})
    put_in_charge(str(root), "foreground")
    interrupted = Path(home.runs_dir) / "a"
    interrupted.parent.mkdir()
    interrupted.write_text(json.dumps({"started_at": 1700000000, "trigger": "schedule"}))
    ledger = Ledger(str(root))
    bridge = Bridge(str(root), ledger)
    with files_limited_to(0):
        assert [job["id"] for job in bridge.jobs()["jobs"]] == ["a"] and bridge.status() == {}
        assert "File too large" in bridge.sync().refused["default"] and list(ledger.armed) == ["default:a"]
    assert interrupted.exists() and "last_status" not in stored(root)[0]
    assert not bridge.sync().refused and stored(root)[0]["last_status"] == "error"


LATE_JOB = {"id": "a", "name": "a", "prompt": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"},
            "last_status": "ok", "last_run_at": "2026-01-01T09:00:00+00:00"}


@pytest.mark.parametrize("seconds", [0.5, 2, 20, 59, 3600])
def test_a_sync_starts_what_is_due_however_short_a_time(root: Path, seconds: float) -> None:
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    write_jobs(root, {**LATE_JOB, "next_run_at": due.replace(microsecond=0).isoformat()})
    ledger = Ledger(str(root))
    Bridge(str(root), ledger).sync()
    assert ledger.ran == ["default:a"]


def test_a_job_that_is_due_and_has_not_started_is_an_error_and_no_file_says_so(root: Path, home: Home) -> None:
    due = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=20)).replace(microsecond=0)
    path = write_jobs(root, {**LATE_JOB, "next_run_at": due.isoformat()})
    before = path.read_bytes()
    ledger = Ledger(str(root))
    bridge = Bridge(str(root), ledger)
    [listed] = bridge.jobs()["jobs"]
    for job in (listed, bridge.show("a")):
        assert (job["last_status"], job["state"], job["last_run_at"]) == ("error", "scheduled", LATE_JOB["last_run_at"])
        assert f"It was due at {due:%Y-%m-%d %H:%M:%S %z} and has not started" in job["last_error"]
        assert datetime.datetime.fromisoformat(job["next_run_at"]) > datetime.datetime.now(datetime.UTC)
    assert any("default:a: It was due at" in fault for fault in bridge.faults())
    claim = runs.claim(home, "a")
    assert claim and bridge.show("a")["last_status"] == "ok", "it runs"
    claim.release()
    assert path.read_bytes() == before


def test_a_job_that_has_just_fallen_due_is_no_error(root: Path) -> None:
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    write_jobs(root, {**LATE_JOB, "next_run_at": due.replace(microsecond=0).isoformat()})
    assert Bridge(str(root), Ledger(str(root))).show("a")["last_status"] == "ok"


@pytest.mark.parametrize("fields", [{"enabled": False}, {"state": "paused"}, {"state": "completed"},
                                    {"run_claim": {"at": in_seconds(-1), "by": "the gateway"}}])
def test_a_job_that_is_not_to_start_or_that_the_gateway_runs_is_not_late(root: Path, fields: dict[str, Any]) -> None:
    write_jobs(root, {**LATE_JOB, "next_run_at": "2026-01-02T09:00:00+00:00", **fields})
    assert Bridge(str(root), Ledger(str(root))).show("a")["last_status"] == "ok"


def test_a_run_that_begins_between_two_looks_is_the_one_that_was_asked_for(
        root: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner takes the request and claims the job after the verb saw the request not taken."""
    class Silent(Ledger):
        def run(self, instance: str) -> Callable[[], str | None]:
            return lambda: None

    find = runs.find
    claims: list[runs.Claim | None] = []

    def begin_and_find(home: Home, job_id: str) -> runs.Run | None:
        if taken := requests.take(home, job_id):
            claims.append(runs.claim(home, job_id))
            found = find(home, job_id)
            taken.answer(begun=True)
            return found
        return find(home, job_id)

    write_jobs(root, LATE_JOB)
    monkeypatch.setattr(runs, "find", begin_and_find)
    assert Bridge(str(root), Silent(str(root))).run("a") is None
    claim, = claims
    assert claim
    claim.release()
