"""The JSON of a job, as clients get it."""

import datetime
from typing import Any

from ..schedule.display import display_schedule
from ..schedule.model import ONCE
from .due import ceil_to, held_until, next_run, why_never_fires
from .model import Job
from .record import ERROR, SCHEDULED, Record, deliver_of, hold_of, instant, readable_error, skills_of, text_of

DEFAULTS: dict[str, Any] = {
    "prompt": "", "deliver": "local", "skills": [], "model": None, "provider": None, "profile": None,
    "toast_notifications": True, "last_run_at": None, "last_status": None, "last_error": None,
    "last_delivery_error": None, "held": None, "queued": False,
    "policy": {}, "effective_policy": {},
}
"""Fields that every job shows, even if its record lacks them."""


def to_json(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> dict[str, Any]:
    """Return the fields of `job` at `now`; `next_run_at` is when a scheduler with `resolution` starts it."""
    record, zone = job.record, job.zone
    shown = {**DEFAULTS, **record, "owner_profile": job.profile, "read_only": False, "skills": skills_of(record)}
    shown["prompt"], shown["deliver"] = text_of(record.get("prompt")), deliver_of(record)
    names = (shown["prompt"], *shown["skills"], text_of(record.get("script")).strip(), job.id)
    shown["name"] = text_of(record.get("name")).strip() or next(filter(None, names))[:50]
    shown["state"], shown["enabled"] = job.state, job.state == SCHEDULED
    shown["last_error"] = readable_error(record.get("last_error"))
    shown["repeat"] = job.repeat._asdict()
    shown["toast_notifications"] = record.get("toast_notifications") is not False
    shown["held"], shown["queued"] = None, False
    own = record.get("policy")
    shown["policy"] = own if isinstance(own, dict) else {}
    shown["effective_policy"] = dict(job.policy)
    for key in ("last_run_at", "created_at", "paused_at"):
        moment = instant(record.get(key))
        shown[key] = moment.astimezone(zone).isoformat() if moment else None
    if job.own_schedule is None:
        return shown | {"state": ERROR, "next_run_at": None, "schedule": {"kind": "", "expression": ""},
                        "schedule_display": str(record.get("schedule_display") or _text_of_schedule(record))}
    hold = hold_of(record) if held_until(job, now) else None
    due = next_run(job, now)
    if due is None and job.is_scheduled and (job.own_schedule.kind != ONCE or why_never_fires(job, now)):
        shown["state"] = ERROR
    return shown | {
        "schedule": {"kind": job.own_schedule.kind, "expression": job.own_schedule.expression},
        "schedule_display": display_schedule(job.own_schedule, zone),
        "next_run_at": ceil_to(due, resolution).isoformat() if due else None,
        "held": f"held until {hold.until.astimezone(zone):%Y-%m-%d %H:%M %Z}: {hold.reason}" if hold else None,
    }


def _text_of_schedule(record: Record) -> str:
    stored = record.get("schedule")
    return stored if isinstance(stored, str) else ""


def unusable_to_json(job: Job) -> dict[str, Any]:
    """Return what clients see of a job whose record cannot be shown."""
    return {**DEFAULTS, "id": job.id, "name": job.id, "owner_profile": job.profile, "read_only": False, "state": ERROR,
            "enabled": False, "schedule": {"kind": "", "expression": ""}, "schedule_display": "", "next_run_at": None,
            "repeat": {"times": None, "completed": 0}, "created_at": None, "paused_at": None}
