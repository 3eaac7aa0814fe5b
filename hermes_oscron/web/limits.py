"""What a connection may cost: memory, disk and time have an end, whatever a client sends or leaves unread.

Waitress has limits of its own, and these go beyond them: its timeout begins anew with every byte, it keeps a body on
disk, and a chunk's size line without end it keeps in memory.
"""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Sequence
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
"""Connections from which on nobody may take long to ask, or to take what was answered."""
CROWDED_TIME = 2.0
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

REFUSALS = {
    400: "That is no HTTP request that can be read.",
    413: f"A body has at most {LARGEST_BODY} bytes.",
    431: f"The first line and the headers have at most {LARGEST_HEAD} bytes.",
    500: "The server made a mistake; its journal says which.",
    501: "The only transfer encoding is 'chunked'.",
}

SETTINGS: dict[str, Any] = {
    "connection_limit": CONNECTIONS, "max_request_header_size": LARGEST_HEAD, "max_request_body_size": LARGEST_REQUEST,
    "inbuf_overflow": 2 * LARGEST_BODY, "outbuf_overflow": 2**40, "cleanup_interval": 1,
}
"""For waitress: nothing is ever put on disk, and once a second it looks who is late."""


def bound(servers: Sequence[Any]) -> None:
    """Set these limits to `servers`, of waitress, made with SETTINGS; they hold for all together."""
    for server in servers:
        server.channel_class = Channel
        server.maintenance = lambda now: _maintain(
            [channel for each in servers for channel in each.active_channels.values()])


def _maintain(channels: list["Channel"]) -> None:
    now = time.monotonic()
    crowded = len(channels) > CROWDED
    for channel in channels:
        if channel.is_late(now) or (crowded and channel.waited(now) > CROWDED_TIME):
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
        if self.completed:  # nothing is left to wait for, and waitress would take what follows for its body
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address that is none, a length of thousands of digits
            raise ParsingError(f"that is no request: {error}") from None
        if self.chunked and "CONTENT_LENGTH" in self.headers:  # a way to smuggle (RFC 9112, 6.3)
            raise ParsingError("two lengths")
        if self.body_rcv is not None:
            self.body_rcv.buf = _Body()


class Refusal(ErrorTask):  # type: ignore[misc]
    """What waitress refuses before the application sees it, answered as everything else is.

    Its own words have the line that it could not read, which may be the one with the token.
    """

    def execute(self) -> None:
        refused = self.request.error
        body = json.dumps({"error": REFUSALS.get(refused.code, REFUSALS[400])}).encode()
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
        self._waiting_since = self._begun = time.monotonic()
        self._asks_too_much = False
        super().__init__(server, sock, _account(sock) if sock.family == socket.AF_UNIX else addr, adj, map)

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self._begun = time.monotonic()
        taken = bool(super().received(data))
        with self.requests_lock:
            self._asks_too_much |= len(self.requests) > 1
            del self.requests[1:]
        return taken

    def service(self) -> None:
        """Answer one request. Who asks more before the answer can ask again: else each of them could fill memory."""
        super().service()
        with self.requests_lock:
            self.close_when_flushed |= self._asks_too_much
        self._waiting_since = time.monotonic()

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

    def waited(self, now: float) -> float:
        """The seconds for which the client has not asked, or not taken the answer; 0 where it is we who work."""
        return 0.0 if self.requests else now - self._waiting_since

    def is_late(self, now: float) -> bool:
        """Whether the client has had its time."""
        if self.total_outbufs_len:
            silent = time.time() - self.last_activity > SILENCE
            return silent or self.waited(now) > ANSWER_TIME
        if self.requests:
            return False
        if self.request and now - self._begun > REQUEST_TIME:
            return True
        return self.waited(now) > (IDLE_TIME + REQUEST_TIME if self.request else IDLE_TIME)


def _account(sock: socket.socket) -> tuple[str, int]:
    """Whose process is at the other end of SOCK, a unix socket (SO_PEERCRED, unix(7))."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return f"uid:{uid}", 0
