"""A model server on loopback, as the agent's `custom` provider calls one. It keeps the requests."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One request for a completion: `at` is when it came, a unix time."""

    at: float
    body: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def text(self) -> str:
        """All requests."""
        return json.dumps(self.body["messages"])


class Model:
    """Listens until it is closed. What `answer` says to a call is the completion; it may raise ModelFailure."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], str] = lambda _call: "The model was here."
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {"object": "list", "data": [{"id": "stub-model", "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith("/chat/completions"):
                    self._send(404, {"error": {"message": "no such path"}})
                    return
                call = Call(time.time(), body)
                outer.calls.append(call)
                try:
                    text = outer.answer(call)
                except ModelFailure as failure:
                    self._send(failure.status, {"error": {"message": str(failure), "type": "invalid_request_error"}})
                    return
                if body.get("stream"):
                    self._stream(text, call.model)
                else:
                    self._send(200, completion(text, call.model))

            def _stream(self, text: str, model: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
                    self._event({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model,
                                 "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
                self._event({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [],
                             "usage": USAGE})
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def _event(self, event: dict[str, Any]) -> None:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Log nothing: the tests report the requests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The base_url for a configuration."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def config(self) -> str:
        """A config.yaml that makes the agent call this model."""
        return (f"model:\n  default: stub-model\n  provider: custom\n  base_url: {self.url}\n  api_key: x\n"
                "# the rest is the agent's own defaults\n")

    def calls_with(self, text: str) -> list[Call]:
        """The calls in which `text` came."""
        return [call for call in self.calls if text in call.text]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class ModelFailure(Exception):
    """The answer instead of a completion, with an HTTP status that the agent does not try again."""

    status = 400


USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def completion(text: str, model: str) -> dict[str, Any]:
    """`text` as a whole answer."""
    return {"id": "c", "object": "chat.completion", "created": 0, "model": model, "usage": USAGE,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
