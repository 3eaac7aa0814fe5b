"""Root's helper: `python -I -m hermes_oscron.privileged ACCOUNT`, as root, with a listening socket as standard input.

systemd starts it for the first request (hermes-oscron-root.socket). It carries out one request after the other, and
exits when there were none for a while. It reads no file of the account. It does three things to the system's manager:
it writes, starts and stops timers `hermes-job@…`, whose every byte comes from a parsed schedule or a checked name, and
drop-ins of their services, in which each value is a checked number; it
starts services `hermes-job@…`; and it starts and stops the path units that notice changed jobs.
"""

import contextlib
import datetime
import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from ..errors import describe
from ..schedule.model import ScheduleError
from ..schedulers.protocol import Changes, Problem, Report, SchedulerError
from ..schedulers.systemd.path_watch import PathWatcher
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import Systemctl
from . import protocol
from .protocol import ARM, DELETE, DISARM, DISARM_ALL, WATCH, ProtocolError, Request

MAX_JOBS = 10_000
TRANSFER_TIMEOUT_S = 2.0
"""The request must arrive, and then the answer be read, within this time, in which no other caller is served."""
REQUEST_TIMEOUT_S = 120
IDLE_TIMEOUT_S = 30.0
ROUTINE = "<6>"
"""The level of a message that the journal does not keep, by LogLevelMax= of our unit (sd-daemon(3))."""


class RequestTimeout(BaseException):
    """A request took too long. It is not an Exception, so that no step of a request takes it for its own failure."""


def main() -> int:
    """Answer one caller after the other until there were none for IDLE_TIMEOUT_S. Returns an exit status."""
    uid = pwd.getpwnam(sys.argv[1]).pw_uid
    os.umask(0o022)
    signal.signal(signal.SIGALRM, _end_request)
    with socket.socket(fileno=os.dup(0)) as listener, contextlib.suppress(TimeoutError):
        listener.settimeout(IDLE_TIMEOUT_S)
        while True:
            caller, _ = listener.accept()
            with caller, contextlib.suppress(OSError):  # it is slow or gone
                line = _read_line(caller)
                if _has_left(caller):
                    continue
                answer = _answer(caller, line, uid)
                caller.settimeout(TRANSFER_TIMEOUT_S)
                caller.sendall(json.dumps(answer).encode() + b"\n")
    return 0


def _read_line(caller: socket.socket) -> bytes:
    """Read the request, up to a newline, the end of the stream or MAX_REQUEST_BYTES. Raises OSError."""
    deadline = time.monotonic() + TRANSFER_TIMEOUT_S
    request, part = bytearray(), b" "
    while part and b"\n" not in part and len(request) <= protocol.MAX_REQUEST_BYTES:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        caller.settimeout(remaining)
        part = caller.recv(65536)
        request += part
    return bytes(request).partition(b"\n")[0]


def _has_left(caller: socket.socket) -> bool:
    """Return True if the caller has closed its socket. It may have undone already what its request would arm."""
    poll = select.poll()
    poll.register(caller, 0)  # POLLHUP is reported all the same (poll(2))
    return bool(poll.poll(0))


def _end_request(_signal: int, _frame: object) -> None:
    raise RequestTimeout


def _answer(caller: socket.socket, line: bytes, uid: int) -> dict[str, Any]:
    """Return the answer of the helper of the account `uid` to the request `line`."""
    signal.alarm(REQUEST_TIMEOUT_S)
    try:
        _check_peer(caller, uid)
        request = protocol.parse_request(line)
        report = _handle(request)
        _log_request(request, report)
        return report._asdict()
    except (ProtocolError, ScheduleError, SchedulerError, OSError) as error:
        reason = describe(error)
        _log(f"Refused: {reason!a}")
    except RequestTimeout:
        reason = f"systemd did not do this within {REQUEST_TIMEOUT_S} s."
        _log(reason)
    except Exception:  # the next caller must be answered all the same
        reason = "Internal error in root's helper; see 'journalctl -u hermes-oscron-root'."
        traceback.print_exc()
    finally:
        signal.alarm(0)
    return {"error": reason}


def _check_peer(caller: socket.socket, uid: int) -> None:
    """Raise ProtocolError unless the peer process belongs to `uid` or root (SO_PEERCRED, unix(7))."""
    credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    peer = struct.unpack("3i", credentials)[1]
    if peer not in (uid, 0):
        raise ProtocolError(f"uid {peer} is not allowed to use this socket.")


def _handle(request: Request) -> Report:
    """Carry out `request`. Raises ScheduleError, SchedulerError, OSError."""
    systemctl, now = Systemctl(user=False), datetime.datetime.now(datetime.UTC)
    systemd = Systemd(systemctl)
    if request.command == ARM:
        return _arm(systemd, request.items, now)
    if request.command == DISARM:
        return systemd.apply(Changes(disarm=request.items), now)
    if request.command == DELETE:
        return systemd.apply(Changes(deleted=request.items), now)
    if request.command == DISARM_ALL:
        systemd.remove_all()
    elif request.command == WATCH:
        PathWatcher(systemctl).watch(request.items)
    else:
        for instance, limits in protocol.parse_starts(request.items).items():
            systemd.start_service(instance, limits)
    return Report([], [], [])


def _arm(systemd: Systemd, items: Sequence[Any], now: datetime.datetime) -> Report:
    """Arm the plans in `items`. The timer of a plan that cannot be used stays as it is."""
    plans, unusable = protocol.parse_plans(items)
    added = sum(not systemd.has_timer(instance) for instance in plans)
    if added and systemd.timer_count() + added > MAX_JOBS:
        raise SchedulerError(f"There are more than {MAX_JOBS} jobs to arm; nothing was changed.")
    report = systemd.apply(Changes(plans), now)
    return report._replace(problems=report.problems + [Problem(*each) for each in unusable.items()])


def _log_request(request: Request, report: Report) -> None:
    """Log what was done."""
    names = [item[0] if isinstance(item, list) else item for item in request.items]
    which = ", ".join(names[:3]) + ", …" * (len(names) > 3) or "all"
    counts = ", ".join(f"{len(each)} {name}" for name, each in report._asdict().items() if each)
    _log(f"{'' if report.problems else ROUTINE}{request.command} {which}: {counts or 'done'}.")


def _log(message: str) -> None:
    print(message, file=sys.stderr)
