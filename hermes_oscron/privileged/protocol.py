"""The requests of an account to root's helper, and the answers: a line of JSON each, on a unix socket.

A request has a command and items. Those of `arm` are plans, each a list of the instance, the kind and the expression of
the schedule, the zone and the phase, and of the limits, if there are any: numbers in the order of `Limits`. `disarm`
removes the timers of instances; `delete` also clears the failed state of their last runs. `disarm-all` has no items.
`start` starts runs of instances, each a name, or a list of the name and the limits. `watch` watches the jobs of exactly
the profiles that it names.
"""

import datetime
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ..barrier import use_each
from ..hermes.home import SAFE_NAME
from ..hermes.timezone import machine_zone
from ..jobs.model import MAX_STORED_INTERVAL_MINUTES
from ..jobs.policy_types import ZONE_NAME
from ..schedule import cron
from ..schedule.model import CRON, INTERVAL, MAX_YEAR, ONCE, UNIT_MINUTES, Schedule, ScheduleError, interval, once
from ..schedulers.protocol import NO_LIMITS, Limits, Plan
from ..schedulers.systemd.drop_in import SETTINGS
from ..schedulers.systemd.path_watch import MAX_WATCHED_PROFILES

SOCKET_PATH = "/run/hermes-oscron-root"
MAX_ITEMS = 500
"""The number of items of one request, which limits the time that it takes."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024
ARM, DISARM, DELETE, DISARM_ALL, START, WATCH = COMMANDS = ("arm", "disarm", "delete", "disarm-all", "start", "watch")
MAX_ITEMS_OF = {DISARM_ALL: 0, WATCH: MAX_WATCHED_PROFILES}
MAX_PHASE = datetime.datetime(MAX_YEAR, 12, 31, tzinfo=datetime.UTC).timestamp()
INSTANCE = re.compile(f"{SAFE_NAME.pattern}:{SAFE_NAME.pattern}")


class ProtocolError(ValueError):
    """A malformed request. The text gives the reason."""


class Request(NamedTuple):
    """One request."""

    command: str
    items: Sequence[Any] = ()

    def line(self) -> bytes:
        """Return the request as a line of JSON."""
        return json.dumps(self._asdict()).encode() + b"\n"


def plan_item(plan: Plan) -> list[Any]:
    """Return `plan` as an item of `arm`; its phase as unix seconds."""
    phase = int(plan.phase.replace(microsecond=0).timestamp()) if plan.phase else None
    limits = [list(plan.limits)] if plan.limits != NO_LIMITS else []
    return [plan.instance, *plan.schedule, plan.zone.key, phase, *limits]


def parse_request(line: bytes) -> Request:
    """Parse a request, and check all names in it. Raises ProtocolError."""
    if len(line) > MAX_REQUEST_BYTES:
        raise ProtocolError(f"Request is longer than {MAX_REQUEST_BYTES} bytes.")
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("Request is not valid JSON.") from None
    if (not isinstance(given, dict) or given.keys() != {*Request._fields} or given["command"] not in COMMANDS
            or not isinstance(given["items"], list)):
        raise ProtocolError(f"Malformed request, perhaps of another version of hermes-oscron: expected a command, one "
                            f"of {', '.join(COMMANDS)}, and a list of items.")
    command, items = given["command"], given["items"]
    most = MAX_ITEMS_OF.get(command, MAX_ITEMS)
    if len(items) > most:
        raise ProtocolError(f"Malformed request: '{command}' has at most {most} items.")
    pattern, form = (SAFE_NAME, "a name") if command == WATCH else (INSTANCE, "PROFILE:JOB_ID")
    for item in items:
        with_more = isinstance(item, list) and (command == ARM or (command == START and len(item) == 2))
        name = item[0] if with_more and item else None if command == ARM else item
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise ProtocolError(f"Malformed request: {str(name)[:80]!a} is not {form}.")
    return Request(command, items)


def parse_starts(items: Sequence[Any]) -> dict[str, Limits]:
    """Return the limits of each instance in the checked `items` of `start`. Raises ScheduleError."""
    return {item: NO_LIMITS for item in items if isinstance(item, str)} | {
        item[0]: _limits(item[1]) for item in items if isinstance(item, list)}


def parse_plans(items: Sequence[Any]) -> tuple[dict[str, Plan], dict[str, str]]:
    """Return the plans in the checked `items` of `arm`, and the errors, by instance."""
    return use_each({item[0]: item for item in items}, _plan)


def _plan(item: Any) -> Plan:
    """Return the plan in `item`, whose every part is parsed again. Raises ScheduleError."""
    match item:
        case [str(instance), str(kind), str(expression), str(zone), None, *more] if len(more) <= 1:
            phase = None
        case [str(instance), str(kind), str(expression), str(zone), int(seconds), *more] if (
                len(more) <= 1 and 0 <= seconds <= MAX_PHASE):
            phase = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        case _:
            raise ScheduleError("Its plan is malformed: expected an instance, a kind, an expression, a zone, a phase "
                                "and limits.")
    return Plan(instance, _schedule(kind, expression), _zone(zone), phase,
                limits=_limits(more[0]) if more else NO_LIMITS)


def _limits(given: Any) -> Limits:
    """Return the limits `given`, each None or a whole number within its bounds. Raises ScheduleError."""
    if isinstance(given, list) and len(given) == len(Limits._fields):
        limits = Limits(*given)
        if all(value is None or (type(value) is int and SETTINGS[name].least <= value <= SETTINGS[name].most)
               for name, value in limits._asdict().items()):
            return limits
    raise ScheduleError("Its limits are malformed: expected whole numbers within their bounds.")


def _schedule(kind: str, expression: str) -> Schedule:
    """Return the schedule of `kind` whose canonical expression is `expression`. Raises ScheduleError."""
    parsed = None
    if kind == CRON:
        parsed = Schedule(CRON, cron.canonical(expression))
    elif kind == INTERVAL and (match := re.fullmatch(r"every ([1-9][0-9]{0,7})([mhd])", expression)):
        minutes = int(match[1]) * UNIT_MINUTES[match[2]]
        parsed = interval(minutes) if minutes <= MAX_STORED_INTERVAL_MINUTES else None
    elif kind == ONCE:
        try:
            run_at = datetime.datetime.fromisoformat(expression)
        except ValueError:
            run_at = datetime.datetime.min
        parsed = once(run_at) if run_at.tzinfo and 1 < run_at.year <= MAX_YEAR else None
    if parsed != (kind, expression):
        raise ScheduleError(f"{expression[:80]!a} is not the canonical form of a schedule of the kind {kind[:80]!a}.")
    return parsed


def _zone(name: str) -> ZoneInfo:
    """Return the zone `name`, which can be the machine's own without a name of its own. Raises ScheduleError."""
    machine = machine_zone()
    if name == machine.key:
        return machine
    try:
        if re.fullmatch(ZONE_NAME, name):
            return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        pass
    raise ScheduleError(f"{name[:80]!a} is not a time zone.")
