"""The commands on a root's jobs, schedulers for them, and records as other programs may write them."""

import contextlib
import datetime
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import Availability, Changes, ChangeWatcher, Report, Scheduler, SchedulerError
from hermes_oscron.schedulers.systemd.path_watch import NoWatcher
from hermes_oscron.service.doctor import Doctor
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler
from tests.conftest import write_jobs
from tests.fuzz.world import Ledger

DAILY = {"kind": "cron", "expr": "0 9 * * *"}
DAILY_JOB = {"id": "a", "prompt": "x", "schedule": DAILY}
LATE_JOB = {**DAILY_JOB, "name": "a", "last_status": "ok", "last_run_at": "2026-01-01T09:00:00+00:00"}


class UnwatchedSelection(Selection):
    """Schedulers of a root whose files nothing watches, with any active scheduler."""

    @property
    def watcher(self) -> ChangeWatcher:
        return NoWatcher()


def selection(root: Path, configured: Scheduler | None = None) -> Selection:
    return UnwatchedSelection(str(root), configured or Foreground(str(root)))


def service(root: Path, scheduler: Scheduler | None = None, clock: Clock = CLOCK) -> JobService:
    return JobService(selection(root, scheduler), clock)


def reconciler(root: Path, scheduler: Scheduler | None = None) -> Reconciler:
    return Reconciler(selection(root, scheduler))


def diagnosis(root: Path, scheduler: Scheduler | None = None) -> list[str]:
    """Return the sentences of doctor."""
    return [each.sentence for each in Doctor(selection(root, scheduler)).diagnose()]


def put_record(root: Path, **fields: Any) -> None:
    """Write the job `odd`, with `fields` as another program might write them, beside the valid job `sound`."""
    write_jobs(root, {"id": "sound", "name": "sound", "prompt": "x", "schedule": {"kind": "interval", "minutes": 60}},
               {"id": "odd", "prompt": "x", "schedule": DAILY, "enabled": True, **fields})


def cut_off_run(root: Path, job_id: str, started_at: float = 1700000000) -> Path:
    """Leave the file of a run of `job_id` that was cut off; return its path."""
    path = root / "cron" / "oscron" / "runs" / job_id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"started_at": started_at, "trigger": "schedule"}))
    return path


class Timers(Ledger):
    """Stands for systemd: a scheduler of another kind, from which jobs can move."""

    kind = "systemd"

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.removed: list[str] = []

    def remove_all(self) -> None:
        self.removed.extend(self.armed)
        self.armed.clear()


class Refusing(Foreground):
    """Calls `before_refusing`, and then refuses every change."""

    def __init__(self, root: str, before_refusing: Callable[[], object] = lambda: None) -> None:
        super().__init__(root)
        self._before_refusing = before_refusing

    def availability(self) -> Availability:
        return Availability(True)

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        self._before_refusing()
        raise SchedulerError("no")


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit files of this process to `size` bytes (RLIMIT_FSIZE, setrlimit(2)), as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
