"""Wait for a time, a change of files, or a change of the clock: inotify(7), timerfd_create(2).

Python 3.11 has neither, so they are called by ctypes. Where the kernel refuses them, each wait is short instead.
"""

import errno
import functools
import os
import select
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

MAX_WAIT_S = 2.0
"""The longest wait. inotify does not show what other machines change on a network file system, or a late mount."""
POLL_INTERVAL_S = 0.5
"""The longest wait if a folder cannot be watched, as when no instance or watch is left, or a change of the clock."""
SETTLE_S = 0.03
"""The time after a change in which others count as the same one; after it, the file's time is final (`TICK_NS`).

A process that is killed holds its locks until a moment after the change that shows its end.
"""

CHANGES = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF (linux/inotify.h)."""
MAX_EVENTS_BYTES = 65536
ABSOLUTE, CANCEL_ON_SET = 1, 2
"""TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET (linux/timerfd.h)."""
FAR_FUTURE = 2**31 - 1
"""The unix time of the timer, which is there only to be cancelled."""


class Wakeup:
    """A wait in one thread, which `end` ends in another."""

    def __init__(self) -> None:
        self._inotify = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._timer = _timer_cancelled_on_set()
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._watches: set[int] = set()
        self._is_watching = False

    def watch(self, folders: Iterable[str]) -> None:
        """Watch exactly `folders`; with none, `wait` is a poll.

        The folder above a missing one must come before it, so that its creation is noticed.
        """
        watches, self._is_watching = set[int](), True
        for folder in folders:
            watch = _call("inotify_add_watch", self._inotify, os.fsencode(folder), CHANGES)
            if watch >= 0:
                watches.add(watch)
            elif watch not in (-errno.ENOENT, -errno.ENOTDIR):
                self._is_watching = False
        for watch in self._watches - watches:
            _call("inotify_rm_watch", self._inotify, watch)
        self._watches = watches
        self._is_watching &= bool(watches)

    def wait(self, seconds: float) -> None:
        """Return after `seconds` or earlier: after a change in a folder, one of the clock, the end, or MAX_WAIT_S."""
        deadline = time.monotonic() + seconds
        waiting = select.poll()
        for fd in (self._ended, *[self._timer] * (self._timer >= 0), *[self._inotify] * self._is_watching):
            waiting.register(fd, select.POLLIN)
        longest_s = MAX_WAIT_S if self._is_watching and self._timer >= 0 else POLL_INTERVAL_S
        ready = {fd for fd, _ in waiting.poll(1000 * min(seconds, longest_s))}
        if self._timer in ready:
            with suppress(OSError):  # ECANCELED, which is the news
                os.read(self._timer, 8)
        if self._inotify in ready:
            time.sleep(max(0.0, min(SETTLE_S, deadline - time.monotonic())))
            os.read(self._inotify, MAX_EVENTS_BYTES)  # their number and content do not matter: all files are looked at

    def is_set(self) -> bool:
        """Return True after `end`."""
        ended, _, _ = select.select([self._ended], [], [], 0)
        return bool(ended)

    def end(self) -> None:
        """End the wait, and each further one at once."""
        os.eventfd_write(self._ended, 1)

    def close(self) -> None:
        """Release the files of the kernel."""
        for fd in (self._ended, self._timer, self._inotify):
            if fd >= 0:
                os.close(fd)


def _timer_cancelled_on_set() -> int:
    """Return a timer that can be read after the clock was set, or after a suspend; below 0 if there is none."""
    timer = _call("timerfd_create", time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer >= 0:
        import ctypes

        never = (ctypes.c_long * 4)(0, 0, FAR_FUTURE, 0)  # struct itimerspec: interval and value
        if (result := _call("timerfd_settime", timer, ABSOLUTE | CANCEL_ON_SET, never, None)) < 0:
            os.close(timer)
            return result
    return timer


@functools.cache
def _libc() -> Any:
    import ctypes  # only a server that fires jobs needs it

    return ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: object) -> int:
    """Return the result of a `function` of the C library, or the negative number of its error."""
    try:
        result: int = getattr(_libc(), function)(*arguments)
    except (ImportError, AttributeError):  # a Python or a C library that lacks it
        return -errno.ENOSYS
    if result >= 0:
        return result
    import ctypes

    return -ctypes.get_errno()
