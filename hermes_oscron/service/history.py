"""Find due times of the last week without a recorded run, and failed runs.

A run leaves an output; one that was cut off leaves its end in the record alone. Of some times nothing can be known, and
nothing is reported: before the job was created, resumed, rescheduled or armed, before the outputs that are still kept,
and before the last start that `hermes pause` prevented. On a machine that has slept since its boot nothing is reported
at all, since a job that was missed then runs once, however often it was due, and nothing under the foreground
scheduler, of which no file shows since when it fires a job as it is now.
"""

import datetime
import time
from itertools import islice, takewhile
from typing import NamedTuple

from ..files import mtime
from ..hermes import outputs
from ..hermes.home import Home
from ..jobs.exclusions import why_excluded
from ..jobs.model import Job
from ..jobs.record import DELIVERY_FAILED, RAN, hold_of, instant, readable_error
from ..runner.environment import NoExecutor
from ..runner.policy import excluded_days
from ..runs import lock
from ..schedule.model import INTERVAL
from ..schedule.occurrences import occurrences
from ..schedulers.crontab.scheduler import Crontab
from ..schedulers.plan import plan_of
from ..schedulers.protocol import MINUTE, Scheduler
from ..schedulers.systemd.systemctl import own_systemctl
from .findings import PROBLEM, WARNING, Finding

WEEK = datetime.timedelta(days=7)
SETTLED = datetime.timedelta(minutes=2)
"""A job that is due for less than this may still be starting."""
REACHES = (WEEK, datetime.timedelta(days=1), datetime.timedelta(hours=6))
MAX_OCCURRENCES = 500
"""A job that is due more often is compared over a shorter time: a minutely one has 360 occurrences in six hours."""
MAX_SLEPT_S = 60.0
LATE = datetime.timedelta(minutes=5)
"""A run that starts later than this after its time was not started by its timer or crontab line."""
ROUNDING_S = 0.1
"""The duration in an output is rounded. A run that seems to begin before its time would be taken for an earlier one."""
LATE_RUNS = 3
"""The number of last runs that must all have been late: one alone may have waited for others, or for the machine."""
TIME = "%Y-%m-%d %H:%M %Z"


class Past(NamedTuple):
    """A time at which a job was due, and when the run for it began; None if no run is recorded."""

    due: datetime.datetime
    began: datetime.datetime | None


def slept_s() -> float:
    """Return for how many seconds this machine has slept since its boot (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def known_since(home: Home, job: Job, scheduler: Scheduler, now: datetime.datetime) -> datetime.datetime:
    """Return since when every due run of `job` must have left an output; `now` if that cannot be known."""
    armed = scheduler.armed_since(job.instance)
    if armed is None or slept_s() > MAX_SLEPT_S:
        return now
    known = [armed, (now - WEEK).timestamp()]
    if refused := mtime(home.state.refused):
        known.append(refused)
    known += [moment.timestamp() for name in ("created_at", "armed_at", "paused_at")
              if (moment := instant(job.record.get(name)))]
    names = outputs.filenames(home, job.id)
    limit = outputs.max_outputs(home)
    if 0 < limit <= len(names):
        known += [page.modified for page in outputs.history(home, job.id, limit - 1, 1)[0]]
    return datetime.datetime.fromtimestamp(max(known), datetime.UTC)


def missed_runs(home: Home, job: Job, scheduler: Scheduler, now: datetime.datetime) -> Finding | None:
    """Return a finding if `job` was due in the last week and no run is recorded, or if its last runs began late."""
    plan = plan_of(job, now)
    if plan is None or plan.paused or hold_of(job.record) or lock.find(home, job.id):
        return None
    past = [each for each in _past(home, job, known_since(home, job, scheduler, now), now)
            if not _is_excluded(job, each.due)]
    missed = [each.due for each in past if each.began is None]
    if missed:
        first, last = (f"{moment.astimezone(job.zone):{TIME}}" for moment in (missed[0], missed[-1]))
        which = f"at {first}" if len(missed) == 1 else f"from {first} to {last}"
        return Finding(PROBLEM if past[-1].began is None else WARNING, job.instance,
                       f"{job.instance}: no run is recorded for {len(missed)} of the last {len(past)} times at which "
                       f"it was due ({which}). The journal of these times has the reason: {_journal(job, scheduler)}")
    delays = [each.began - each.due for each in past[-LATE_RUNS:] if each.began]
    if len(delays) == LATE_RUNS and min(delays) > LATE and job.schedule and job.schedule.kind != INTERVAL:
        return Finding(WARNING, job.instance,
                       f"{job.instance}: each of its last {LATE_RUNS} runs began at least {min(delays) // MINUTE} "
                       f"minutes late, so a sync started them. The journal of the times at which it was due has the "
                       f"reason: {_journal(job, scheduler)}")
    return None


def _is_excluded(job: Job, due: datetime.datetime) -> bool:
    """Return True if the policy of `job` skips the occurrence at `due`. A file that cannot be read fails each run."""
    try:
        excluded = excluded_days(job.policy)
    except NoExecutor:
        return False
    return bool(why_excluded(dict(job.policy), due.astimezone(job.zone).date(), excluded))


def _past(home: Home, job: Job, since: datetime.datetime, now: datetime.datetime) -> list[Past]:
    """Return when `job` was due after `since`, each time with its run; the last SETTLED is left out.

    A run is for each time at which the job became due during the run, and for the last one before it.
    """
    schedule = job.schedule
    if schedule is None or since >= now - SETTLED:
        return []
    for reach in REACHES:
        due = list(islice(takewhile(lambda each: each < now - SETTLED,
                                    occurrences(schedule, max(since, now - reach), job.zone, job.phase)),
                          MAX_OCCURRENCES + 1))
        if len(due) <= MAX_OCCURRENCES:
            break
    following = [*due, now][1:]
    if schedule.kind == INTERVAL:  # the agent counts an interval from the end of a run, so its times may have moved
        following = [until + schedule.period for until in following]
    runs = _runs(home, job, since)
    return [Past(each, next((max(began, each) for began, ended in runs if began < until and ended >= each), None))
            for each, until in zip(due, following, strict=True)]


def _runs(home: Home, job: Job, since: datetime.datetime) -> list[tuple[datetime.datetime, datetime.datetime]]:
    """Return begin and end of each recorded run of `job` that ended after `since`, oldest first.

    A run whose output does not have its duration counts from the end of the one before. The record has the end of
    a run that was cut off, and of one whose output could not be saved.
    """
    pages, _ = outputs.history(home, job.id, 0, len(outputs.filenames(home, job.id)))
    runs, before = [], since.timestamp()
    for page in reversed(pages):
        took_s = page.usage.get("duration_seconds")
        runs.append((before if took_s is None else page.modified - took_s + ROUNDING_S, page.modified))
        before = page.modified
    failure = job.record.get("last_failure")
    ends = (job.last_run_at, instant(failure.get("at")) if isinstance(failure, dict) else None)
    runs += [(end.timestamp(), end.timestamp()) for end in ends if end]
    utc = datetime.UTC
    return sorted((datetime.datetime.fromtimestamp(began, utc), datetime.datetime.fromtimestamp(ended, utc))
                  for began, ended in runs if ended >= since.timestamp())


def failed_result(job: Job, now: datetime.datetime) -> Finding | None:
    """Return a finding if the last run of `job`, in the last week, failed or its output was not delivered."""
    status, ended = job.record.get("last_status"), job.last_run_at
    if not job.is_scheduled or not ended or not isinstance(status, str) or ended < now - WEEK:
        return None
    when = f"{ended.astimezone(job.zone):{TIME}}"
    if status == DELIVERY_FAILED:
        reason = job.record.get("last_delivery_error") or "no reason is recorded."
        sentence = (f"the output of its last run ({when}) was not delivered: {_ended(reason)} 'hermes-oscron update "
                    f"{job.instance} --deliver TARGET' names another target.")
    elif status in RAN:
        return None
    else:
        streak = job.record.get("failure_streak")
        runs = f"its last {streak} runs" if isinstance(streak, int) and streak > 1 else "its last run"
        reason = readable_error(job.record.get("last_error")) or "no reason is recorded."
        sentence = (f"{runs} failed, at {when}: {_ended(reason)} 'hermes-oscron runs {job.instance}' lists its "
                    f"outputs; 'hermes-oscron run {job.instance}' runs it again.")
    return Finding(WARNING, job.instance, f"{job.instance}: {sentence}")


def _ended(reason: object) -> str:
    """Return `reason`, which may be anything, with a full stop."""
    text = str(reason).rstrip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _journal(job: Job, scheduler: Scheduler) -> str:
    """Return the command that prints the journal of the runs of `job`."""
    if scheduler.kind == Crontab.kind:
        return f"'journalctl -t hermes-job@{job.id}'."
    return f"'journalctl {'--user ' if own_systemctl().user else ''}-u hermes-job@{job.instance}'."
