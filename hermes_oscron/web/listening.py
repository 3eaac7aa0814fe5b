"""Where the server listens: a socket that systemd passes, one of an address and port, or one in the file system."""

import contextlib
import errno
import os
import socket
import stat

from ..errors import cause
from ..hermes.store import make_private_dir
from .credentials import is_loopback

LISTEN_FDS_START = 3
"""The first socket that systemd passes (sd_listen_fds(3))."""
UNIX = "unix:"


class CannotServe(Exception):
    """The server cannot start as it was asked to; the text says why."""


def passed_socket() -> socket.socket | None:
    """The socket systemd listens on for us, or None (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=LISTEN_FDS_START)


def listen_on_port(host: str, port: int) -> socket.socket:
    """A socket that listens on HOST and PORT. Raises CannotServe."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise CannotServe(f"Cannot listen on {host}:{port}: {cause(error)}") from error


def listen_in_file(path: str) -> socket.socket:
    """A socket that listens at PATH, for this account alone. Raises CannotServe."""
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
        raise CannotServe(f"Cannot listen on {UNIX}{path}: {cause(error)}") from error
    return listening


def _clear_away(path: str) -> None:
    """Remove a socket at PATH that nobody listens on any more. Raises OSError when there is anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "There is something else", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "Another server listens there", path)


def leave(listening: socket.socket) -> None:
    """Take the file of LISTENING, one of `listen_in_file`, away."""
    with contextlib.suppress(OSError):
        os.unlink(listening.getsockname())


def name_of(listening: socket.socket) -> str:
    """What clients call LISTENING: `http://127.0.0.1:8791`, `unix:/run/user/1000/hermes-oscron`."""
    if listening.family == socket.AF_UNIX:
        return f"{UNIX}{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reaches_beyond(listening: socket.socket) -> bool:
    """Whether LISTENING is heard outside this machine."""
    return listening.family != socket.AF_UNIX and not is_loopback(listening.getsockname()[0])


def hostname_of(listening: socket.socket) -> str:
    """The name or address that LISTENING is bound to."""
    return "localhost" if listening.family == socket.AF_UNIX else str(listening.getsockname()[0])
