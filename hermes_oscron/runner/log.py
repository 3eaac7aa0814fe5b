"""What the runner and its job say: on our own output, which is the journal under systemd, or in the syslog.

Whoever closed our output or keeps no log ends no run.
"""

import os
import sys
from typing import TextIO

SYSLOG_SOCKET = "/dev/log"

_tag: str | None = None


def use_syslog(job_id: str) -> None:
    """Say everything in the syslog, as `hermes-job@JOB_ID`."""
    global _tag
    _tag = f"hermes-job@{job_id}"


def uses_syslog() -> bool:
    """Whether it is the syslog that hears us."""
    return _tag is not None


def log(sentence: str, stream: TextIO | None = None) -> None:
    """Say SENTENCE on STREAM, our standard output if none is given."""
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
    """Let what is written to our standard output and error from now on be heard where we are."""
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
