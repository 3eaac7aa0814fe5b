"""Send an alert to its receiver: a command, a service that Apprise knows, or a monitor with the Healthchecks protocol.

Commands and Apprise are processes with a time limit, so that one which hangs ends.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import OscronError, cause
from .message import END_FAILED, END_OK
from .outbox import COMMAND, PING, Target

COMMAND_TIMEOUT_S, APPRISE_TIMEOUT_S, PING_TIMEOUT_S = 30.0, 60.0, 10.0
MAX_PING_BYTES, MAX_ERROR_CHARS = 100_000, 300
APPRISE = [sys.executable, "-I", "-m", "hermes_oscron.notify.send_by_apprise"]
COLORS = {"failure": "failure", "failing": "failure", "missed": "warning", "paused": "warning", "recovery": "success",
          "success": "success"}
"""The types of Apprise (NotifyType) of the events; others are `info`."""


class NotSent(OscronError):
    """The receiver did not accept an alert; it may later."""


class Rejected(NotSent):
    """The receiver will never accept the alert."""


def send(target: Target, contents: Sequence[dict[str, Any]]) -> None:
    """Send one alert with `contents`, or a message about all of them. Raises NotSent."""
    if target.kind == PING:
        _ping(target.value[0], contents[0])
    elif target.kind == COMMAND:
        _run(target.value, contents[0], COMMAND_TIMEOUT_S)
    else:
        _run(APPRISE, {"url": target.value[0], **as_one(contents)}, APPRISE_TIMEOUT_S)


def as_one(contents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return title, body and type of a message about `contents`."""
    first = contents[0]
    kind = COLORS.get(first["event"], "info")
    if len(contents) == 1:
        return {"title": first["title"], "type": kind,
                "body": "\n\n".join(filter(None, (first["text"], first.get("output"))))}
    return {"title": f"{len(contents)} alerts ({first['host']})", "type": "warning",
            "body": "\n\n".join(f"{each['title']}\n{each['text']}" for each in contents)}


def _run(command: Sequence[str], content: Mapping[str, Any], timeout_s: float) -> None:
    """Run `command` with `content` as JSON on its standard input. It and what it has started end after `timeout_s`.

    The input is a file in memory, so that the command gets all of it, also if this process is killed.
    """
    try:
        with os.fdopen(os.memfd_create("alert"), "w+b") as file:
            file.write(json.dumps(content).encode())
            file.seek(0)
            process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       start_new_session=True)
    except (OSError, ValueError) as error:
        raise NotSent(f"{command[0]} could not be started: {cause(error)}") from error
    assert process.stdout
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise NotSent(f"{command[0]} did not end within {timeout_s:.0f} s, and was killed.") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or its id is another's by now
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdout.close()
    if process.returncode:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        how = f"exited with code {process.returncode}" if process.returncode > 0 else "was killed by a signal"
        program = "Apprise" if command is APPRISE else command[0]
        reason = f": {lines[-1][:MAX_ERROR_CHARS].rstrip('.')}" if lines else ""
        raise NotSent(f"{program} {how}{reason}.")


def _ping(url: str, content: Mapping[str, Any]) -> None:
    """Send a signal of the Healthchecks protocol (https://healthchecks.io/docs/http_api/)."""
    if "ping" not in content:  # the test, which must change no check
        content = {**content, "ping": "log", "profile": "test", "job": "test", "name": "test", "run": content["id"]}
    body = "\n\n".join(filter(None, (content["text"], content.get("output"))))
    headers = {"User-Agent": "hermes-oscron", "Content-Type": "text/plain; charset=utf-8"}
    try:
        request = urllib.request.Request(ping_url(url, content), body.encode()[-MAX_PING_BYTES:], headers)
        with urllib.request.urlopen(request, timeout=PING_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        kind = Rejected if 400 <= error.code < 500 and error.code not in (408, 425, 429) else NotSent
        raise kind(f"The ping was answered with {error.code} {error.reason}.") from error
    except (http.client.InvalidURL, ValueError) as error:  # its text has a part of the URL, perhaps the password
        raise NotSent("The ping failed: its URL is not valid.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotSent(f"The ping failed: {str(reason)[:MAX_ERROR_CHARS]}.") from error


def ping_url(template: str, content: Mapping[str, Any]) -> str:
    """Return the URL of the signal in `content`: `template` with the job in it, and the signal and run after its path.

    A failure with an exit code is signalled by that code.
    """
    for part in ("profile", "job", "name"):
        template = template.replace(f"{{{part}}}", slug(content[part]))
    sent = content["ping"]
    if sent == END_FAILED and content.get("exit_code"):
        sent = str(content["exit_code"])
    parts = urllib.parse.urlsplit(template)
    path = parts.path.rstrip("/") + (f"/{sent}" if sent != END_OK else "")
    query = "&".join(filter(None, (parts.query, f"rid={content['run']}")))
    return urllib.parse.urlunsplit(parts._replace(path=path, query=query))


def slug(text: str) -> str:
    """Return `text` in the characters of a slug of Healthchecks."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:100] or "job"
