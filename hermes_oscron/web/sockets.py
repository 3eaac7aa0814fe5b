"""The sockets of the server: passed by systemd, on an address and port, or in the file system."""

import contextlib
import errno
import functools
import os
import socket
import stat
from collections.abc import Sequence

from ..errors import OscronError, cause
from ..files import make_private_dir
from .authentication import is_loopback

LISTEN_FDS_START = 3
"""The first socket that systemd passes (sd_listen_fds(3))."""
UNIX = "unix:"
LOCALHOST = ("127.0.0.1", "::1")
"""The addresses that clients of `localhost` try, one after the other."""
ADDRESSES = {"localhost": LOCALHOST, "127.0.0.1": LOCALHOST, "::1": ("::1", "127.0.0.1"),
             "0.0.0.0": ("0.0.0.0", "::1"), "::": ("::", "127.0.0.1")}
"""The addresses to listen on for each host, so that no other program gets `localhost` in either family.

A host that is not listed is listened on alone.
"""
IPV6_FREEBIND = 78
"""linux/in6.h: bind an address also where the machine does not have it, or not yet."""
PORT_ATTEMPTS = 100
"""The number of attempts to find a port that is free on both addresses."""


class ServerError(OscronError):
    """The server cannot start as requested; the text gives the reason."""


class AddressTaken(ServerError):
    """Another program listens on an address that the server needs."""


@functools.cache
def passed_sockets() -> list[socket.socket]:
    """Return the sockets that systemd listens on for us, if any (sd_listen_fds(3))."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    return [socket.socket(fileno=LISTEN_FDS_START + n) for n in range(int(count))]


def listen_on_port(host: str, port: int) -> list[socket.socket]:
    """Listen on `host` and `port`, and on the other loopback address if clients may call `localhost`.

    Another account could listen there otherwise, and would get their tokens. Port 0 is any that is free on both. Raises
    ServerError if an address is taken.
    """
    attempts = PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        try:
            return _listen_on_each(ADDRESSES.get(host.lower(), (host,)), port)
        except AddressTaken:
            if attempt + 1 == attempts:
                raise
    raise AssertionError


def _listen_on_each(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Listen on all of `addresses`, or on none. Raises ServerError."""
    with contextlib.ExitStack() as undo:
        sockets: list[socket.socket] = []
        for address in addresses:
            try:
                sockets.append(undo.enter_context(_listen(address, port)))
            except (OSError, OverflowError) as error:
                code = error.errno if isinstance(error, OSError) else None
                if sockets and code == errno.EAFNOSUPPORT:
                    continue  # the kernel has no IPv6
                shown = f"Cannot listen on {_shown(address, port)}"
                if code == errno.EADDRINUSE:
                    raise AddressTaken(f"{shown}: another program does. As root, 'ss -ltnp sport = :{port}' names it; "
                                       f"--port takes another port.") from error
                raise ServerError(f"{shown}: {cause(error)}") from error
            port = sockets[0].getsockname()[1]
        undo.pop_all()
        return sockets


def _listen(address: str, port: int) -> socket.socket:
    """Listen on `address` and `port`. Raises OSError, OverflowError."""
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, address == LOCALHOST[1])
        listening.bind((address, port))
        listening.listen()
    except (OSError, OverflowError):
        listening.close()
        raise
    return listening


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def unheld(sockets: Sequence[socket.socket]) -> str | None:
    """Return the loopback address and port that `sockets` leave to other accounts, or None."""
    held = dict(each.getsockname()[:2] for each in sockets if each.family != socket.AF_UNIX)
    missing = [address for address in LOCALHOST if address not in held]
    if len(missing) != 1 or held.keys() & {"0.0.0.0", "::"} or not os.path.exists("/proc/net/if_inet6"):
        return None
    return _shown(missing[0], next(iter(held.values())))


def listen_on_unix_socket(path: str) -> socket.socket:
    """Return a socket that listens at `path`, for this account alone. Raises ServerError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        make_private_dir(os.path.dirname(path))
        _clear_away(path)
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise ServerError(f"Cannot listen on {UNIX}{path}: {cause(error)}") from error
    return listening


def _clear_away(path: str) -> None:
    """Remove a socket at `path` on which no process listens. Raises OSError if there is anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "A file that is not a socket is there", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "Another server listens there", path)


def unlink_socket(listening: socket.socket) -> None:
    """Remove the file of `listening`, a socket of `listen_on_unix_socket`."""
    with contextlib.suppress(OSError):
        os.unlink(listening.getsockname())


def url_of(listening: socket.socket) -> str:
    """Return the URL of `listening`: `http://127.0.0.1:8791`, `unix:/run/user/1000/hermes-oscron`."""
    if listening.family == socket.AF_UNIX:
        return f"{UNIX}{listening.getsockname()}"
    return f"http://{_shown(*listening.getsockname()[:2])}"


def is_exposed(listening: socket.socket) -> bool:
    """Return True if other machines can reach `listening`."""
    return listening.family != socket.AF_UNIX and not is_loopback(listening.getsockname()[0])


def hostname_of(listening: socket.socket) -> str:
    """Return the name or address that `listening` is bound to."""
    return "localhost" if listening.family == socket.AF_UNIX else str(listening.getsockname()[0])
