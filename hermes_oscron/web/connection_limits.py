"""Limits of a connection: memory, disk and time are bounded for every client, also one that never reads.

Waitress has limits of its own, and these go beyond them: its timeout restarts with every byte, it keeps a body on disk,
and it keeps an endless size line of a chunk in memory.
"""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest

from .request import BODY_TOO_LARGE, MAX_BODY_BYTES
from .responses import INTERNAL_ERROR

MAX_CONNECTIONS = 100
"""More connections wait in the kernel."""
CROWDED_CONNECTIONS = 80
"""CROWDED_TIMEOUT_S applies to slow clients when there are more connections than this."""
CROWDED_TIMEOUT_S = 2.0
"""The time for a request, or for reading an answer, while there are many connections."""
MAX_HEAD_BYTES = 32 * 1024
"""The size of a request's first line and headers."""
MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""An oversized body is drained up to this size, so that the client can read the 413."""
MAX_COPIED_BYTES = 64 * 1024
"""The size of an answer that is copied for each client; a larger one is shared by those that get the same."""
MAX_CHUNK_LINE_BYTES = 4096
"""The length of a line between chunks, and of the trailer after the last one."""
REQUEST_TIMEOUT_S = 30.0
"""The time from the first byte of a request to its last."""
IDLE_TIMEOUT_S = 60.0
"""The time between two requests."""
SEND_STALL_S = 30.0
"""The time within which a client must read some part of its answer."""
ANSWER_TIMEOUT_S = 300.0
"""The time within which it must read the whole answer."""

ERROR_TEXTS = {
    400: "Malformed HTTP request.",
    413: BODY_TOO_LARGE,
    431: f"The first line and the headers are larger than {MAX_HEAD_BYTES} bytes.",
    500: INTERNAL_ERROR,
    501: "Unsupported transfer encoding; use 'chunked'.",
}

SETTINGS: dict[str, Any] = {
    "connection_limit": MAX_CONNECTIONS, "max_request_header_size": MAX_HEAD_BYTES,
    "max_request_body_size": MAX_REQUEST_BYTES,
    "inbuf_overflow": 2 * MAX_BODY_BYTES, "outbuf_overflow": 2**40, "cleanup_interval": 1,
}
"""Settings of waitress: it never writes to disk, and looks for late clients once a second."""


def apply_limits(servers: Sequence[Any]) -> None:
    """Apply these limits to waitress `servers` that were made with SETTINGS; they hold for all together."""
    for server in servers:
        server.channel_class = Channel
        server.maintenance = lambda now: _maintain(
            [channel for each in servers for channel in each.active_channels.values()])


def _maintain(channels: list["Channel"]) -> None:
    now = time.monotonic()
    crowded = len(channels) > CROWDED_CONNECTIONS
    for channel in channels:
        if channel.is_timed_out(now) or (crowded and channel.idle_seconds(now) > CROWDED_TIMEOUT_S):
            channel.abort()


class _Body(OverflowableBuffer):  # type: ignore[misc]  # waitress has no types
    """A body of which at most MAX_BODY_BYTES are kept; what exceeds them is only counted."""

    def __init__(self) -> None:
        super().__init__(SETTINGS["inbuf_overflow"])
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes) -> None:
        self._length += len(data)
        if self._length <= MAX_BODY_BYTES:
            super().append(data)


class _Shared(ReadOnlyFileBasedBuffer):  # type: ignore[misc]
    """A part of an answer that is sent without a copy for each client, nor one for each part that a client reads."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self.remain = len(content)

    def get(self, numbytes: int = -1, skip: bool = False) -> memoryview:
        unsent = self._content[len(self._content) - self.remain:]
        return unsent if numbytes < 0 else unsent[:numbytes]

    def skip(self, numbytes: int, allow_prune: bool = False) -> None:
        self.remain -= numbytes

    def close(self) -> None:
        self._content, self.remain = memoryview(b""), 0


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    completed: bool = False

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.chunked and not self.completed:
            between = max(len(self.body_rcv.control_line), len(self.body_rcv.trailer))
            if between > MAX_CHUNK_LINE_BYTES:
                self.error = BadRequest("a line between two chunks is too long")
                self.completed = True
        if self.completed:  # complete; waitress would take the bytes that follow for its body
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an invalid address, a length of thousands of digits
            raise ParsingError(f"malformed request: {error}") from None
        if self.chunked and "CONTENT_LENGTH" in self.headers:  # request smuggling (RFC 9112, 6.3)
            raise ParsingError("two lengths")
        if self.body_rcv is not None:
            self.body_rcv.buf = _Body()


class Answer(WSGITask):  # type: ignore[misc]
    """An answer. The connection stays open also after one that has no body, such as 304, which waitress would close."""

    def set_close_on_finish(self) -> None:
        """Close the connection, unless only the missing length is the reason (RFC 9112, 6.3)."""
        may_stay_open = self.version == "1.1" and self.request.headers.get("CONNECTION", "").lower() != "close"
        if self.has_body or not may_stay_open:
            super().set_close_on_finish()


class ErrorAnswer(ErrorTask):  # type: ignore[misc]
    """A request that waitress refuses before the application gets it, answered like all others.

    The message of waitress contains the line that it could not read, which may be the one with the token.
    """

    def execute(self) -> None:
        refused = self.request.error
        body = json.dumps({"error": ERROR_TEXTS.get(refused.code, ERROR_TEXTS[400])}).encode()
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that detects a late client; on a unix socket its address is `uid:N`, the calling account."""

    task_class = Answer
    error_task_class = ErrorAnswer
    parser_class = _Parser

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        self._waiting_since = self._begun = time.monotonic()
        self._pipelined = False
        super().__init__(server, sock, _peer_address(sock) if sock.family == socket.AF_UNIX else addr, adj, map)

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self._begun = time.monotonic()
        taken = bool(super().received(data))
        with self.requests_lock:
            self._pipelined |= len(self.requests) > 1
            del self.requests[1:]
        return taken

    def service(self) -> None:
        """Answer one request. Pipelined requests beyond the first are dropped, so that they cannot fill the memory."""
        super().service()
        with self.requests_lock:
            self.close_when_flushed |= self._pipelined
        self._waiting_since = time.monotonic()

    def write_soon(self, data: bytes) -> int:
        written: int = super().write_soon(_Shared(data) if len(data) > MAX_COPIED_BYTES else data)
        return written

    def handle_close(self) -> None:
        """Read what the client has sent, so that it gets the answer and not a reset, and close the connection."""
        with contextlib.suppress(OSError):
            for _ in range(64):  # a client that never stops sending gets the reset
                if not self.socket or not self.socket.recv(65536):
                    break
        super().handle_close()

    def abort(self) -> None:
        """Close in the next round of the loop, even if the client does not read."""
        self.will_close = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def idle_seconds(self, now: float) -> float:
        """Return the seconds for which the client has not sent, or not read; 0 while the server works on a request."""
        return 0.0 if self.requests else now - self._waiting_since

    def is_timed_out(self, now: float) -> bool:
        """Return True if the client's time is over."""
        if self.total_outbufs_len:
            silent = time.time() - self.last_activity > SEND_STALL_S
            return silent or self.idle_seconds(now) > ANSWER_TIMEOUT_S
        if self.requests:
            return False
        if self.request and now - self._begun > REQUEST_TIMEOUT_S:
            return True
        return self.idle_seconds(now) > (IDLE_TIMEOUT_S + REQUEST_TIMEOUT_S if self.request else IDLE_TIMEOUT_S)


def _peer_address(sock: socket.socket) -> tuple[str, int]:
    """Return the account of the process at the other end of the unix socket `sock` (SO_PEERCRED, unix(7))."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return f"uid:{uid}", 0
