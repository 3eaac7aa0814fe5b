"""Send the alerts in the outbox, each receiver in a thread of its own, so that one which hangs delays no other.

The process lives only while alerts wait. It is woken by its pipe when there is something new.
"""

import contextlib
import logging
import os
import select
import threading
import time

from .. import config
from ..errors import OscronError, describe
from ..files import StateFileError, make_private_dir, wait_for_lock
from ..metrics.exposition import write_textfile
from ..state import State
from . import outbox
from .channels import NotSent, Rejected, send
from .collect import collect, settings_of
from .outbox import PING, URL, Alert, Target

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
"""A process that ends holds the lock for an instant, after it has closed its pipe."""
MAX_SINGLE = 5
"""If more messages wait for a receiver, they become one, so that a failure of all jobs does not flood it."""
MAX_TOGETHER = 500
MAX_WAIT_S = 3600.0
START_MAX_AGE_S = 60.0
"""The signal that a run began is not sent later than this: the receiver would measure a wrong duration."""


class Sender:
    """Sends the alerts of `root`. `pipe` is systemd's; without it, the sender makes its own while it runs."""

    def __init__(self, root: str, pipe: int | None = None) -> None:
        self._root = root
        self._has_own_pipe = pipe is None
        self._pipe = pipe
        self._ended, self._end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._busy: set[str] = set()
        self._is_requested = True
        self._lock = os.open(_lock_path(root), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Close all descriptors."""
        self._close_pipe()
        for fd in (self._ended, self._end, self._lock):
            os.close(fd)

    def run(self) -> None:
        """Send until no alert waits. Raises StateFileError, OSError."""
        try:
            wait_for_lock(self._lock, State(self._root).notifier_lock, LOCK_TIMEOUT_S)
        except StateFileError:
            return  # another process sends, and was woken
        while True:
            self._open_pipe()
            self._send_all()
            self._close_pipe()
            # a request after this starts another process; one before it is noticed here
            if self._step() is None:
                return

    def _send_all(self) -> None:
        while (wait_s := self._step()) is not None:
            readable, _, _ = select.select([fd for fd in (self._pipe, self._ended) if fd is not None], [], [], wait_s)
            for fd in readable:
                self._is_requested |= fd == self._pipe
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 65536)

    def _step(self) -> float | None:
        """Collect, start to send alerts, and return for how many seconds to wait; None if nothing waits."""
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 65536)
        if self._is_requested:
            self._is_requested = False
            self._write_metrics()
        now = time.time()
        settings = settings_of(self._root)
        targets = collect(self._root, settings, now)
        if not outbox.exists(self._root):
            return None
        with outbox.writing(self._root) as box:
            due = outbox.due(box)
        later = [moment for name, moment in due.items() if name not in self._busy and moment > now]
        for name in [name for name, moment in due.items() if name not in self._busy and moment <= now]:
            self._busy.add(name)
            threading.Thread(target=self._send_to, args=(targets[name],), daemon=True).start()
        if not later and not self._busy:
            return None
        return min([MAX_WAIT_S, *(max(moment - now, 0.1) for moment in later)])

    def _write_metrics(self) -> None:
        """Write the metrics to the file of the settings, if there is one. An error is only logged."""
        try:
            if path := config.load(self._root).textfile:
                write_textfile(self._root, path)
        except (OscronError, OSError) as error:
            log.error("Metrics: %s", describe(error))

    def _send_to(self, target: Target) -> None:
        """Send what waits for `target`, until it fails."""
        try:
            while self._send_next(target):
                pass
        except (StateFileError, OSError) as error:
            log.error("Alerts to %s: %s", target.name, describe(error))
        finally:
            self._busy.discard(target.name)
            with contextlib.suppress(BlockingIOError):
                os.write(self._end, b"\n")

    def _send_next(self, target: Target) -> bool:
        """Send the next alert, or message; return False if none waits, or the receiver does not accept it."""
        with outbox.writing(self._root) as box:
            waiting = outbox.waiting(box, target.name, MAX_TOGETHER if target.kind == URL else 1)
            if not waiting:
                return False
            if target.kind == PING and is_stale(waiting[0], time.time()):
                outbox.give_up(box, waiting, "", time.time())
                return True
        alerts = waiting if len(waiting) > MAX_SINGLE else waiting[:1]
        try:
            send(target, [each.content for each in alerts])
        except NotSent as error:
            log.warning("An alert to %s was not accepted: %s", target.name, error)
            with outbox.writing(self._root) as box:
                if isinstance(error, Rejected):
                    outbox.give_up(box, alerts, str(error), time.time())
                    return True
                outbox.note_failed(box, alerts, str(error), time.time())
            return False
        with outbox.writing(self._root) as box:
            outbox.note_sent(box, alerts, time.time())
        return True

    def _open_pipe(self) -> None:
        if self._pipe is None:
            path = State(self._root).notifier
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.mkfifo(path, 0o600)
            self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _close_pipe(self) -> None:
        if self._has_own_pipe and self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def is_stale(alert: Alert, now: float) -> bool:
    """Return True if `alert` signals the begin of a run, and too late."""
    return alert.content.get("ping") == "start" and now - alert.created > START_MAX_AGE_S


def _lock_path(root: str) -> str:
    make_private_dir(State(root).folder)
    return State(root).notifier_lock
