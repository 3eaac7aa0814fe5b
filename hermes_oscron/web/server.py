"""The server: waitress on a socket of ours or of systemd's, gone when nobody calls."""

import contextlib
import datetime
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from ..bridge import Bridge
from ..hermes import config
from ..hermes.store import StoreError
from ..schedulers.choose import choose
from ..schedulers.foreground import Foreground
from ..schedulers.plan import SchedulerError
from . import credentials
from .app import make_app, make_refusing_app

log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8791
LISTEN_FDS_START = 3
"""The first socket that systemd passes (sd_listen_fds(3))."""
IDLE = 60.0
"""Seconds without a call after which a server that systemd would start again leaves."""
LARGEST_REQUEST = 64 * 1024 * 1024
"""Bytes; what is larger is not read to its end."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class CannotServe(Exception):
    """The server cannot start as it was asked to; the text says why."""


def serve(root: str, host: str, port: int, scheduler: str | None) -> None:
    """Serve the jobs of ROOT until SIGTERM, or until idle where systemd listens for us.

    Raises CannotServe, ConfigError, SchedulerError.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    passed = _passed_socket()
    try:
        settings = config.load(root)
    except config.ConfigError as error:
        if passed:
            _refuse(passed, error)
        raise
    listening = passed or _listen(host, port)
    bound, bound_port = listening.getsockname()[:2]
    open_door = settings.auth == "none"
    if open_door and bound not in credentials.LOOPBACK:
        raise CannotServe(f"auth = \"none\" is for loopback alone, and {bound} is not: take it out of oscron.toml.")
    if open_door:
        log.warning("auth = \"none\": whoever reaches %s:%d on this machine can run code as this account.",
                    bound, bound_port)
    door = credentials.Door(None if open_door else credentials.token(root),
                            credentials.hosts(bound, settings.hosts))
    bridge = Bridge(root, choose(root, settings, scheduler))
    app = _Busy(make_app(bridge, door))
    with contextlib.ExitStack() as stack:
        if isinstance(bridge.wanted, Foreground):
            bridge.plans(datetime.datetime.now(datetime.UTC))  # unreadable jobs are told here, not by a thread
            stack.enter_context(bridge.wanted.firing(bridge.plans))
            bridge.sync()
        elif scheduler:
            _move(bridge)
        server = _server(app, listening)
        if passed:
            _leave_when_idle(server, app, IDLE)
        log.info("Listening on http://%s:%d; %s fires the jobs.", bound, bound_port, bridge.scheduler.kind)
        server.run()


def _move(bridge: Bridge) -> None:
    """Let the scheduler that was asked for fire; where it cannot, the server answers that."""
    try:
        bridge.sync()
    except (SchedulerError, StoreError) as error:
        log.error("%s", error)


def _refuse(passed: socket.socket, error: config.ConfigError) -> None:
    """Answer those who wait at the PASSED socket with ERROR, and leave soon; the next call reads the file anew."""
    log.error("%s", error)
    app = _Busy(make_refusing_app(str(error)))
    server = _server(app, passed)
    _leave_when_idle(server, app, 0.0)
    server.run()


def _server(app: "_Busy", listening: socket.socket) -> Any:
    server = waitress.server.create_server(
        app, sockets=[listening], threads=8, ident=None, max_request_body_size=LARGEST_REQUEST,
        clear_untrusted_proxy_headers=True,
    )
    server.channel_class = _Channel
    return server


class _Refusal(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress refuses before the application sees it, answered as everything else is."""

    def execute(self) -> None:
        refused = self.request.error
        body = json.dumps({"error": f"{refused.reason}: {refused.body}"}).encode()
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _Refusal


class _Busy:
    """The application, and since when nobody has called it."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app
        self.last_call = time.monotonic()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.last_call = time.monotonic()
        return self._app(environ, start_response)


def _leave_when_idle(server: Any, app: _Busy, idle: float) -> None:
    """Close SERVER once nobody is connected or has called for IDLE seconds; later calls wait in systemd's socket."""

    def close_if_idle() -> None:
        if time.monotonic() - app.last_call >= idle and not server.active_channels:
            server.close()

    def watch() -> None:
        while True:
            time.sleep(max(1.0, app.last_call + idle - time.monotonic()))
            server.trigger.pull_trigger(close_if_idle)  # in the server's own loop, so that no call is lost

    threading.Thread(target=watch, name="idle", daemon=True).start()


def _passed_socket() -> socket.socket | None:
    """The socket systemd listens on for us, or None (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=LISTEN_FDS_START)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise CannotServe(f"Cannot listen on {host}:{port}: {error}.") from error
