"""The clock that the service and the foreground scheduler read and wait by; tests pass one that they set."""

import datetime
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .wakeup import Wakeup


class Clock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """Return the time in UTC. It jumps when the clock is set."""
        return datetime.datetime.now(datetime.UTC)

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)

    def wait(self, wakeup: "Wakeup", until: datetime.datetime) -> None:
        """Wait by `wakeup`, at most `until` the clock shows that time."""
        wakeup.wait(max(0.0, (until - self.now()).total_seconds()))


CLOCK = Clock()
