"""One request, on the socket that is our standard input: `python -I -m hermes_oscron.helper ACCOUNT`, as root.

Started by systemd for each connection (hermes-oscron-root@.service). It does three things to the system's manager:
writes, starts and stops timers `hermes-job@…` whose every byte comes from a parsed schedule or a checked id, starts
services `hermes-job@…`, and starts and stops the path units by which systemd sees that jobs have changed.
"""

import contextlib
import datetime
import fcntl
import json
import os
import pwd
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from ..errors import describe
from ..hermes import homes
from ..hermes.homes import split_instance
from ..hermes.store import StoreError
from ..schedulers.plan import UNWATCHED, Report, SchedulerError
from ..schedulers.systemd import request, watches
from ..schedulers.systemd.request import START, STOP, Malformed, Request
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import Manager
from . import jobs

LOCK = "/run/hermes-oscron-root.lock"
PATIENCE = 10.0
"""Seconds for the question to arrive, and for its answer to be taken."""


def main() -> int:
    """Answer the caller at our standard input. Returns an exit status."""
    account, root = pwd.getpwnam(sys.argv[1]), homes.root()
    os.umask(0o022)
    with socket.socket(fileno=os.dup(0)) as caller:
        try:
            _refuse_strangers(caller, account)
            asked = request.parse(_line(caller))
            answer: dict[str, Any] = _done(asked, account, root)._asdict()
            _tell(asked, answer)
        except (Malformed, SchedulerError, OSError) as error:
            answer = {"error": describe(error)}
            print(f"Refused: {answer['error']!a}", file=sys.stderr)
        except Exception:  # whatever it is, the caller need not wait for it
            answer = {"error": "Root's helper made a mistake; 'journalctl -u \"hermes-oscron-root@*\"' says which."}
            traceback.print_exc()
        with contextlib.suppress(OSError):  # who does not listen need not hear it
            caller.settimeout(PATIENCE)
            caller.sendall(json.dumps(answer).encode() + b"\n")
    return 0


def _refuse_strangers(caller: socket.socket, account: pwd.struct_passwd) -> None:
    """Raise Malformed unless CALLER's process is ACCOUNT's or root's (SO_PEERCRED, unix(7)), whatever let it come."""
    said = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = struct.unpack("3i", said)[1]
    if uid not in (account.pw_uid, 0):
        raise Malformed(f"The account {uid} may not ask.")


def _line(caller: socket.socket) -> bytes:
    """The question, which ends with its line or with what CALLER sends. Raises Malformed, OSError."""
    deadline = time.monotonic() + PATIENCE
    question = bytearray()
    while b"\n" not in question:
        caller.settimeout(max(0.001, deadline - time.monotonic()))
        part = caller.recv(65536)
        if not part:
            break
        question += part
        if len(question) > request.LARGEST:
            raise Malformed(f"A question has at most {request.LARGEST} bytes.")
    return bytes(question).partition(b"\n")[0]


def _done(asked: Request, account: pwd.struct_passwd, root: str) -> Report:
    """What came of ASKED. Raises SchedulerError, OSError."""
    systemd = Systemd(Manager(user=False))
    if asked.verb == START:
        for instance in asked.instances or []:
            systemd.start(instance)
        return Report([], [], {}, [])
    with _alone():
        if asked.verb == STOP:
            return _stop(systemd, asked.instances)
        if asked.instances is None:
            return _sync_all(systemd, frozenset(asked.leave or ()), account, root)
        return _sync(systemd, asked.instances, account, root)


def _stop(systemd: Systemd, instances: list[str] | None) -> Report:
    if instances is None:
        systemd.withdraw()
    for instance in instances or []:
        systemd.forget(instance)
    return Report([], instances or [], {}, [])


def _sync(systemd: Systemd, instances: list[str], account: pwd.struct_passwd, root: str) -> Report:
    """Arm INSTANCES as jobs.json says, or not at all where it says nothing of them."""
    now = datetime.datetime.now(datetime.UTC)
    report = Report([], [], {}, [])
    _refuse_crowd(systemd.count() + sum(not systemd.has(instance) for instance in instances))
    ids: dict[str, set[str]] = {}
    for instance in instances:
        profile, job_id = split_instance(instance)
        ids.setdefault(profile, set()).add(job_id)
    for profile, wanted in ids.items():
        found = _read(account, root, profile, now, frozenset(wanted))
        for instance in (f"{profile}:{job_id}" for job_id in sorted(wanted)):
            if profile in found.refused or instance in found.refused:
                report.refused[instance] = found.refused.get(instance) or found.refused[profile]
            elif instance in found.plans:
                systemd.arm(found.plans[instance], now)
                report.armed.append(instance)
            else:
                systemd.disarm([instance])
                report.disarmed.append(instance)
    return report


def _sync_all(systemd: Systemd, leave: frozenset[str], account: pwd.struct_passwd, root: str) -> Report:
    """Make timers agree with jobs.json; a profile or a job that cannot be read keeps the timers it has."""
    now = datetime.datetime.now(datetime.UTC)
    with jobs.as_account(account):
        profiles = jobs.profiles(root)
    all_jobs = jobs.Jobs({}, {})
    try:
        watches.watch(Manager(user=False), profiles)
    except SchedulerError as error:
        all_jobs.refused[UNWATCHED] = str(error)
    for profile in profiles:
        found = _read(account, root, profile, now)
        all_jobs.plans.update(found.plans)
        all_jobs.refused.update(found.refused)
        _refuse_crowd(len(all_jobs.plans))
    refused = all_jobs.refused
    report = systemd.reconcile(all_jobs.plans, now, lambda instance: instance in leave or instance in refused
                               or split_instance(instance)[0] in refused)
    return report._replace(refused={**refused, **report.refused})


def _refuse_crowd(count: int) -> None:
    """Raise SchedulerError where COUNT timers are more than there may be."""
    if count > jobs.MOST_JOBS:
        raise SchedulerError(f"There are more than {jobs.MOST_JOBS} jobs to fire; all timers are as they were.")


def _read(account: pwd.struct_passwd, root: str, profile: str, now: datetime.datetime,
          only: frozenset[str] | None = None) -> jobs.Jobs:
    """The jobs of PROFILE; one that cannot be read is refused whole."""
    try:
        with jobs.as_account(account):
            return jobs.of_profile(root, profile, now, only)
    except (OSError, StoreError) as error:
        return jobs.Jobs({}, {profile: f"Root's helper cannot read the jobs of {profile}: {describe(error)}"})


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One helper at a time changes timers."""
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _tell(asked: Request, answer: dict[str, Any]) -> None:
    """Say in the journal what was done."""
    which = "all" if asked.instances is None else ", ".join(asked.instances[:3]) + ", …" * (len(asked.instances) > 3)
    counts = ", ".join(f"{len(answer[each])} {each}" for each in ("armed", "disarmed", "refused") if answer[each])
    print(f"{asked.verb} {which}: {counts or 'done'}.")
