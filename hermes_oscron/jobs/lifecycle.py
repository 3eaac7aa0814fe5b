"""The changes of a job: create, edit, pause, resume, record a run. Pure functions from Job to Job.

`now` is an aware time. `resolution` is that of the scheduler in which the job is armed.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from ..barrier import use_each, use_or_none
from ..schedule.model import CRON, INTERVAL, ONCE, Schedule, ScheduleError
from ..schedule.occurrences import next_occurrence
from . import fields as job_fields
from . import policy
from .claiming import drop_claims
from .due import first_due, floor_to, has_run, held_until, next_run
from .fields import ValidationError
from .model import NO_POLICY, Job
from .policy import ALL, SKIP
from .record import (
    COMPLETED,
    DELIVERY_FAILED,
    ERROR,
    HOLD_FIELDS,
    OK,
    PAUSED,
    RETRY_FIELD,
    SCHEDULED,
    Record,
    deliver_of,
    hold_of,
    instant,
    is_used_up,
    iso,
)

CREATED_PAUSED = "Created paused; awaiting operator approval."
"""The agent's own reason for a job that is created paused without one."""
PAUSED_BY_POLICY = "Paused by its policy"
NOT_STORED = ("repeat", "enabled", "paused", "paused_reason", "policy")
"""Fields that change others of the record."""


def create(profile: str, job_id: str, fields: Mapping[str, Any], schedule: Schedule, zone: ZoneInfo,
           now: datetime.datetime, resolution: datetime.timedelta, defaults: Mapping[str, Any] = NO_POLICY,
           home_zone: ZoneInfo | None = None) -> Job:
    """Return a new job of the checked `fields`, in a home in `home_zone` whose jobs have the policy `defaults`.

    `zone` is that of its own times. Raises ValidationError if it has nothing to run.
    """
    record: Record = {"id": job_id, **job_fields.defaults(), "state": SCHEDULED, "enabled": True,
                      "created_at": iso(now, zone)}
    enabled = fields.get("enabled", True) and not fields.get("paused")
    reason = fields.get("paused_reason") or (CREATED_PAUSED if fields.get("paused") else None)
    if reason and enabled:
        raise ValidationError("'paused_reason' is for a job that is created paused; set 'paused' too.")
    if own := policy.merged(NO_POLICY, fields.get("policy", NO_POLICY)):
        record["policy"] = own
    wanted = policy.over(defaults, own)
    policy.require_complete(wanted)
    job = Job(profile, record, zone, None, policy=wanted, defaults=defaults, home_zone=home_zone or zone)
    job = _reschedule(job, schedule, now, resolution)
    job = _require_work(_set_fields(job, fields))
    return job if enabled else pause(job, reason, now)


def edit(job: Job, fields: Mapping[str, Any], schedule: Schedule | None, now: datetime.datetime,
         resolution: datetime.timedelta) -> Job:
    """Return `job` with the checked `fields` and, if it differs, `schedule`.

    Raises ValidationError if nothing is left to run, and ScheduleError if `enabled` resumes a job that cannot be.
    """
    before = job
    if "policy" in fields:
        job = job.with_policy(fields["policy"])
    if schedule and schedule != job.own_schedule:
        job = _reschedule(job, schedule, now, resolution)
    elif job.own_schedule and job.own_schedule.kind == CRON and (
            (job.zone, job.schedule) != (before.zone, before.schedule)):
        job = _start_from(job.with_schedule(job.own_schedule), now, resolution)
    job = _set_fields(job, fields)
    if fields.keys() & {"prompt", "no_agent", "script", "monitor_script", "monitor_url"}:
        _require_work(job)
    if "enabled" in fields:
        return resume(job, now, resolution) if fields["enabled"] else pause(job, None, now)
    return job


def pause(job: Job, reason: str | None, now: datetime.datetime) -> Job:
    """Return `job` paused. Only a scheduled job changes."""
    if not job.is_scheduled:
        return job
    return job.without_fields("pending_slot").with_fields({
        "enabled": False, "state": PAUSED, "paused_at": iso(now, job.zone), "paused_reason": reason,
        "next_run_at": None})


def pause_if_failing(before: Job, after: Job, error: str | None, now: datetime.datetime) -> Job:
    """Return `after`, the job `before` with a run recorded, paused if as many have failed in a row as its policy names.

    The streak is counted here if the agent, which has recorded the run, does not count it. A job that waits for a retry
    is not paused.
    """
    limit = after.policy.get("pause_after")
    if not limit:
        return after
    streak = _streak(after)
    if streak == _streak(before):
        streak = streak + 1 if error else 0
        after = after.with_fields({"failure_streak": streak})
    if not error or streak < limit or not after.is_scheduled or hold_of(after.record):
        return after
    return pause(after, f"{PAUSED_BY_POLICY} after {streak} failed runs in a row. The last one: {error}", now)


def resume(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` scheduled again, from its next occurrence on; missed ones stay missed.

    A completed job is resumed only if it has runs left. Raises ScheduleError.
    """
    times, completed = job.repeat
    if job.is_scheduled or (job.state == COMPLETED and times is not None and completed >= times):
        return job
    if job.schedule is None:
        raise ScheduleError(job.schedule_error)
    if job.state == COMPLETED and (job.schedule.kind == ONCE or next_occurrence(job.schedule, now, job.zone) is None):
        return job
    if job.schedule.kind == ONCE and job.schedule.run_at <= now:
        raise ScheduleError(f"The job runs once, at {job.schedule.expression}, which is past: give it another time.")
    resumed = job.with_fields({"enabled": True, "state": SCHEDULED, "paused_at": None, "paused_reason": None})
    if str(job.record.get("paused_reason")).startswith(PAUSED_BY_POLICY):
        resumed = resumed.with_fields({"failure_streak": 0})
    return _start_from(_with_runs_left(resumed), now, resolution)


def resumed_during_run(job: Job, ended: datetime.datetime) -> Job:
    """Return the paused `job`, which was resumed during its run, scheduled again if its time is not over at `ended`."""
    return use_or_none(job.instance, job, lambda job: resume(job, ended, datetime.timedelta(seconds=1))) or job


def record_run(job: Job, started: datetime.datetime, ended: datetime.datetime, error: str | None,
               delivery_error: str | None = None, claims: Iterable[str] = (),
               due: datetime.datetime | None = None) -> Job:
    """Return `job` after a run from `started` to `ended`, which failed with `error` or went well.

    A manual run counts as any other, as in the agent, and a paused job stays paused. A paused one-shot is still to run
    at its time when it is resumed, so it does not count. A job that was rescheduled during the run keeps its new
    schedule and count. The claims `claims` end. `due` is the occurrence that the run answered, if any. A hold ends with
    a run that goes well; one that fails does not shorten it.
    """
    status = ERROR if error else DELIVERY_FAILED if delivery_error else OK
    job = drop_claims(job, claims).without_fields("pending_slot", "manual_run_at", "manual_run_prompt")
    job = job.with_fields({"last_run_at": iso(ended, job.zone), "last_status": status, "last_error": error,
                           "last_delivery_error": delivery_error, **_failures(job, ended, error)})
    rescheduled_at = instant(job.record.get("armed_at"))
    if rescheduled_at and rescheduled_at > started:
        return job
    schedule = job.schedule
    if job.state == PAUSED and schedule and schedule.kind == ONCE:
        return job
    repeat = job.repeat
    times, completed = repeat
    job = job.with_repeat(times, completed + 1)
    if not job.is_scheduled:
        return job
    if schedule is None:
        return job.with_fields({"state": ERROR, "next_run_at": None, "last_error": error or job.schedule_error})
    found, errors = use_each({job.instance: job}, lambda job: _following(job, schedule, due, started, ended,
                                                                         job.phase))
    if errors:
        return job.with_fields({"state": ERROR, "next_run_at": None, "last_error": error or errors[job.instance]})
    following = found[job.instance]
    held = held_until(job, ended) if error else None
    if schedule.kind == ONCE:  # the agent counts a one-shot when it begins
        job = job.with_repeat(times, min(completed + 1, times or completed + 1))
    if schedule.kind == ONCE or repeat.is_last_run or following is None:
        return job.with_fields({"state": COMPLETED, "enabled": False, "next_run_at": None})
    if held:
        return job.with_fields({"state": SCHEDULED})
    return job.without_fields(*HOLD_FIELDS).with_fields({"state": SCHEDULED, "next_run_at": iso(following, job.zone)})


def _following(job: Job, schedule: Schedule, due: datetime.datetime | None, started: datetime.datetime,
               ended: datetime.datetime, phase: datetime.datetime | None) -> datetime.datetime | None:
    """Return when `job` is due after a run that was `due`; by its policy that may be before the end of the run."""
    missed = next_occurrence(schedule, due, job.zone, phase) if due and job.policy.get("catch_up") == ALL else None
    if missed and missed <= started:
        return missed
    during = next_occurrence(schedule, started, job.zone, phase)
    if during and during <= ended and job.policy.get("overlap") not in (None, SKIP):
        return during
    return next_occurrence(schedule, ended, job.zone, phase)


def correct_after_agent(job: Job, before: Job, ended: datetime.datetime,
                        started: datetime.datetime | None = None, due: datetime.datetime | None = None) -> Job:
    """Return `job`, in which the agent has recorded a run, with the next run by our arithmetic.

    The agent counts an interval from the end of the run, croniter ignores clock changes, and both give a paused job a
    next run. `before` is the job when the run began; if it was rescheduled since, it is not changed, and neither is one
    that the agent holds.
    """
    rescheduled = any(job.record.get(key) != before.record.get(key) for key in ("schedule", "armed_at"))
    if before.state == PAUSED and job.state == COMPLETED and job.schedule == before.schedule:
        job = _paused_again(job, before)
        return resumed_during_run(job, ended) if rescheduled else job
    if rescheduled or job.state == COMPLETED or hold_of(job.record):
        return job
    if job.state == PAUSED:
        return job.with_fields({"next_run_at": None})
    schedule = job.schedule
    if schedule is None:
        return job
    found, errors = use_each({job.instance: job}, lambda job: _following(
        job, schedule, due, started or ended, ended, before.phase))
    if errors:
        return job
    following = found[job.instance]
    job = job.without_fields(RETRY_FIELD)
    return job.with_fields({"next_run_at": iso(following, job.zone) if following else None})


def refresh_next_run(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` with the next run at which the scheduler starts it; a one-shot that has run is completed.

    Other programs write records with an arithmetic of their own, or without a next run. A job that is due already is
    not changed until it has run, and neither is one that the agent holds.
    """
    written = job.next_run_at
    if job.schedule is None or not job.is_scheduled or (written and written <= now) or held_until(job, now):
        return job
    if job.schedule.kind == ONCE and has_run(job, now):
        return job.with_fields({"state": COMPLETED, "enabled": False})
    kept = first_due(job, now, resolution)
    return job if kept is None or kept == written else job.with_fields({"next_run_at": kept.isoformat()})


def undo(current: Job, before: Job, after: Job, now: datetime.datetime) -> Job:
    """Return `current` without what a command changed from `before` to `after`.

    A run that ended since stays recorded, and its occurrence does not become due again.
    """
    record = dict(current.record)
    for key in {*before.record, *after.record}:
        if before.record.get(key) != after.record.get(key) and record.get(key) == after.record.get(key):
            record[key] = before.record.get(key)
            if key not in before.record:
                del record[key]
    job = current.with_record(record)
    if job.schedule and job.last_run_at != before.last_run_at and not hold_of(job.record):
        due = next_run(job, now)
        return job.with_fields({"next_run_at": due.isoformat() if due else None})
    return job


def _set_fields(job: Job, given: Mapping[str, Any]) -> Job:
    """Return `job` with the checked fields `given`, except `enabled`. Where a text may be empty, "" clears it."""
    changes = {key: job_fields.stored(key, value) for key, value in given.items() if key not in NOT_STORED}
    record = {**job.record, **changes}
    changes["deliver"] = deliver_of(record)
    if "skills" in given:
        changes["skill"] = given["skills"][0] if given["skills"] else None
    if not str(record.get("name") or "").strip():
        changes["name"] = (str(record.get("prompt") or "").strip() or str(record.get("script") or ""))[:50].strip()
    job = job.with_fields(changes)
    if "repeat" in given:
        return job.with_repeat(given["repeat"] or _default_times(job.schedule), job.repeat.completed)
    return job


def _require_work(job: Job) -> Job:
    """Return `job`. Raises ValidationError if it has nothing to run, or fields that exclude each other."""
    monitors = [field for field in ("monitor_script", "monitor_url") if job.record.get(field)]
    if len(monitors) == 2:
        raise ValidationError("A job has 'monitor_script' or 'monitor_url', not both; clear one of them.")
    if monitors and job.record.get("no_agent"):
        raise ValidationError(f"'{monitors[0]}' decides whether the agent runs, so a job with no_agent cannot have it.")
    if job.record.get("no_agent"):
        if not job.record.get("script"):
            raise ValidationError("script is missing: a job with no_agent runs a script.")
    elif not str(job.record.get("prompt") or "").strip():
        raise ValidationError("prompt is missing.")
    return job


def _reschedule(job: Job, schedule: Schedule, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` on `schedule` from `now` on; a completed job is scheduled again.

    A one-shot runs once and any other job without a limit, unless the client has set a count.
    """
    times, completed = job.repeat
    before = job.record.get("schedule")
    if times in (None, 1) and (not isinstance(before, dict) or schedule.kind != before.get("kind")):
        times = _default_times(schedule)
    job = job.with_schedule(schedule)
    if job.state in (COMPLETED, ERROR):
        job = job.with_fields({"state": SCHEDULED, "enabled": True, "paused_at": None, "paused_reason": None})
        completed = 0
    return _start_from(_with_runs_left(job.with_repeat(times, completed)), now, resolution)


def _with_runs_left(job: Job) -> Job:
    """Return `job`, with its count of runs reset if it is a one-shot that has used it up."""
    return job.with_repeat(job.repeat.times, 0) if is_used_up(job.record) else job


def _default_times(schedule: Schedule | None) -> int | None:
    return 1 if schedule and schedule.kind == ONCE else None


def _start_from(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` due from `now` on only; an interval counts from there."""
    job = job.without_fields("pending_slot", *HOLD_FIELDS)
    job = job.with_fields({"next_run_at": None, "armed_at": iso(now, job.zone)})
    if not job.is_scheduled or job.schedule is None:
        return job
    if job.schedule.kind == ONCE:
        due: datetime.datetime | None = job.schedule.run_at
    else:
        due = next_occurrence(job.schedule, now, job.zone)
        if due and job.schedule.kind == INTERVAL:
            due = floor_to(due, resolution)
    return job.with_fields({"next_run_at": iso(due, job.zone) if due else None})


def _paused_again(job: Job, before: Job) -> Job:
    """Return `job`, which the agent completed when it was run by hand, paused as it was `before`.

    The agent does not run a one-shot whose count is used up, so that count is restored too.
    """
    kept = ["state", "enabled", "paused_at", "paused_reason"]
    if before.schedule and before.schedule.kind == ONCE:
        kept.append("repeat")
    fields = {key: before.record[key] for key in kept if key in before.record}
    return job.with_fields({**fields, "next_run_at": None})


def _streak(job: Job) -> int:
    streak = job.record.get("failure_streak")
    return streak if type(streak) is int else 0


def _failures(job: Job, ended: datetime.datetime, error: str | None) -> Record:
    """Return what the agent keeps of failed runs: how many there were in a row, and the last one."""
    if not error:
        return {"failure_streak": 0}
    return {"failure_streak": _streak(job) + 1,
            "last_failure": {"at": iso(ended, job.zone), "detail": error}}
