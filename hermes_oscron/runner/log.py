"""The log of the runner and its job: our standard output, which is the journal under systemd, or the syslog.

A closed stream or a missing syslog never fails a run.
"""

import os
import sys
from typing import TextIO

SYSLOG_SOCKET = "/dev/log"

_tag: str | None = None


def use_syslog(job_id: str) -> None:
    """Log to the syslog from now on, with the tag `hermes-job@` and `job_id`."""
    global _tag
    _tag = f"hermes-job@{job_id}"


def uses_syslog() -> bool:
    """Return True if the log goes to the syslog."""
    return _tag is not None


def log(sentence: str, stream: TextIO | None = None) -> None:
    """Log `sentence`, on `stream` or else standard output."""
    if _tag:
        import syslog

        syslog.openlog(_tag)
        syslog.syslog(sentence)
        return
    try:
        print(sentence, file=stream or sys.stdout, flush=True)
    except OSError:
        pass


def redirect_output() -> None:
    """Make later writes to our standard output and error reach the log too."""
    if not _tag or not os.path.exists(SYSLOG_SOCKET):
        return
    import subprocess

    try:
        logger = subprocess.Popen(["logger", "-t", _tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError:
        return
    assert logger.stdin
    for fd in (1, 2):
        os.dup2(logger.stdin.fileno(), fd)
    logger.stdin.close()
