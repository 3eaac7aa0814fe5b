"""python -m hermes_oscron.notify: send the alerts that are due, and those that failed until they succeed; then exit."""

import contextlib
import logging
import os
import sys

from ..errors import OscronError, describe
from ..hermes.home import hermes_root
from .sender import Sender

LISTEN_FD = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def main() -> int:
    """Send until nothing waits. Return 1 if that cannot be tried."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from_systemd = os.environ.pop("LISTEN_PID", None) == str(os.getpid())
    for name in ("LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if from_systemd:
        os.set_inheritable(LISTEN_FD, False)
    try:
        with contextlib.closing(Sender(hermes_root(), LISTEN_FD if from_systemd else None)) as sender:
            sender.run()
    except (OscronError, OSError) as error:
        print(f"Alerts cannot be sent: {describe(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
