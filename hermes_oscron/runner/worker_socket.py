"""The socket of the agent worker without systemd: the first run creates it, and starts the worker.

The worker removes the name of the socket before it ends, so that no run waits for a worker that ends.
"""

import contextlib
import os
import socket
import time

from ..files import StateFileError, locked, make_private_dir
from ..hermes.home import Home
from ..runs.model import RUN_VARIABLE
from ..runs.processes import spare
from .start_agent_worker import LISTEN_FD, execute

CONNECT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 5.0
MAX_WAITING = 128
"""The most connections that a worker has not accepted. Further ones are refused at once."""


class NoWorker(Exception):
    """There is no worker, and none can be started."""


def connection_to(home: Home) -> socket.socket:
    """Return a connection to the worker of `home`, which is started if there is none. Raises NoWorker."""
    folder, name = os.path.split(home.state.agent_worker)
    try:
        make_private_dir(folder)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _connection(home, f"/proc/self/fd/{fd}/{name}")  # unix(7): an address has at most 107 bytes
        finally:
            os.close(fd)
    except (StateFileError, OSError) as error:
        raise NoWorker(str(error)) from None


def _connection(home: Home, address: str) -> socket.socket:
    """Return a connection to the worker of `home` at `address`. Raises StateFileError, OSError."""
    if connection := _connected(address):
        return connection
    with locked(home.state.agent_worker_lock, LOCK_TIMEOUT_S):
        if connection := _connected(address):  # another run has started it
            return connection
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)  # that of a worker that was killed
        _start(home, address)
        return connect(address)


def _connected(address: str) -> socket.socket | None:
    """Return a connection to `address`; None if no process listens there. Raises OSError."""
    try:
        return connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def connect(address: str) -> socket.socket:
    """Return a connection to the socket at `address`. Raises OSError, at once if too many wait for it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(CONNECT_TIMEOUT_S)  # a worker that is frozen accepts nothing
        connection.connect(address)
        connection.settimeout(None)
    except OSError:
        connection.close()
        raise
    return connection


def _start(home: Home, address: str) -> None:
    """Start the worker of `home` with a socket at `address`. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        umask = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(umask)
        listener.listen(MAX_WAITING)
        pid = os.fork()  # 60 ms of CPU less than another Python
        if pid == 0:
            try:
                _become_worker(home, listener)
            finally:
                os._exit(1)  # the listener ends too, which refuses the connections
    spare(pid)


def _become_worker(home: Home, listener: socket.socket) -> None:
    """Execute the worker of `home`: in a session of its own, with a mark of its own, and without our output."""
    os.setsid()
    os.chdir("/")
    os.dup2(listener.fileno(), LISTEN_FD)
    for number in range(LISTEN_FD):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    os.closerange(LISTEN_FD + 1, os.sysconf("SC_OPEN_MAX"))
    execute(home, home.state.agent_worker, **{RUN_VARIABLE: f"worker@{time.time()!r}"})
