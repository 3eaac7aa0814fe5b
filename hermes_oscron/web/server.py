"""The server: waitress on sockets of its own, or on those of systemd, where it exits when idle."""

import contextlib
import datetime
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import waitress.server

from .. import config
from ..config import Config
from ..errors import describe
from ..files import StateFileError
from ..schedulers.foreground import Foreground
from ..schedulers.protocol import SchedulerError
from ..service.jobs import JobService
from ..service.selection import Selection
from ..service.sync import Reconciler
from . import authentication, connection_limits, sockets, token
from .app import make_app, make_refusing_app
from .sockets import ServerError

log = logging.getLogger(__name__)

DEFAULT_HOST, DEFAULT_PORT = "localhost", 8791
IDLE_TIMEOUT_S = 60.0
"""The time without a call after which a server with systemd's sockets exits; the next call starts it again."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(root: str, host: str | None, port: int | None, scheduler: str | None, beyond_loopback: bool) -> None:
    """Serve the jobs of `root` until SIGTERM, or until idle if systemd listens for us.

    `host` and `port` take precedence over the configuration. Only with `beyond_loopback` may other machines reach
    `host`. Raises ServerError, ConfigError, SchedulerError, StateFileError, OSError; the caller then calls
    `refuse_waiting_clients`.
    """
    _configure_logging()
    passed = sockets.passed_sockets()
    settings = config.load(root)
    with contextlib.ExitStack() as stack:
        listening = passed or _listen(settings, host, port, stack)
        _check_exposure(listening, settings.auth == "none", bool(passed) or beyond_loopback)
        token.get_or_create(root)
        authenticator = authentication.Authenticator(root, sockets.hostname_of(listening[0]),
                                                     any(map(sockets.is_exposed, listening)))
        selection = Selection.load(root, settings, scheduler)
        app = _LastCall(make_app(selection, JobService(selection), authenticator))
        reconciler = Reconciler(selection)
        if isinstance(selection.configured, Foreground):
            reconciler.plans(datetime.datetime.now(datetime.UTC))  # unreadable jobs are reported here, not by a thread
            stack.enter_context(selection.configured.firing(reconciler.record_and_plan,
                                                            reconciler.watched_folders))
            for sentence in reconciler.sync().started:
                log.info("%s", sentence)
        elif scheduler:
            _switch_scheduler(reconciler)
        servers = _servers(app, listening)
        if passed:
            _exit_when_idle(servers, app, IDLE_TIMEOUT_S)
        else:
            log.info("Listening on %s; %s fires the jobs.", " and ".join(map(sockets.url_of, listening)),
                     selection.active.kind)
        servers[0].run()


def _configure_logging() -> None:
    """Log one line per message. Waitress logs client behaviour at INFO, so only its errors are kept."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("waitress").setLevel(logging.ERROR)


class _OneLineFormatter(logging.Formatter):
    """Formats a message on one line, without characters that control a terminal or imitate another line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in super().formatMessage(record))


def _listen(settings: Config, host: str | None, port: int | None, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Return the sockets to serve. `stack` removes the file of a unix socket. Raises ServerError."""
    if settings.listen and host is None and port is None:
        listening = sockets.listen_on_unix_socket(settings.listen.removeprefix(sockets.UNIX))
        stack.callback(sockets.unlink_socket, listening)
        return [listening]
    return sockets.listen_on_port(host or DEFAULT_HOST, DEFAULT_PORT if port is None else port)


def _check_exposure(listening: list[socket.socket], auth_disabled: bool, beyond_loopback: bool) -> None:
    """Log which callers can run code here. Raises ServerError if other machines can and `beyond_loopback` is false."""
    name = sockets.url_of(listening[0])
    exposed = any(map(sockets.is_exposed, listening))
    if free := sockets.unheld(listening):
        log.warning("Another account can listen on %s, and would get the tokens of clients that call localhost; "
                    "'./install.sh' holds that address too.", free)
    if auth_disabled and exposed:
        raise ServerError(f"auth = \"none\" works on loopback only, and {name} is not: remove it from oscron.toml.")
    if exposed and not beyond_loopback:
        raise ServerError(f"Other machines reach {name}: everyone who has the token can run code here, and the token "
                          f"is sent unencrypted. Use a loopback address behind a proxy with TLS, or --beyond-loopback.")
    if auth_disabled:
        log.warning("auth = \"none\": everyone who can reach %s on this machine can run code as this account.", name)
    if exposed:
        log.warning("Other machines reach %s: everyone who has the token can run code as this account, and token and "
                    "answers are sent unencrypted. Put a proxy with TLS in front.", name)


def _switch_scheduler(reconciler: Reconciler) -> None:
    """Switch to the scheduler of --scheduler. If that fails, the server answers with the reason."""
    try:
        reconciler.sync()
    except (SchedulerError, StateFileError) as error:
        log.error("%s", error)


def refuse_waiting_clients(error: Exception) -> None:
    """Answer `error`, by which the server cannot start, to every client that waits at the sockets of systemd, if any.

    Without an answer they would wait, and systemd would start the server again and again. The next call starts it.
    """
    if passed := sockets.passed_sockets():
        app = _LastCall(make_refusing_app(describe(error)))
        servers = _servers(app, passed)
        _exit_when_idle(servers, app, 0.0)
        servers[0].run()


def _servers(app: "_LastCall", listening: list[socket.socket]) -> list[Any]:
    """Return a waitress server for each socket. They share a loop and threads, and `run` of any runs all."""
    loop: dict[int, Any] = {}
    waitress.server.create_server(app, map=loop, sockets=listening, threads=8, ident=None,
                                  clear_untrusted_proxy_headers=True, **connection_limits.SETTINGS)
    servers = [each for each in loop.values() if isinstance(each, waitress.server.BaseWSGIServer)]
    connection_limits.apply_limits(servers)
    return servers


class _LastCall:
    """The application, and the time of its last call."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app
        self.last_call = time.monotonic()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.last_call = time.monotonic()
        return self._app(environ, start_response)


def _exit_when_idle(servers: list[Any], app: _LastCall, idle_s: float) -> None:
    """Close `servers` if no client is connected or has called for `idle_s`; later calls wait in systemd's sockets."""

    def close_if_idle() -> None:
        if time.monotonic() - app.last_call >= idle_s and not any(server.active_channels for server in servers):
            for server in servers:
                server.close()

    def watch() -> None:
        while True:
            time.sleep(max(1.0, app.last_call + idle_s - time.monotonic()))
            servers[0].trigger.pull_trigger(close_if_idle)  # in the server's own loop, so that no call is lost

    threading.Thread(target=watch, name="idle", daemon=True).start()
