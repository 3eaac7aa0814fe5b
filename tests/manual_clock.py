"""A clock that stands still until a test moves it."""

import datetime
import threading

from hermes_oscron.clock import Clock
from hermes_oscron.wakeup import Wakeup

NOON = datetime.datetime(2030, 6, 5, 12, tzinfo=datetime.UTC)


class ManualClock(Clock):
    """Time passes by `advance` and `set` alone. One thread may wait by it: the foreground scheduler's."""

    def __init__(self, now: datetime.datetime = NOON) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._last_read = threading.local()
        self._waiting_since: datetime.datetime | None = None

    def now(self) -> datetime.datetime:
        self._last_read.time = self._now
        return self._now

    def wait(self, wakeup: Wakeup, until: datetime.datetime) -> None:
        """Wait until `wakeup` is ended, or the clock shows another time than the one this thread read last."""
        with self._changed:
            self._waiting_since = self._last_read.time
            self._changed.notify_all()
            while not wakeup.is_set() and self._now == self._last_read.time:
                self._changed.wait(0.02)

    def set(self, now: datetime.datetime) -> None:
        self._now = now

    def advance(self, seconds: float) -> None:
        """Advance by `seconds`, and return once the waiting thread has done its work up to then."""
        with self._changed:
            self._now += datetime.timedelta(seconds=seconds)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._waiting_since == self._now, 10), "the scheduler does not wait"
