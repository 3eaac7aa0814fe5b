"""Checks of a job's fields that depend on this machine: on its profiles, scripts and folders, and on its agent."""

import os
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from .. import config
from ..errors import cause, shortened
from ..hermes import agent, agent_facts
from ..hermes.home import Home, ProfileNotFound, ScriptPathError, execution_home, home_of, script_path
from ..hermes.timezone import home_zone
from ..jobs.fields import ValidationError
from ..jobs.model import Job
from ..jobs.record import Record
from ..runner import command
from ..schedule.model import Schedule
from ..schedule.zones import cron_zone

NEWER_FIELDS = frozenset({"failure_deliver", "interpreter", "monitor_script", "monitor_url", "pinned",
                          "reasoning_effort"})
"""Fields that the agent has from 0.22 on. An older one would run such a job without regard to them."""
MODEL_FIELDS = ("provider", "model", "base_url", "no_agent")
"""Fields that decide which model a job uses, beside the configuration of the profile that it runs in."""


def check_on_machine(fields: dict[str, Any], home: Home) -> dict[str, Any]:
    """Return the checked `fields`. Raises ValidationError if one names something that does not exist."""
    try:
        if profile := fields.get("profile"):
            home_of(home.root, profile)
        for field in ("script", "monitor_script"):
            if script := fields.get(field):
                script_path(home, script)
    except ProfileNotFound as error:
        raise ValidationError(str(error)) from None
    except ScriptPathError as error:
        raise ValidationError(f"'{field}': {error}") from None
    folder = fields.get("workdir")
    if folder and (reason := command.why_closed(folder)):
        raise ValidationError(f"'workdir' must be a folder that exists and can be entered; {shortened(folder)}: "
                              f"{cause(reason)}")
    return fields


def with_zone_of_schedule(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the checked `fields` with the zone of a schedule like `CRON_TZ=Europe/Berlin 0 9 * * *` in the policy.

    Raises ValidationError if the policy has another one.
    """
    named, text = cron_zone(fields.get("schedule") or "")
    if not named:
        return fields
    given = fields.get("policy", {})
    if given.get("timezone", named) != named:
        raise ValidationError(f"'policy.timezone' is {given['timezone']}, and the schedule names {named}; leave one of "
                              f"them out.")
    return {**fields, "schedule": text, "policy": {**given, "timezone": named}}


def zone_with(fields: Mapping[str, Any], job: Job | None, of_home: ZoneInfo, defaults: Mapping[str, Any]) -> ZoneInfo:
    """Return the zone of the times of `job`, or of a new one, after a change of the checked `fields`."""
    given = fields.get("policy", {})
    if job and "timezone" not in given:
        return job.zone
    name = given.get("timezone") or defaults.get("timezone")
    return ZoneInfo(name) if name else of_home


def policy_in_zone(root: str, home: Home, zone: str) -> dict[str, str]:
    """Return the policy by which the times of a new job are in `zone`; empty if they are without one."""
    default = zone_with({}, None, home_zone(home), config.policy_of(root, home.profile))
    return {"timezone": zone} if zone != default.key else {}


def refuse_other_kind(schedule: Schedule, given: object) -> None:
    """Raise ValidationError if the schedule was `given` as an object that names another kind than `schedule` has."""
    if isinstance(given, dict) and given["kind"] != schedule.kind:
        raise ValidationError(f"'schedule': the kind of {shortened(given['expression'])} is '{schedule.kind}', not "
                              f"{shortened(str(given['kind']))}; give that kind, or another expression.")


def with_agent_fields(fields: dict[str, Any], before: Mapping[str, Any] | None, home: Home,
                      settings: config.Config) -> dict[str, Any]:
    """Return the checked `fields` with those that the agent at hand derives from them: a pinned model, snapshots.

    `before` is the record of a job that is changed. Raises ValidationError if the agent does not have one of `fields`.
    """
    fields = dict(fields)
    pinned = fields.pop("pinned", None)
    after = {**(before or {}), **fields}
    place = execution_home(home, after.get("profile"))
    try:
        python = agent.python_of(home.root, settings)
        facts = agent_facts.facts(python, place, os.environ, any_environment=True) if python else None
    except (agent.AgentNotFound, agent_facts.AgentBroken):
        python = facts = None  # doctor reports it
    if facts:
        given = {name for name in NEWER_FIELDS if fields.get(name)} | ({"pinned"} if pinned is not None else set())
        if missing := sorted(given - facts.fields):
            raise ValidationError(f"The installed Hermes agent has no '{missing[0]}': it would run the job without "
                                  f"regard to it. Upgrade the agent.")
    if pinned is False and "model" not in fields:
        fields |= {"provider": "", "model": ""}
    if python and pinned and not after.get("model"):
        fields |= _from_agent(python, place, {"pinned": True})
    if python and facts and facts.has_snapshots and _changes_model(before, after):
        # agents before 0.22 compare these at each run, to notice that the model of an unpinned job has changed
        fields |= {"provider_snapshot": None, "model_snapshot": None}
        if not after.get("no_agent"):
            fields |= _from_agent(python, place, {name: after.get(name) for name in MODEL_FIELDS})
    return fields


def notes(record: Record, home: Home, settings: config.Config) -> list[str]:
    """Return a sentence for each thing that the job of `record` asks for and does not get, as this machine is."""
    if reason := command.why_unrunnable(record, home, settings) or command.why_incomplete(record, home):
        return [f"the job will not run as it should. {reason}"]
    if keys := command.policy_without_effect(record, home, settings):
        return [f"'policy.{keys[0]}' has no effect: the Hermes agent runs this job, and decides whether it went well."]
    fields = command.fields_without_effect(record, home, settings)
    if not fields:
        return []
    names = " and ".join(filter(None, (", ".join(f"'{field}'" for field in fields[:-1]), f"'{fields[-1]}'")))
    return [f"{names} {'has' if len(fields) == 1 else 'have'} no effect: only the Hermes agent uses "
            f"{'it' if len(fields) == 1 else 'them'}, and it does not run this job."]


def _changes_model(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    return before is None or any((before.get(name) or None) != (after.get(name) or None)
                                 for name in (*MODEL_FIELDS, "profile"))


def _from_agent(python: str, home: Home, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return agent_facts.model_fields(python, home, given)
    except agent_facts.AgentBroken:
        return {}  # a model that cannot be found out stays open, as in the agent
