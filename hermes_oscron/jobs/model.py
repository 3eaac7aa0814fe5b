"""The Job type: a record of jobs.json, parsed once.

The record is the agent's (`schedule: {kind, expr | minutes | run_at, display}`). Keys that this program does not use
are kept.
"""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from reprlib import repr as short_repr
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ..barrier import use_each, use_or_none
from ..schedule import cron
from ..schedule.display import display_schedule
from ..schedule.model import CRON, INTERVAL, ONCE, Schedule, ScheduleError, cron_schedule, interval, once_in_zone
from .record import RETRY_FIELD, SCHEDULED, Record, Repeat, hold_of, instant, next_run_of, repeat_of, state_of

NO_POLICY: Mapping[str, Any] = MappingProxyType({})
MAX_STORED_INTERVAL_MINUTES = 10_000_000
"""19 years. The agent has no limit, but dates have."""


class Job(NamedTuple):
    """One job of one profile. `record` is shared with the store's cache: never change it in place.

    `zone` is the zone of the job's wall-clock times, `home_zone` that of jobs without one of their own. The job is due
    by `schedule`: its `own_schedule`, from the record, delayed by the jitter of its policy. Both are None if the record
    has no usable schedule or policy; `schedule_error` then gives the reason. `policy` is the one in force, with the
    `defaults` of its profile.
    """

    profile: str
    record: Record
    zone: ZoneInfo
    schedule: Schedule | None
    schedule_error: str = ""
    policy: Mapping[str, Any] = NO_POLICY
    defaults: Mapping[str, Any] = NO_POLICY
    home_zone: ZoneInfo | None = None
    own_schedule: Schedule | None = None

    @classmethod
    def from_record(cls, profile: str, record: Record, home_zone: ZoneInfo,
                    defaults: Mapping[str, Any] = NO_POLICY) -> "Job":
        """Parse `record`, of a home in `home_zone`. Never raises: an unusable schedule or policy is a value."""
        instance = f"{profile}:{record['id']}"
        policies, wrong = use_each({instance: record}, lambda record: _policy(record, defaults))
        policy = policies.get(instance, defaults)
        zones, wrong_zone = use_each({instance: record}, lambda record: _zone(record, policy, home_zone))
        zone = zones.get(instance, home_zone)
        schedules, errors = use_each({instance: record}, lambda record: _stored_schedule(record, zone))
        errors |= wrong_zone | wrong
        own = None if errors else schedules[instance]
        return cls(profile, record, zone, own and _with_jitter(own, record, policy), errors.get(instance, ""), policy,
                   defaults, home_zone, own)

    def with_record(self, record: Record) -> "Job":
        """Return the job that `record` is in the same home."""
        return Job.from_record(self.profile, record, self.home_zone or self.zone, self.defaults)

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def instance(self) -> str:
        """The name outside this profile: `default:4f2a9c1d07be`."""
        return f"{self.profile}:{self.record['id']}"

    @property
    def state(self) -> str:
        return state_of(self.record)

    @property
    def is_scheduled(self) -> bool:
        return state_of(self.record) == SCHEDULED

    @property
    def repeat(self) -> Repeat:
        return repeat_of(self.record)

    @property
    def next_run_at(self) -> datetime.datetime | None:
        """The next run in the record, in UTC. `due.next_run` gives the time at which the job is really due."""
        return next_run_of(self.record)

    @property
    def last_run_at(self) -> datetime.datetime | None:
        """The end of the last run, in UTC."""
        return instant(self.record.get("last_run_at"))

    @property
    def phase(self) -> datetime.datetime | None:
        """An instant, on a whole second, at which an interval job is due."""
        hold = hold_of(self.record) if RETRY_FIELD in self.record else None
        known = (hold and hold.due) or self.next_run_at or instant(self.record.get("created_at"))
        return known.replace(microsecond=0) if known else None

    def with_fields(self, fields: Mapping[str, Any]) -> "Job":
        """Return a copy with `fields` set in the record. The schedule is not one of them: see `with_schedule`."""
        return self._replace(record={**self.record, **fields})

    def without_fields(self, *keys: str) -> "Job":
        """Return a copy without the fields `keys` in the record."""
        if not any(key in self.record for key in keys):
            return self
        return self._replace(record={key: value for key, value in self.record.items() if key not in keys})

    def with_schedule(self, schedule: Schedule) -> "Job":
        """Return a copy with `schedule`, stored as the agent stores it."""
        stored, before = stored_schedule(schedule, self.zone), self.record.get("schedule")
        if isinstance(before, dict) and "tz" in before:
            stored["tz"] = before["tz"]
        record = {**self.record, "schedule": stored, "schedule_display": stored["display"]}
        return self._replace(record=record, schedule=_with_jitter(schedule, record, self.policy), schedule_error="",
                             own_schedule=schedule)

    def with_policy(self, changes: Mapping[str, Any]) -> "Job":
        """Return a copy with the checked `changes` of the policy; null removes a key.

        Raises ValidationError if a key needs another one.
        """
        from . import policy

        present = use_or_none(self.instance, self.record, policy.stored) or {}
        job = self.with_fields({"policy": policy.merged(present, changes)})
        job = self.with_record((job if job.record["policy"] else job.without_fields("policy")).record)
        if "policy" in job.record:
            policy.require_complete(job.policy)
        return job

    def with_repeat(self, times: int | None, completed: int) -> "Job":
        """Return a copy with the repeat count; other keys that are stored beside it are kept."""
        stored = self.record.get("repeat")
        kept = stored if isinstance(stored, dict) else {}
        return self.with_fields({"repeat": {**kept, "times": times, "completed": completed}})


def stored_schedule(schedule: Schedule, zone: ZoneInfo) -> Record:
    """Return `schedule` as the agent stores it."""
    display = display_schedule(schedule, zone)
    if schedule.kind == CRON:
        return {"kind": CRON, "expr": schedule.expression, "display": display}
    if schedule.kind == INTERVAL:
        return {"kind": INTERVAL, "minutes": int(schedule.period.total_seconds()) // 60, "display": display}
    return {"kind": ONCE, "run_at": schedule.expression, "display": display}


def _policy(record: Record, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the policy of `record`, with `defaults` for the keys that it does not have. Raises ValidationError."""
    if not record.get("policy"):
        return defaults
    from . import policy  # few jobs have one, and the import would delay all others

    return policy.over(defaults, policy.stored(record))


def _zone(record: Record, policy: Mapping[str, Any], home_zone: ZoneInfo) -> ZoneInfo:
    """Return the zone in the own policy of `record`, else the `tz` of its schedule, else the default one.

    A `tz` that is not a text is ignored, as by the agent. Raises ScheduleError.
    """
    stored = record.get("schedule")
    named = stored.get("tz") if isinstance(stored, dict) else None
    name = named if isinstance(named, str) else None
    if "timezone" in policy and (not name or "timezone" in (record.get("policy") or {})):
        name = policy["timezone"]
    if not name:
        return home_zone
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ScheduleError(f"There is no time zone {short_repr(name)}, which the record's schedule names.") from None


def _stored_schedule(record: Record, zone: ZoneInfo) -> Schedule:
    """Parse the `schedule` of `record`. Raises ScheduleError."""
    stored = record.get("schedule")
    if isinstance(record.get("state"), list | dict):  # the agent skips such a job
        raise ScheduleError("The record's state is not a text.")
    if isinstance(stored, str):
        raise ScheduleError(f"The record's schedule is a text, {short_repr(stored)}, and not an object: the agent does "
                            f"not run the job either.")
    if not isinstance(stored, dict):
        raise ScheduleError("The record has no schedule: it must be an object with a 'kind'.")
    kind = stored.get("kind")
    if kind == CRON and isinstance(stored.get("expr"), str):
        return _stored_cron(stored["expr"])
    minutes = stored.get("minutes")
    if kind == INTERVAL and isinstance(minutes, int | float) and 0 < minutes <= MAX_STORED_INTERVAL_MINUTES:
        if minutes % 1:
            raise ScheduleError(f"The record's schedule is not of whole minutes: {short_repr(stored)}")
        return interval(int(minutes))  # 30.0 is a whole number too
    if kind == ONCE and isinstance(stored.get("run_at"), str) and (run_at := instant(stored["run_at"])):
        return once_in_zone(run_at, zone)
    raise ScheduleError(f"The record's schedule is not a schedule: {short_repr(stored)}")


def _with_jitter(schedule: Schedule, record: Record, policy: Mapping[str, Any]) -> Schedule:
    """Return the own `schedule` of the job `record`, later by the jitter of its `policy`."""
    if "jitter" not in policy:
        return schedule
    from ..schedule.jitter import delayed  # few jobs have one

    return delayed(schedule, str(record["id"]), policy["jitter"])


@lru_cache(maxsize=4096)
def _stored_cron(expression: str) -> Schedule:
    return cron_schedule(cron.canonical(cron.without_second(expression)))
