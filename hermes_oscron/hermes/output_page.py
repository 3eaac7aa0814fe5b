"""The Markdown page of a run: its heading, its usage, its response."""

import datetime
import json
import re
from typing import Any

WINDOW_CHARS = 8000

WINDOW_HEAD_CHARS = 200

RESPONSE_HEADING = re.compile(r"^##? Response\b", re.M)
"""The heading; a prompt or an error may have the word elsewhere."""

SNIPPET_CHARS = 600

MAX_HEADING_BYTES = 16 * 1024
"""The lines before the first section are within this."""


def heading(content: str) -> str:
    """Return the lines of `content` before its first section."""
    return re.split(r"^(?:## |---)", content[:MAX_HEADING_BYTES], maxsplit=1, flags=re.M)[0]


def status(content: str) -> str:
    """Return `ok`, `error` or `silent`, which is a script that had nothing to report, by the heading of `content`."""
    lines = heading(content)
    if lines.partition("\n")[0].rstrip().endswith("(FAILED)"):
        return "error"
    return "silent" if "\n**Status:** silent" in lines else "ok"


def usage(content: str) -> dict[str, Any]:
    """Return the usage in the lines of `content` before its first section: `**Tokens:** 12 in / 3 out`.

    Agents name some lines differently; the Tasks panel's own server reads the same names.
    """
    lines = re.findall(r"^\*\*([A-Za-z ]+):\*\* *(\S.*)$", heading(content), re.M)
    said = {name.lower(): value.strip() for name, value in reversed(lines)}
    tokens = said.get("tokens", "")
    counted_in, counted_out = _count(tokens, r"in(?:put)?"), _count(tokens, r"out(?:put)?")
    total = _count(tokens, r"(?:total|tokens)")
    if total is None and (counted_in is not None or counted_out is not None):
        total = (counted_in or 0) + (counted_out or 0)
    found = {
        "model": said.get("model") or said.get("model used"), "provider": said.get("provider"),
        "input_tokens": counted_in, "output_tokens": counted_out, "total_tokens": total,
        "estimated_cost_usd": _number(said.get("cost") or said.get("estimated cost", "")),
        "duration_seconds": _seconds(said.get("duration") or said.get("elapsed", "")),
    }
    return {key: value for key, value in found.items() if value is not None}


def _count(text: str, what: str) -> int | None:
    """Return the number before the word `what` in `text`."""
    match = re.search(rf"\b(\d[\d,]{{0,19}})\s*{what}\b", text, re.I)
    return int(match[1].replace(",", "")) if match else None


def _number(text: str) -> float | None:
    match = re.search(r"\d[\d,]{0,15}(?:\.\d{1,15})?|\.\d{1,15}", text)
    return float(match[0].replace(",", "")) if match else None


def _seconds(text: str) -> float | None:
    """Return the seconds of a duration: `12.5s`, `1h 2m 3s`, or a number alone; None for any other text."""
    number = r"(\d{1,9}(?:\.\d{1,9})?)\s*"
    parts = re.fullmatch(rf"(?:{number}h\s*)?(?:{number}m\s*)?(?:{number}s?)?", text.strip(), re.I)
    if not parts or not any(parts.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def response(content: str) -> str:
    """Return what follows the heading of the response in `content`, or all of `content` if it has no such heading."""
    heading = RESPONSE_HEADING.search(content)
    return content[heading.end() if heading else 0:].strip()


def snippet(content: str) -> str:
    """Return the beginning of the response in `content`, or of all of `content` if it has no such heading."""
    return response(content)[:SNIPPET_CHARS] or "(empty)"


def window(content: str) -> str:
    """Return `content` if it is short, else its first 200 characters and everything from the response on."""
    if len(content) <= WINDOW_CHARS:
        return content
    heading = RESPONSE_HEADING.search(content)
    return f"{content[:WINDOW_HEAD_CHARS]}\n...\n{content[heading.start():]}" if heading else content[-WINDOW_CHARS:]


def wakes_agent(stdout: str) -> bool:
    """Return False if the last line of a script's output is JSON with `"wakeAgent": false`: nothing to report."""
    try:
        gate = json.loads(next(line for line in reversed(stdout.splitlines()) if line.strip()))
    except (StopIteration, ValueError, RecursionError):
        return True
    return not isinstance(gate, dict) or gate.get("wakeAgent", True) is not False


def _status(record: dict[str, Any], stdout: str, error: str | None) -> str:
    """Return the line by which the agent marks the output of a script that has nothing to report."""
    if not record.get("no_agent") or error:
        return ""
    if not wakes_agent(stdout):
        return "\n**Status:** silent (wakeAgent=false)"
    return "" if stdout.strip() else "\n**Status:** silent (empty output)"


def render_page(record: dict[str, Any], started: datetime.datetime, ended: datetime.datetime, stdout: str, stderr: str,
                error: str | None) -> str:
    """Return the page of a run of the job in `record`, with the headings that clients look for.

    `started` is shown in its own zone.
    """
    failed = " (FAILED)" if error else ""
    title = " ".join(str(record.get("name") or record["id"]).split())
    prompt = f"Script: {record.get('script')}" if record.get("no_agent") else str(record.get("prompt") or "")
    parts = [
        f"# Cron Job: {title}{failed}",
        f"**Job ID:** {record['id']}\n"
        f"**Run Time:** {started:%Y-%m-%d %H:%M:%S}\n"
        f"**Schedule:** {record.get('schedule_display') or ''}\n"
        f"**Duration:** {(ended - started).total_seconds():.1f}s{_status(record, stdout, error)}",
        f"## Prompt\n\n{prompt}",
        f"## Response\n\n{stdout.strip() or '(no output)'}",
    ]
    if stderr.strip():
        parts.append(f"## Standard error\n\n{stderr.strip()}")
    if error:
        parts.append(f"## Error\n\n{error}")
    return "\n\n".join(parts) + "\n"
