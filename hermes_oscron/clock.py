"""The clock that the service and the foreground scheduler read and wait by; tests pass one that they set."""

import datetime
import threading
import time


class Clock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """Return the time in UTC. It jumps when the clock is set."""
        return datetime.datetime.now(datetime.UTC)

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait until `event` is set, for at most `seconds`."""
        event.wait(seconds)


CLOCK = Clock()
