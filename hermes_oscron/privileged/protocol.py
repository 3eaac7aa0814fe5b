"""The requests of an account to root's helper, and the answers: a line of JSON each, on a unix socket.

A request has a command and items. Those of `arm` are plans, each a list of the instance, the kind and the expression of
the schedule, the zone and the phase. `disarm` removes the timers of instances; `delete` also clears the failed state of
their last runs. `disarm-all` has no items. `start` starts runs of instances. `watch` watches the jobs of exactly the
profiles that it names.
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
from ..schedule import cron
from ..schedule.model import CRON, INTERVAL, MAX_YEAR, ONCE, UNIT_MINUTES, Schedule, ScheduleError, interval, once
from ..schedulers.protocol import Plan
from ..schedulers.systemd.path_watch import MAX_WATCHED_PROFILES

SOCKET_PATH = "/run/hermes-oscron-root"
MAX_ITEMS = 500
"""The number of items of one request, which limits the time that it takes."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024
ARM, DISARM, DELETE, DISARM_ALL, START, WATCH = COMMANDS = ("arm", "disarm", "delete", "disarm-all", "start", "watch")
MAX_ITEMS_OF = {DISARM_ALL: 0, WATCH: MAX_WATCHED_PROFILES}
MAX_PHASE = datetime.datetime(MAX_YEAR, 12, 31, tzinfo=datetime.UTC).timestamp()
INSTANCE = re.compile(f"{SAFE_NAME.pattern}:{SAFE_NAME.pattern}")
ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


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
    return [plan.instance, *plan.schedule, plan.zone.key, phase]


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
    for name in [item[0] if isinstance(item, list) and item else None for item in items] if command == ARM else items:
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise ProtocolError(f"Malformed request: {str(name)[:80]!a} is not {form}.")
    return Request(command, items)


def parse_plans(items: Sequence[Any]) -> tuple[dict[str, Plan], dict[str, str]]:
    """Return the plans in the checked `items` of `arm`, and the errors, by instance."""
    return use_each({item[0]: item for item in items}, _plan)


def _plan(item: Any) -> Plan:
    """Return the plan in `item`, whose every part is parsed again. Raises ScheduleError."""
    match item:
        case [str(instance), str(kind), str(expression), str(zone), None]:
            return Plan(instance, _schedule(kind, expression), _zone(zone), None)
        case [str(instance), str(kind), str(expression), str(zone), int(phase)] if 0 <= phase <= MAX_PHASE:
            return Plan(instance, _schedule(kind, expression), _zone(zone),
                        datetime.datetime.fromtimestamp(phase, datetime.UTC))
    raise ScheduleError("Its plan is malformed: expected an instance, a kind, an expression, a zone and a phase.")


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
        if ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        pass
    raise ScheduleError(f"{name[:80]!a} is not a time zone.")
