"""The foreground thread sleeps while nothing happens, and plans each change by another program at once."""

import datetime
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hermes_oscron import wakeup
from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger, lock, schedule_versions
from hermes_oscron.runs.model import Run
from hermes_oscron.schedulers.active import set_disarmed
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Plan
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler

from ..conftest import StartLog, TimedApi, wait_for, write_jobs

ARMED_S = 10.0
"""It takes some milliseconds, and longer on a busy machine; without the news of the kernel it would take 60 s."""
YEARLY = {"kind": "cron", "expr": "0 0 1 1 *"}


class Planning:
    """The jobs of a thread of `firing`: `plans` is its last answer, or None if the last attempt failed."""

    def __init__(self, root: Path) -> None:
        self.reconciler = Reconciler(Selection(str(root), StartLog(str(root))))
        self.plans: Mapping[str, Plan] | None = None
        self.looks = 0

    def record_and_plan(self, now: datetime.datetime) -> Mapping[str, Plan]:
        self.looks += 1
        self.plans = None
        self.plans = self.reconciler.record_and_plan(now)
        return self.plans

    def is_up_to_date(self) -> bool:
        """Return True if the thread plans what a new process would."""
        fresh = Reconciler(Selection(self.reconciler.root, StartLog(self.reconciler.root)))
        return self.plans == fresh.plans(datetime.datetime.now(datetime.UTC))


@pytest.fixture
def planning(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planning]:
    """A thread that fires the jobs of `root` and does not look at the files by itself."""
    monkeypatch.setattr(wakeup, "MAX_WAIT_S", 60.0)
    planning = Planning(root)
    scheduler = StartLog(str(root))
    with scheduler.firing(planning.record_and_plan, planning.reconciler.watched_folders):
        yield planning


def settle(planning: Planning) -> None:
    """Wait until the thread sleeps."""
    wait_for(planning.is_up_to_date)
    looks = -1
    while looks != planning.looks:
        looks = planning.looks
        time.sleep(0.7)


def job(name: str) -> dict[str, object]:
    return {"id": name, "prompt": "x", "schedule": YEARLY}


def overwrite(root: Path, *jobs: str) -> None:
    """Write jobs.json in its own file, as an editor may."""
    path = write_jobs(root / "draft", *map(job, jobs))
    (root / "cron").mkdir(exist_ok=True)
    (root / "cron" / "jobs.json").write_bytes(path.read_bytes())


def point_to(root: Path, target: str, *jobs: str) -> None:
    """Make jobs.json a link to a file elsewhere, and replace that file."""
    path = write_jobs(root.parent / target, *map(job, jobs))
    (root / "cron").mkdir(exist_ok=True)
    (root / "cron" / "link").symlink_to(path)
    (root / "cron" / "link").rename(root / "cron" / "jobs.json")


def test_a_new_interval_is_not_due_before_a_whole_period(root: Path) -> None:
    """The thread computes from its last look on, which was before the job was created."""
    planning, scheduler = Planning(root), StartLog(str(root))
    with scheduler.firing(planning.record_and_plan, planning.reconciler.watched_folders):
        settle(planning)
        time.sleep(1.05 - time.time() % 1)
        created = datetime.datetime.now(datetime.UTC)
        due = created.replace(microsecond=0) + datetime.timedelta(hours=9)
        write_jobs(root, {"id": "a", "prompt": "x", "schedule": {"kind": "interval", "minutes": 540},
                          "created_at": created.isoformat(), "next_run_at": due.isoformat()})
        settle(planning)
    assert planning.plans and planning.plans["default:a"].phase == due and scheduler.started == []
    with ledger.reading(home_of(str(root), "default")) as books:
        versions = schedule_versions.of_job(books, "a")
    assert versions and list(schedule_versions.due_between(versions, 0, due.timestamp() - 1)) == []


def test_a_runner_imports_nothing_from_the_folder_of_the_command(
        root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hermes_oscron", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    end = Foreground(str(root)).start_runner("default:a")
    assert "(exit status 0)" in wait_for(end), "a job that was deleted has no run"


def test_it_looks_at_nothing_while_nothing_happens(root: Path, planning: Planning) -> None:
    write_jobs(root, job("a"))
    settle(planning)
    looks = planning.looks
    time.sleep(1.5)
    assert planning.looks == looks


def test_clients_that_only_read_cause_no_look(root: Path, planning: Planning) -> None:
    write_jobs(root, job("a"))
    settle(planning)
    looks = planning.looks
    for _ in range(5):
        assert planning.is_up_to_date()
        time.sleep(0.05)
    assert planning.looks == looks


def test_every_change_is_planned_at_once(root: Path, planning: Planning) -> None:
    """In bursts, so that changes come while the thread looks, plans, or begins to sleep."""
    dice = random.Random(16)
    work = root / "profiles" / "work"
    changes: list[Callable[[str], object]] = [
        lambda name: write_jobs(root, job(name)),
        lambda name: write_jobs(root, job(name), job("b")),
        lambda name: overwrite(root, name),
        lambda name: point_to(root, "away", name),
        lambda name: write_jobs(work, job(name)),
        lambda name: shutil.rmtree(root / "profiles", ignore_errors=True),
        lambda name: work.exists() and work.rename(work.with_name(name)),
        lambda name: shutil.rmtree(root / "cron", ignore_errors=True),
        lambda name: (root / "config.yaml").write_text(f"timezone: {dice.choice(['Asia/Tokyo', 'Europe/Paris'])}\n"),
        lambda name: set_disarmed(str(root), dice.random() < 0.5),
    ]
    for n in range(80):
        for _ in range(dice.randrange(1, 5)):
            dice.choice(changes)(f"j{n}")
            time.sleep(dice.choice([0, 0, 0.001, 0.01, 0.03, 0.05]))
        try:
            wait_for(planning.is_up_to_date, ARMED_S)
        except AssertionError:
            raise AssertionError(f"burst {n} was lost: {planning.plans}") from None


def test_a_file_behind_a_link_is_watched(root: Path, planning: Planning) -> None:
    point_to(root, "away", "a")
    settle(planning)
    write_jobs(root.parent / "away", job("b"))
    wait_for(lambda: planning.plans and list(planning.plans) == ["default:b"], ARMED_S)


def test_the_end_of_a_killed_runner_is_noticed(root: Path, planning: Planning) -> None:
    home = home_of(str(root), "default")
    write_jobs(root, job("a"))
    run_lock = lock.acquire(home, "a")
    assert run_lock
    run_lock.write(Run("a", time.time(), "schedule"))
    settle(planning)
    run_lock.close()
    wait_for(lambda: not os.listdir(home.state.runs), ARMED_S)


def test_a_file_that_cannot_be_used_is_polled_and_not_read_all_the_time(root: Path, planning: Planning) -> None:
    """Each attempt to record the run that was cut off writes files."""
    home = home_of(str(root), "default")
    run_lock = lock.acquire(home, "a")
    assert run_lock
    run_lock.write(Run("a", time.time(), "schedule"))
    run_lock.close()
    (root / "cron" / "jobs.json").write_text("{")
    wait_for(lambda: planning.plans is None)
    looks = planning.looks
    time.sleep(2)
    assert planning.plans is None and planning.looks - looks <= 6
    write_jobs(root, job("a"))
    wait_for(lambda: planning.plans, ARMED_S)


def test_a_folder_that_cannot_be_read_stops_no_thread(
    root: Path, planning: Planning, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "profiles").write_text("not a folder")
    wait_for(lambda: "Not a directory" in caplog.text, ARMED_S)
    (root / "profiles").unlink()
    write_jobs(root, job("a"))
    wait_for(lambda: planning.plans and list(planning.plans) == ["default:a"], ARMED_S)


def test_a_job_whose_runner_lives_is_not_started_again(timed_api: TimedApi) -> None:
    """On a busy machine it takes a while until a runner has locked its run."""
    job_id = timed_api.create(prompt="x", schedule="in 1h")["id"]
    timed_api.advance(3600)
    for _ in range(20):
        timed_api.advance(5)
    assert timed_api.started == [job_id]
