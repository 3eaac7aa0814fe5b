"""One request, on the socket that is standard input: `python -I -m hermes_oscron.privileged ACCOUNT`, as root.

systemd starts it for each connection (hermes-oscron-root@.service). It does three things to the system's manager: it
writes, starts and stops timers `hermes-job@…`, whose every byte comes from a parsed schedule or a checked id; it starts
services `hermes-job@…`; and it starts and stops the path units that notice changed jobs.
"""

import contextlib
import datetime
import json
import os
import pwd
import socket
import struct
import sys
import time
import traceback
from typing import Any

from ..errors import describe
from ..files import StateFileError, locked
from ..hermes.home import hermes_root, instance_name, split_instance
from ..schedulers.protocol import Changes, Plan, Problem, Report, SchedulerError
from ..schedulers.systemd.path_watch import PathWatcher
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import Systemctl
from . import account_jobs, protocol
from .protocol import ARM, DISARM, START, ProtocolError, Request

LOCK_PATH = "/run/hermes-oscron-root.lock"
LOCK_TIMEOUT_S = 110.0
"""systemd ends a helper after 120 s."""
ROUTINE = "<6>"
"""The level of a message that the journal does not keep, by LogLevelMax= of our unit (sd-daemon(3))."""
REQUEST_TIMEOUT_S = 10.0
"""The request must arrive, and the answer be read, within this time."""


def main() -> int:
    """Answer the caller at standard input. Returns an exit status."""
    account, root = pwd.getpwnam(sys.argv[1]), hermes_root()
    os.umask(0o022)
    with socket.socket(fileno=os.dup(0)) as caller:
        try:
            _check_peer(caller, account)
            request = protocol.parse_request(_read_line(caller))
            report = _handle(request, account, root)
            _log_request(request, report)
            answer: dict[str, Any] = report._asdict()
        except (ProtocolError, SchedulerError, StateFileError, OSError) as error:
            answer = {"error": describe(error)}
            print(f"Refused: {answer['error']!a}", file=sys.stderr)
        except Exception:  # the caller must not wait for an answer that never comes
            answer = {"error": "Internal error in root's helper; see 'journalctl -u \"hermes-oscron-root@*\"'."}
            traceback.print_exc()
        with contextlib.suppress(OSError):  # the caller may be gone
            caller.settimeout(REQUEST_TIMEOUT_S)
            caller.sendall(json.dumps(answer).encode() + b"\n")
    return 0


def _check_peer(caller: socket.socket, account: pwd.struct_passwd) -> None:
    """Raise ProtocolError unless the peer process belongs to `account` or root (SO_PEERCRED, unix(7))."""
    credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = struct.unpack("3i", credentials)[1]
    if uid not in (account.pw_uid, 0):
        raise ProtocolError(f"uid {uid} is not allowed to use this socket.")


def _read_line(caller: socket.socket) -> bytes:
    """Read the request, up to a newline or the end of the stream. Raises ProtocolError, OSError."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    request = bytearray()
    while b"\n" not in request:
        caller.settimeout(max(0.001, deadline - time.monotonic()))
        part = caller.recv(65536)
        if not part:
            break
        request += part
        if len(request) > protocol.MAX_REQUEST_BYTES:
            raise ProtocolError(f"Request is longer than {protocol.MAX_REQUEST_BYTES} bytes.")
    return bytes(request).partition(b"\n")[0]


def _handle(request: Request, account: pwd.struct_passwd, root: str) -> Report:
    """Carry out `request`. Raises SchedulerError, OSError."""
    systemctl = Systemctl(user=False)
    systemd = Systemd(systemctl)
    if request.command == START:
        for instance in request.instances or []:
            systemd.start_service(instance)
        return Report([], [], [])
    with locked(LOCK_PATH, LOCK_TIMEOUT_S):
        if request.command == ARM:
            return _arm(systemd, request.instances or [], account, root)
        if request.command == DISARM:
            return _disarm(systemd, request.instances)
        with account_jobs.as_account(account):
            profiles = account_jobs.profile_names(root)
        PathWatcher(systemctl).watch(profiles)
        return Report([], [], [])


def _disarm(systemd: Systemd, instances: list[str] | None) -> Report:
    if instances is None:
        systemd.remove_all()
        return Report([], [], [])
    return systemd.apply(Changes(deleted=instances), datetime.datetime.now(datetime.UTC))


def _arm(systemd: Systemd, instances: list[str], account: pwd.struct_passwd, root: str) -> Report:
    """Arm `instances` as jobs.json defines them; disarm those that it does not schedule."""
    now = datetime.datetime.now(datetime.UTC)
    if systemd.timer_count() + sum(not systemd.has_timer(instance) for instance in instances) > account_jobs.MAX_JOBS:
        raise SchedulerError(f"There are more than {account_jobs.MAX_JOBS} jobs to arm; nothing was changed.")
    job_ids: dict[str, set[str]] = {}
    for instance in instances:
        profile, job_id = split_instance(instance)
        job_ids.setdefault(profile, set()).add(job_id)
    plans: dict[str, Plan] = {}
    problems: dict[str, str] = {}
    for profile, ids in job_ids.items():
        try:
            with account_jobs.as_account(account):
                planned = account_jobs.plan_profile(root, profile, now, frozenset(ids))
        except (OSError, StateFileError) as error:
            reason = f"Root's helper cannot read the jobs of {profile}: {describe(error)}"
            problems |= {instance_name(profile, job_id): reason for job_id in ids}
            continue
        plans |= planned.plans
        problems |= planned.unusable
    disarm = [instance for instance in instances if instance not in plans and instance not in problems]
    report = systemd.apply(Changes(plans, disarm), now)
    return report._replace(problems=report.problems + [Problem(*each) for each in problems.items()])


def _log_request(request: Request, report: Report) -> None:
    """Log what was done."""
    names = request.instances or []
    which = ", ".join(names[:3]) + ", …" * (len(names) > 3) or "all"
    counts = ", ".join(f"{len(each)} {name}" for name, each in report._asdict().items() if each)
    level = "" if report.problems else ROUTINE
    print(f"{level}{request.command} {which}: {counts or 'done'}.")
