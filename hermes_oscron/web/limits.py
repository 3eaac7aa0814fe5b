"""What a connection may cost: memory, disk and time have an end, whatever a client sends or leaves unread.

Waitress has limits of its own, and these go beyond them: its timeout begins anew with every byte, it keeps a body on
disk, and a chunk's size line without end it keeps in memory.
"""

import contextlib
import json
import socket
import struct
import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import BadRequest

from .asked import LARGEST_BODY

CONNECTIONS = 100
"""At a time; more wait in the kernel."""
CROWDED = 80
"""Connections from which on nobody may be without a question for long."""
CROWDED_TIME = 1.0
"""Seconds then."""
LARGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers."""
LARGEST_REQUEST = 64 * 1024 * 1024
"""Bytes; a body that is too large is heard to its end, so that the client hears our answer, but not beyond this."""
LONGEST_LINE = 4096
"""Bytes of a line between chunks, and of what comes after the last."""
REQUEST_TIME = 30.0
"""Seconds that a request has from its first byte to its last."""
IDLE_TIME = 60.0
"""Seconds between two requests."""
SILENCE = 30.0
"""Seconds in which a client has to take something of its answer."""
ANSWER_TIME = 300.0
"""Seconds that it has for all of it."""

SETTINGS: dict[str, Any] = {
    "connection_limit": CONNECTIONS, "max_request_header_size": LARGEST_HEAD, "max_request_body_size": LARGEST_REQUEST,
    "inbuf_overflow": 2 * LARGEST_BODY, "outbuf_overflow": 2**40, "cleanup_interval": 1,
}
"""For waitress: nothing is ever put on disk, and once a second it looks who is late."""


def bound(server: Any) -> None:
    """Set these limits to SERVER, one of waitress made with SETTINGS."""
    server.channel_class = Channel
    server.maintenance = lambda now: _maintain(list(server.active_channels.values()))


def _maintain(channels: list["Channel"]) -> None:
    now = time.monotonic()
    crowded = len(channels) > CROWDED
    for channel in channels:
        if channel.is_late(now) or (crowded and channel.is_idle() and now - channel.waiting_since > CROWDED_TIME):
            channel.cut()


class _Body(OverflowableBuffer):  # type: ignore[misc]  # waitress has no types
    """A body that is kept up to LARGEST_BODY; of what is larger, only the length."""

    def __init__(self) -> None:
        super().__init__(SETTINGS["inbuf_overflow"])
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes) -> None:
        self._length += len(data)
        if self._length <= LARGEST_BODY:
            super().append(data)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    completed: bool = False

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.chunked and not self.completed:
            between = max(len(self.body_rcv.control_line), len(self.body_rcv.trailer))
            if between > LONGEST_LINE:
                self.error = BadRequest("a line between two chunks is too long")
                self.completed = True
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address that is none, a length of thousands of digits
            raise ParsingError(f"that is no request: {error}") from None
        if self.body_rcv is not None:
            self.body_rcv.buf = _Body()


class Refusal(ErrorTask):  # type: ignore[misc]
    """What waitress refuses before the application sees it, answered as everything else is."""

    def execute(self) -> None:
        refused = self.request.error
        body = json.dumps({"error": f"{refused.reason}: {refused.body}."}).encode()
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows when it is late; on a unix socket its address is `uid:N`, the account that calls."""

    error_task_class = Refusal
    parser_class = _Parser

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        self.waiting_since = self._begun = time.monotonic()
        super().__init__(server, sock, _account(sock) if sock.family == socket.AF_UNIX else addr, adj, map)

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self._begun = time.monotonic()
        return bool(super().received(data))

    def service(self) -> None:
        super().service()
        self.waiting_since = time.monotonic()

    def handle_close(self) -> None:
        """Close; what the client has sent meanwhile is taken off first, or it would hear of a reset and no answer."""
        with contextlib.suppress(OSError):
            for _ in range(64):  # who never stops sending hears of the reset
                if not self.socket or not self.socket.recv(65536):
                    break
        super().handle_close()

    def cut(self) -> None:
        """Close in the next round of the loop, whether or not the client takes anything."""
        self.will_close = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def is_idle(self) -> bool:
        """Whether nothing is under way but maybe a request that has not come whole."""
        return not self.requests and not self.total_outbufs_len

    def is_late(self, now: float) -> bool:
        """Whether the client has had its time."""
        if self.total_outbufs_len:
            silent = time.time() - self.last_activity > SILENCE
            return silent or (not self.requests and now - self.waiting_since > ANSWER_TIME)
        if self.requests:
            return False
        return now - self._begun > REQUEST_TIME if self.request else now - self.waiting_since > IDLE_TIME


def _account(sock: socket.socket) -> tuple[str, int]:
    """Whose process is at the other end of SOCK, a unix socket (SO_PEERCRED, unix(7))."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return f"uid:{uid}", 0
