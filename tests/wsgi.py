"""Calls a WSGI application as waitress would, without a socket, and checks that both keep to PEP 3333."""

import io
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.validate import validator


def call(app: Callable[..., Any], method: str, target: str, body: bytes | None, headers: Mapping[str, str],
         address: str) -> tuple[int, Message, bytes]:
    """Return the status, the headers and the body of the answer to a request for `target` from `address`."""
    path, _, query = target.partition("?")
    errors = io.StringIO()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address, "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.errors": errors,
        "wsgi.input": io.BytesIO(body or b""),
    }
    if body is not None or method in ("POST", "PUT", "PATCH"):
        environ["CONTENT_LENGTH"] = str(len(body or b""))
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        value.encode("latin-1")  # what else an HTTP client could not send
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value.strip(" \t")
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, given: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
        started.append((status, given))
        return io.BytesIO().write

    answer = validator(app)(environ, start_response)
    try:
        content = b"".join(answer)
    finally:
        answer.close()
    assert not errors.getvalue(), errors.getvalue()
    status, given = started[-1]
    message = Message()
    for name, value in given:
        message[name] = value
    return int(status[:3]), message, content
