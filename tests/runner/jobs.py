"""Jobs made as clients make them, and fires of them by the real hermes-cron-exec."""

import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.hermes import job_store, jobs_file
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.jobs.record import Record
from hermes_oscron.runs import lock
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler
from tests.conftest import wait_for, write_script

LONG_AGO = "2026-01-01T09:00:00+00:00"
MANUAL = ("--trigger", "manual")


def service(root: Path, clock: Clock = CLOCK) -> JobService:
    """Return the commands on the jobs of `root`; only the test fires."""
    return JobService(Selection(str(root), Foreground(str(root))), clock)


def reconciler(root: Path) -> Reconciler:
    """Return what syncs the jobs of `root`."""
    return Reconciler(Selection(str(root), Foreground(str(root))))


def default_home(root: Path) -> Home:
    return home_of(str(root), "default")


def make(root: Path, **fields: Any) -> str:
    """Create a job of `fields` that is due daily at nine unless they say otherwise; its id."""
    job_id: str = service(root).create({"schedule": "0 9 * * *", "prompt": "say hello", **fields})["id"]
    return job_id


def make_script(root: Path, text: str, file: str = "job.sh", **fields: Any) -> str:
    """Create a job that runs a script of `text`; its id."""
    return make(root, no_agent=True, script=write_script(root, file, text), **fields)


def make_due(root: Path, job_id: str) -> None:
    """Make `job_id` due now."""
    change_record(root, job_id, next_run_at=LONG_AGO)


def change_record(root: Path, job_id: str, **fields: Any) -> None:
    """Set `fields` in the record of `job_id`."""
    job_store.change(default_home(root), job_id, lambda job: job.with_fields(fields))


def configure(root: Path, text: str) -> None:
    """Write oscron.toml."""
    (root / "oscron.toml").write_text(text)


def record(root: Path, job_id: str) -> Record:
    """The record of `job_id` as it is on disk."""
    return jobs_file.find(default_home(root), job_id)


def pages(root: Path, job_id: str) -> list[str]:
    """Return the outputs of `job_id`, oldest first."""
    return [path.read_text() for path in sorted((root / "cron" / "output" / job_id).glob("*.md"))]


def page(root: Path, job_id: str) -> str:
    """Return the only output of `job_id`."""
    [only] = pages(root, job_id)
    return only


def section(page: str, heading: str) -> str:
    """Return the part of `page` under `heading`."""
    return page.partition(f"\n## {heading}\n\n")[2].partition("\n\n## ")[0].rstrip("\n")


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file under `root`, when it was written and what it holds."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def command_line(job_id: str, *options: str) -> list[str]:
    """hermes-cron-exec for `job_id` of the profile `default`."""
    return [sys.executable, "-m", "hermes_oscron.runner.main", f"default:{job_id}", *options]


class Fire(NamedTuple):
    """An ended hermes-cron-exec: its output, and apart from that the lines by which it logs start and end."""

    returncode: int
    stdout: str
    stderr: str
    log: list[str]


def fire(job_id: str, *options: str, **environment: str) -> Fire:
    """Run `job_id` to its end."""
    ended = subprocess.run(command_line(job_id, *options), env={**os.environ, **environment}, capture_output=True,
                           text=True, errors="replace", timeout=60)
    line = re.compile(rf"^(?:.* \({job_id}\)|{job_id}): (?:started|succeeded|failed)\b.*\n", re.M)
    return Fire(ended.returncode, line.sub("", ended.stdout), line.sub("", ended.stderr),
                [each.rstrip("\n") for each in line.findall(ended.stdout) + line.findall(ended.stderr)])


@contextlib.contextmanager
def firing(job_id: str, *options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `job_id`; its runner is killed with the block if it still runs."""
    process = subprocess.Popen(command_line(job_id, *options), env={**os.environ, **environment}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def has_begun(home: Home, job_id: str) -> bool:
    """Return True if the job itself runs; before that, its runner still reads jobs.json."""
    run = lock.find(home, job_id)
    return run is not None and run.group > 0


def pid_in(path: Path) -> int:
    """The process id that a script writes to `path`, once it has."""
    return int(wait_for(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text()))


def is_alive(pid: int) -> bool:
    """Return True if `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    """End `pid` if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def interrupt(root: Path, job_id: str) -> None:
    """Fire `job_id` by hand and kill its runner with -9 while the job, a script that says `started`, runs."""
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        runner.kill()
        runner.wait()
    kill(job)


def backdate_interrupted_run(root: Path, job_id: str, days: int) -> None:
    """Move the interrupted run of `job_id`, a daily one, `days` back, with no run since."""
    left = root / "cron" / "oscron" / "runs" / job_id
    started = time.time() - days * 86400
    left.write_text(json.dumps({**json.loads(left.read_text()[:lock.PART_BYTES]), "started_at": started}))
    due = datetime.datetime.fromtimestamp(started - 1, datetime.UTC).isoformat()
    change_record(root, job_id, created_at=LONG_AGO, armed_at=LONG_AGO, next_run_at=due)


SLEEPER = 'echo $$ > "$HERMES_HOME/started"\nexec sleep 30\n'
"""A script that reports that it has started, and runs on."""
