"""Receivers of alerts on loopback: an SMTP server, a monitor with the Healthchecks protocol, and a command."""

import contextlib
import http.server
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller

from tests.conftest import wait_for


class Ping(NamedTuple):
    """A request that a monitor got: the check, the signal after it, the id of the run, and the log."""

    check: str
    signal: str
    rid: str
    body: str
    at: float


class Monitor:
    """A receiver of the pings of https://healthchecks.io/docs/http_api/, with the checks at /ping/KEY/SLUG.

    It answers 404 for another path or signal, as the original does, and with `status` otherwise.
    """

    def __init__(self) -> None:
        self.pings: list[Ping] = []
        self.status = 200
        self.refused = 0
        monitor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                url = urllib.parse.urlsplit(self.path)
                parts = url.path.strip("/").split("/")
                signal = parts[3] if len(parts) > 3 else "success"
                is_known = parts[:2] == ["ping", "key"] and len(parts) in (3, 4) and (
                    signal in ("success", "start", "fail", "log") or (signal.isdecimal() and int(signal) < 256))
                status = monitor.status if is_known else 404
                monitor.refused += status != 200
                if status == 200:
                    rid = urllib.parse.parse_qs(url.query).get("rid", [""])[0]
                    monitor.pings.append(Ping(parts[2], signal, rid, body, time.time()))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/ping/key"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def signals(self) -> list[str]:
        return [ping.signal for ping in self.pings]


@contextlib.contextmanager
def monitoring() -> Iterator[Monitor]:
    monitor = Monitor()
    try:
        yield monitor
    finally:
        monitor.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Mailbox:
    """An SMTP server, and the mails that it has accepted."""

    def __init__(self, port: int = 0) -> None:
        self.mails: list[EmailMessage] = []
        self.port = port or free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()
        self.url = f"mailto://127.0.0.1:{self.port}?from=hermes@example.org&to=admin@example.org&mode=insecure"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def close(self) -> None:
        if not self._controller.loop.is_closed():
            self._controller.stop()


@contextlib.contextmanager
def receiving(port: int = 0) -> Iterator[Mailbox]:
    mailbox = Mailbox(port)
    try:
        yield mailbox
    finally:
        mailbox.close()


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return str(body.get_content())


def write_command(folder: Path, name: str = "alert", then: str = "") -> tuple[list[str], Path]:
    """Write a command that appends each alert to a file, and `then` does more; return its words and the file."""
    program, file = folder / name, folder / f"{name}.jsonl"
    program.write_text(f'#!/bin/sh\nline=$(cat)\nprintf "%s\\n" "$line" >>"{file}"\n{then}\n')
    program.chmod(0o755)
    return [str(program)], file


def alerts_in(file: Path) -> list[dict[str, Any]]:
    """Return the alerts that the command has got."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def events_in(file: Path, count: int) -> list[str]:
    """Wait for `count` alerts, and return their events."""
    wait_for(lambda: len(alerts_in(file)) >= count)
    return [alert["event"] for alert in alerts_in(file)]
