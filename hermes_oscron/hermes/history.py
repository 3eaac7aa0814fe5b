"""What runs left behind, as clients list it: files of the output folder, what a run used, what has ended of late."""

import os
import re
from typing import Any, NamedTuple

from . import outputs, records, sessions, store
from .homes import NAME, Home

HEADING = 65536
"""Bytes in which a run's heading ends."""
SNIPPET = 600
"""Characters of a response that a client shows before it is opened."""
USAGE = {
    "model": re.compile(r"^\*\*Model:\*\*[ \t]*(\S.*?)[ \t]*$", re.M),
    "provider": re.compile(r"^\*\*Provider:\*\*[ \t]*(\S.*?)[ \t]*$", re.M),
    "tokens": re.compile(r"^\*\*Tokens:\*\*[ \t]*([\d,]+) in / ([\d,]+) out", re.M),
    "cost": re.compile(r"^\*\*Cost:\*\*[ \t]*\$?(\d+(?:\.\d+)?)", re.M),
    "duration": re.compile(r"^\*\*Duration:\*\*[ \t]*(?:(\d+)m[ \t]*)?(\d+(?:\.\d+)?)s", re.M),
}
FAILED = re.compile(r"^# .*\(FAILED\)$|^\*\*Status:\*\* script failed$", re.M)


class NoSuchRun(LookupError):
    """There is no output of that name."""


class Page(NamedTuple):
    """One run in a history; `modified` is a unix time, `usage` what `usage` finds."""

    filename: str
    size: int
    modified: float
    usage: dict[str, Any]


def page(home: Home, job_id: str, offset: int, limit: int) -> tuple[list[Page], int]:
    """LIMIT runs of JOB_ID from OFFSET on, newest first, and how many there are."""
    names = outputs.names(home, job_id)
    found = []
    for name in names[offset : offset + limit]:
        try:
            text, status = outputs.read(home, job_id, name, HEADING)
        except OSError:
            continue  # the runner's retention came between
        found.append(Page(name, status.st_size, status.st_mtime, usage(text)))
    return found, len(names)


def content(home: Home, job_id: str, filename: str) -> str:
    """What the run FILENAME of JOB_ID wrote. Raises NoSuchRun."""
    try:
        return outputs.read(home, job_id, filename)[0]
    except OSError:
        raise NoSuchRun(f"There is no run '{filename}' of job '{job_id}'.") from None


def snippet(content: str) -> str:
    """The beginning of the response in CONTENT."""
    response = content.partition(outputs.RESPONSE)[2].strip()
    return response[:SNIPPET] or "(empty)"


def usage(content: str) -> dict[str, Any]:
    """What the heading of CONTENT, which ends at the first section, says the run has used; {} where it says nothing."""
    heading = content.partition("\n## ")[0]
    found = {name: pattern.search(heading) for name, pattern in USAGE.items()}
    used: dict[str, Any] = {name: match[1] for name in ("model", "provider") if (match := found[name])}
    if tokens := found["tokens"]:
        given, said = (int(number.replace(",", "")) for number in tokens.groups())
        used.update(input_tokens=given, output_tokens=said, total_tokens=given + said)
    if cost := found["cost"]:
        used["estimated_cost_usd"] = float(cost[1])
    if duration := found["duration"]:
        used["duration_seconds"] = 60 * int(duration[1] or 0) + float(duration[2])
    return used


def completions(home: Home, since: float) -> list[dict[str, Any]]:
    """The runs of HOME that ended after SINCE, a unix time, oldest first: each job's last one."""
    found = []
    known = set()
    for record in store.read(home):
        known.add(record["id"])
        ended = records.instant(record.get("last_run_at"))
        if ended and ended.timestamp() > since:
            found.append(_completion(home, record["id"], str(record.get("name") or record["id"]),
                                     str(record.get("last_status") or "ok"), ended.timestamp(),
                                     record.get("toast_notifications") is not False))
    found += [each for job_id in _gone(home, known) if (each := _last_of_gone(home, job_id, since))]
    return sorted(found, key=lambda completion: float(completion["completed_at"]))


def _gone(home: Home, known: set[str]) -> list[str]:
    """The jobs that the agent has removed after their last run: their outputs stay."""
    try:
        names = os.listdir(home.output_dir)
    except OSError:
        return []
    return [name for name in names if name not in known and NAME.fullmatch(name)]


def _last_of_gone(home: Home, job_id: str, since: float) -> dict[str, Any] | None:
    for name in outputs.names(home, job_id)[:1]:
        try:
            text, status = outputs.read(home, job_id, name, HEADING)
        except OSError:
            continue
        if status.st_mtime > since:
            title = text.partition("\n")[0].removeprefix("# Cron Job: ").removesuffix(" (FAILED)").strip()
            failed = FAILED.search(text.partition("\n## ")[0])
            return _completion(home, job_id, title or job_id, "error" if failed else "ok", status.st_mtime, True)
    return None


def _completion(home: Home, job_id: str, name: str, status: str, ended: float, toast: bool) -> dict[str, Any]:
    return {"job_id": job_id, "name": name, "status": status, "completed_at": ended, "toast_notifications": toast,
            "session_id": sessions.latest(home, job_id, ended)}
