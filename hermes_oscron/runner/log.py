"""The log of the runner and its job: our standard output, which is the journal under systemd, or the syslog.

A closed stream or a missing syslog never fails a run.
"""

import datetime
import io
import os
import sys
from typing import TextIO

from ..jobs.record import Record, instant
from ..runs.model import SCHEDULE, Run

SYSLOG_SOCKET, JOURNAL_SOCKET = "/dev/log", "/run/systemd/journal/socket"
END_MESSAGE_ID = "cf159d06ac62411c8c90f38006bcf00d"
"""The type of the journal's entry of the end of a run (systemd.journal-fields(7), MESSAGE_ID=)."""
MAX_NAME_CHARS = 100
NAME_FROM_PROMPT_CHARS = 50
"""A job that gets no name is named after the beginning of its prompt."""

_tag: str | None = None
_redirected = False


def accept_any_character() -> None:
    """Print a '?' for each character that the locale does not have, as ISO-8859-1 has few, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not one that was closed
            stream.reconfigure(errors="replace")


def use_syslog(job_id: str) -> None:
    """Log to the syslog from now on, with the tag `hermes-job@` and `job_id`."""
    global _tag
    _tag = f"hermes-job@{job_id}"


def uses_syslog() -> bool:
    """Return True if the log goes to the syslog."""
    return _tag is not None


def log(sentence: str, stream: TextIO | None = None) -> None:
    """Log `sentence`, on `stream` or else standard output."""
    line = sentence.encode("utf-8", "replace")
    if _tag and not _redirected:  # after that, the output of the job and these lines keep their order
        import syslog

        syslog.openlog(_tag)
        syslog.syslog(line.decode())
        return
    try:
        out = (stream or sys.stdout).buffer  # its encoding may not have every character
        out.write(line + b"\n")
        out.flush()
    except (OSError, AttributeError):  # it is closed; Python has none if it was at our start
        pass


def subject(record: Record) -> str:
    """Return the job of `record` as log lines name it: its name and id.

    A name that is the beginning of the prompt is left out, since prompts are not logged.
    """
    name, prompt = (str(record.get(key) or "") for key in ("name", "prompt"))
    if not _one_line(name) or _one_line(name) == _one_line(prompt.strip()[:NAME_FROM_PROMPT_CHARS]):
        return str(record["id"])
    return f"{_one_line(name)[:MAX_NAME_CHARS]} ({record['id']})"


def log_start(record: Record, run: Run) -> None:
    """Log that `run` of the job in `record` has started, with the time at which it was due."""
    how = " by hand" if run.trigger != SCHEDULE else _due(record.get("next_run_at"), run.started_at)
    log(f"{subject(record)}: started{how}")


def log_end(record: Record, took_s: float | None, error: str | None, *notes: str) -> None:
    """Log that a run of the job in `record` has ended after `took_s`, with its `error`, if any, and `notes`."""
    took = "" if took_s is None else f" after {max(0.0, took_s):.1f} s"
    how = f"failed{took}: {error}" if error else f"succeeded{took}"
    line = "; ".join([f"{subject(record)}: {how.rstrip('.') if notes else how}", *notes])
    from ..runs.entries import outcome_of  # it is imported by then, to record the run

    if not _log_to_journal(line, MESSAGE_ID=END_MESSAGE_ID, HERMES_JOB_ID=str(record["id"]),
                           HERMES_JOB_NAME=_one_line(str(record.get("name") or "")), HERMES_OUTCOME=outcome_of(error)):
        log(line, sys.stderr if error else sys.stdout)


def _log_to_journal(line: str, **fields: str) -> bool:
    """Log `line` with `fields`, and return True, if our output is the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(1)
        if os.environ.get("JOURNAL_STREAM") != f"{status.st_dev}:{status.st_ino}":
            return False
        import _socket  # `socket` takes 3 ms

        entry = b"".join(_field(name, text) for name, text in {
            "MESSAGE": line, "PRIORITY": "5", "SYSLOG_IDENTIFIER": "hermes-job", **fields}.items())
        sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
        try:
            sender.sendto(entry, JOURNAL_SOCKET)
        finally:
            sender.close()
    except OSError:
        return False
    return True


def _field(name: str, text: str) -> bytes:
    """Return a field in the form that takes any text (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""
    content = text.encode("utf-8", "replace")
    return name.encode() + b"\n" + len(content).to_bytes(8, "little") + content + b"\n"


def _due(written: object, started_at: float) -> str:
    """Return the due time that is `written` in a record, in its zone; empty if the run was not due by it.

    The day is added if it is another than that of the start, and the offset if it is not the machine's.
    """
    moment = instant(written)
    if moment is None or moment.timestamp() > started_at:
        return ""
    due = datetime.datetime.fromisoformat(written) if isinstance(written, str) else moment
    due = due if due.tzinfo else due.astimezone()
    day = "" if due.date() == datetime.datetime.fromtimestamp(started_at, due.tzinfo).date() else f"{due:%Y-%m-%d} "
    offset = "" if due.utcoffset() == due.astimezone().utcoffset() else f" {due:%z}"
    return f", due {day}{due:%H:%M:%S}{offset}"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def redirect_output() -> None:
    """Make later writes to our standard output and error reach the log too."""
    global _redirected
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
    _redirected = True
