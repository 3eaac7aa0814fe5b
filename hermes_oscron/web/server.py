"""The server: waitress on a socket of ours or of systemd's, gone when nobody calls."""

import contextlib
import datetime
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress.server

from ..bridge import Bridge
from ..hermes import config
from ..hermes.config import Config
from ..hermes.store import StoreError
from ..schedulers.foreground import Foreground
from ..schedulers.plan import SchedulerError
from . import credentials, limits, listening
from .app import make_app, make_refusing_app
from .listening import CannotServe

log = logging.getLogger(__name__)

HOST, PORT = "localhost", 8791
IDLE = 60.0
"""Seconds without a call after which a server that systemd would start again leaves."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(root: str, host: str | None, port: int | None, scheduler: str | None, beyond_loopback: bool) -> None:
    """Serve the jobs of ROOT until SIGTERM, or until idle where systemd listens for us.

    HOST or PORT given go before the configuration. Only BEYOND_LOOPBACK lets HOST be one that other machines reach.
    Raises CannotServe, ConfigError, SchedulerError.
    """
    _speak_plainly()
    passed = listening.passed_sockets()
    try:
        settings = config.load(root)
    except config.ConfigError as error:
        if passed:
            _refuse(passed, error)
        raise
    with contextlib.ExitStack() as stack:
        ours = passed or _listen(settings, host, port, stack)
        _weigh(ours, settings.auth == "none", bool(passed) or beyond_loopback)
        credentials.token(root)
        door = credentials.Door(root, listening.hostname_of(ours[0]), any(map(listening.reaches_beyond, ours)))
        bridge = Bridge.configured(root, settings, scheduler)
        app = _Busy(make_app(bridge, door))
        if isinstance(bridge.wanted, Foreground):
            bridge.plans(datetime.datetime.now(datetime.UTC))  # unreadable jobs are told here, not by a thread
            stack.enter_context(bridge.wanted.firing(bridge.plans))
            for sentence in bridge.sync().started:
                log.info("%s", sentence)
        elif scheduler:
            _move(bridge)
        servers = _servers(app, ours)
        if passed:
            _leave_when_idle(servers, app, IDLE)
        log.info("Listening on %s; %s fires the jobs.", " and ".join(map(listening.name_of, ours)),
                 bridge.scheduler.kind)
        servers[0].run()


def _speak_plainly() -> None:
    """Log what we have to say, a line each; of waitress, which tells what any client does, only its own mistakes."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("waitress").setLevel(logging.ERROR)


class _Line(logging.Formatter):
    """A message on one line, with nothing in it that would drive a terminal or look like another line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in super().formatMessage(record))


def _listen(settings: Config, host: str | None, port: int | None, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Return the sockets to serve; the file of one in the file system is removed with `stack`. Raises CannotServe."""
    if settings.listen and host is None and port is None:
        ours = listening.listen_in_file(settings.listen.removeprefix(listening.UNIX))
        stack.callback(listening.leave, ours)
        return [ours]
    return listening.listen_on_port(host or HOST, PORT if port is None else port)


def _weigh(ours: list[socket.socket], is_open: bool, beyond_loopback: bool) -> None:
    """Say in the log who can run code here. Raises CannotServe where that are more than BEYOND_LOOPBACK allows."""
    beyond = any(map(listening.reaches_beyond, ours))
    name = listening.name_of(ours[0])
    if free := listening.unheld(ours):
        log.warning("Another account can listen on %s, and would get the tokens of clients that call localhost; "
                    "'./install.sh' holds that address too.", free)
    if is_open and beyond:
        raise CannotServe(f"auth = \"none\" is for loopback alone, and {name} is not: take it out of oscron.toml.")
    if beyond and not beyond_loopback:
        raise CannotServe(f"Other machines reach {name}: whoever has the token runs code here, and the token crosses "
                          f"the network as it is. Let a proxy with TLS call a loopback address, or say "
                          f"--beyond-loopback.")
    if is_open:
        log.warning("auth = \"none\": whoever reaches %s on this machine can run code as this account.", name)
    if beyond:
        log.warning("Other machines reach %s: whoever has the token can run code as this account, and token and "
                    "answers cross the network as they are. Put a proxy with TLS in front.", name)


def _move(bridge: Bridge) -> None:
    """Let the scheduler that was asked for fire; where it cannot, the server answers that."""
    try:
        bridge.sync()
    except (SchedulerError, StoreError) as error:
        log.error("%s", error)


def _refuse(passed: list[socket.socket], error: config.ConfigError) -> None:
    """Answer those who wait at the PASSED socket with ERROR, and leave soon; the next call reads the file anew."""
    log.error("%s", error)
    app = _Busy(make_refusing_app(str(error)))
    servers = _servers(app, passed)
    _leave_when_idle(servers, app, 0.0)
    servers[0].run()


def _servers(app: "_Busy", ours: list[socket.socket]) -> list[Any]:
    """Return a server of waitress for each of `ours`; they share a loop and threads, and `run` of any runs all."""
    loop: dict[int, Any] = {}
    waitress.server.create_server(
        app, map=loop, sockets=ours, threads=8, ident=None, clear_untrusted_proxy_headers=True, **limits.SETTINGS
    )
    servers = [each for each in loop.values() if isinstance(each, waitress.server.BaseWSGIServer)]
    limits.bound(servers)
    return servers


class _Busy:
    """The application, and since when nobody has called it."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app
        self.last_call = time.monotonic()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.last_call = time.monotonic()
        return self._app(environ, start_response)


def _leave_when_idle(servers: list[Any], app: _Busy, idle: float) -> None:
    """Close `servers` when nobody is connected or has called for `idle` seconds; later calls wait in systemd."""

    def close_if_idle() -> None:
        if time.monotonic() - app.last_call >= idle and not any(server.active_channels for server in servers):
            for server in servers:
                server.close()

    def watch() -> None:
        while True:
            time.sleep(max(1.0, app.last_call + idle - time.monotonic()))
            servers[0].trigger.pull_trigger(close_if_idle)  # in the server's own loop, so that no call is lost

    threading.Thread(target=watch, name="idle", daemon=True).start()
