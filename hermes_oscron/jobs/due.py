"""Compute when a job runs next, and whether it is due now."""

import datetime
from itertools import islice

from ..schedule.model import INTERVAL, ONCE
from ..schedule.occurrences import latest_occurrence, next_occurrence, occurrences
from .model import Job
from .record import COMPLETED, ERROR, PAUSED, hold_of, instant, is_used_up

RECENT = datetime.timedelta(minutes=1)
"""An occurrence that `next_run_at` does not mention counts if it is not older than this. See `is_due`."""

SECOND = datetime.timedelta(seconds=1)
MIN_GRACE, MAX_GRACE = datetime.timedelta(minutes=2), datetime.timedelta(hours=2)
"""The bounds of the time for which an occurrence is late and not yet missed, as in the agent."""


def next_run(job: Job, now: datetime.datetime) -> datetime.datetime | None:
    """Return when the operating system runs `job` next, in the job's zone; None if it will not.

    A one-shot that is past and has not run is still due. The end of a hold comes before the schedule.
    """
    if not job.is_scheduled or job.schedule is None:
        return None
    if held := held_until(job, now):
        return held.astimezone(job.zone)
    if job.schedule.kind == ONCE:
        return None if has_run(job, now) or is_over(job, now) else job.schedule.run_at.astimezone(job.zone)
    due = next_occurrence(job.schedule, not_before_set(job, now), job.zone, job.phase)
    return due.astimezone(job.zone) if due else None


def not_before_set(job: Job, now: datetime.datetime) -> datetime.datetime:
    """Return `now`, or the time after it at which the schedule of `job` was set.

    The clock is read before the jobs. A job that was created in between is not due before its creation, to which an
    interval counts back. If it was set RECENT or more after `now`, the clock was wrong then, and the time is ignored.
    """
    set_at = instant(job.record.get("armed_at") or job.record.get("created_at"))
    return set_at if set_at and now < set_at < now + RECENT else now


def fires_alike(before: Job, after: Job, now: datetime.datetime) -> bool:
    """Return True if what is armed for the job `before` is right for `after` too, as far as `now` shows.

    A hold is armed as a single occurrence, also when it is over; an interval that is not perpetual as a few ones, which
    each run renews.
    """
    if hold_of(before.record) or hold_of(after.record):
        return False
    if before.zone != after.zone or before.policy != after.policy:
        return False
    if after.schedule and not after.schedule.is_perpetual and before.next_run_at != after.next_run_at:
        return False
    return (before.state, before.schedule, next_run(before, now)) == (after.state, after.schedule, next_run(after, now))


def held_until(job: Job, now: datetime.datetime) -> datetime.datetime | None:
    """Return the end of the hold of `job`, if it is later than `now`, else None. The agent holds no one-shot."""
    hold = hold_of(job.record)
    if hold is None or hold.until <= now or job.schedule is None:
        return None
    return hold.until if hold.retry or job.schedule.kind != ONCE else None


def has_run(job: Job, now: datetime.datetime) -> bool:
    """Return True if the one-shot `job` has run at its time or later, up to `now`.

    A run in the future does not count: it was recorded by a clock that was ahead.
    """
    return bool(job.schedule and job.last_run_at and job.schedule.run_at <= job.last_run_at <= now)


def is_over(job: Job, now: datetime.datetime) -> bool:
    """Return True if the agent would no longer run the one-shot `job`, though no run at its time is recorded.

    Its runs are used up; or the record has no next run, and either it has run before or its time is long past.
    """
    if job.schedule is None or job.schedule.kind != ONCE:
        return False
    return is_used_up(job.record) or (job.next_run_at is None and (
        job.schedule.run_at < now - MIN_GRACE or (job.last_run_at is not None and job.last_run_at <= now)))


def why_never_fires(job: Job, now: datetime.datetime) -> str:
    """Return why `job` can never fire though it should: a sentence, empty if it can. A past one-shot still can."""
    if job.state == COMPLETED or (job.state == PAUSED and job.schedule):
        return ""
    if job.schedule is None:
        return job.schedule_error
    if job.schedule.kind != ONCE:
        return "" if next_occurrence(job.schedule, now, job.zone) else "its schedule has no occurrence left."
    if job.state == ERROR:
        return "it runs once, and its state is 'error'."
    if has_run(job, now) or not is_over(job, now) or job.record.get("run_claim") or job.record.get("fire_claim"):
        return ""
    return ("it runs once, and its count of runs is used up." if is_used_up(job.record) else
            "it runs once, its time is past, and it has no 'next_run_at'.")


def is_due(job: Job, now: datetime.datetime) -> bool:
    """Return True if `job` has an occurrence, up to `now`, that no run has answered yet.

    `next_run_at` decides: it moves on when a run ends, and when a scheduler, the agent's own too, claims the
    occurrence. The schedule decides only if `next_run_at` is not the occurrence that follows `now`: the clock may have
    been set back, or the schedule changed, and a job must not wait for a date that was never meant. Without a
    `next_run_at` the job is due, since the caller was started by a timer or a crontab line.
    """
    written = job.next_run_at
    if is_over(job, now):
        return False
    if written is None:
        return True
    written = written.replace(microsecond=0)
    if written <= now:
        return True
    if job.schedule is None or held_until(job, now):
        return False
    if next_occurrence(job.schedule, now, job.zone, written) == written:
        return False
    return latest_occurrence(job.schedule, now - RECENT, now, job.zone, written) is not None


def is_requested(job: Job) -> bool:
    """Return True if `next_run_at` is the time at which `hermes cron run` has requested a run.

    The agent 0.19 stores only that, to the microsecond. The occurrences of cron expressions are on whole seconds. Those
    of its one-shots and intervals are not, and a request for an interval cannot be recognised.
    """
    due, requested, schedule = job.next_run_at, job.record.get("manual_run_at"), job.schedule
    if requested is not None and requested == job.record.get("next_run_at"):
        return True
    if due is None or not due.microsecond or schedule is None or schedule.kind == INTERVAL or hold_of(job.record):
        return False
    return schedule.kind != ONCE or abs(schedule.run_at - due) >= SECOND


def is_missed(job: Job, now: datetime.datetime) -> bool:
    """Return True if `job` is due, and its last occurrence is longer ago than the agent's grace.

    The grace is half the time between two occurrences, from two minutes to two hours. A one-shot, and a run that was
    requested by `hermes cron run`, are not missed.
    """
    written, schedule = job.next_run_at, job.schedule
    if written is None or schedule is None or schedule.kind == ONCE or not job.is_scheduled:
        return False
    if now - written <= MIN_GRACE or is_requested(job):
        return False
    first, second = (*islice(occurrences(schedule, now, job.zone, job.phase), 2), None, None)[:2]
    if first is None or second is None:
        return False
    grace = min(max((second - first) / 2, MIN_GRACE), MAX_GRACE)
    return now - written > grace and latest_occurrence(schedule, now - grace, now, job.zone, job.phase) is None


def start_limit(job: Job, now: datetime.datetime, missed: bool = True) -> datetime.datetime | None:
    """Return the time of which occurrences up to `now` may still begin, by the policy of `job`; None if all may.

    Those that were `missed` have a limit of their own, which does not count for one that waits in the queue.
    """
    from .policy import ALL, ALL_WINDOW_S  # few jobs that are late have a policy

    seconds = [job.policy.get("start_deadline")]
    if missed:
        window = ALL_WINDOW_S if job.policy.get("catch_up") == ALL else None
        seconds.append(job.policy.get("catch_up_window", window))
    given = [each for each in seconds if each is not None]
    return now - datetime.timedelta(seconds=min(given)) if given else None


def first_due(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return the first time after `now` at which a scheduler with `resolution` starts `job`.

    An interval is moved back to the scheduler's grid, unless that is past. With the seconds kept, a run of some seconds
    under cron could last past the next minute and cost it.
    """
    due = next_run(job, now)
    if due is None or job.schedule is None or job.schedule.kind != INTERVAL:
        return due
    kept = floor_to(due, resolution)
    return kept if kept > now else ceil_to(due, resolution)


def floor_to(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime:
    """Return the last multiple of `resolution` that is not after `moment`."""
    return _earlier(moment, _past(moment, resolution))


def ceil_to(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime:
    """Return the first multiple of `resolution` not before `moment`: when a scheduler can start a job due then."""
    past = _past(moment, resolution)
    return _earlier(moment, past - resolution) if past else moment


def _past(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.timedelta:
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) % resolution


def _earlier(moment: datetime.datetime, time: datetime.timedelta) -> datetime.datetime:
    """Return the instant `time` before `moment`, in its zone.

    It computes in UTC: Python's arithmetic in a zone always takes the first pass of an hour that a clock change
    repeats.
    """
    return (moment.astimezone(datetime.UTC) - time).astimezone(moment.tzinfo)
