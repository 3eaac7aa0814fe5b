"""Remove secrets from a script's output by the agent's own rules (in_agent/redact.py)."""

import json
import selectors
import subprocess
from collections.abc import Mapping, Sequence

ANSWER_TIMEOUT_S = 60.0
FAILED = b"[REDACTED - redaction failed]\n"
"""The text that the agent stores in place of an output that it could not redact."""
MAX_HELD_BYTES = 256 * 1024
"""The most that is held back of a line or a key block that has not ended."""
BLOCK_BEGIN, BLOCK_END = b"-----BEGIN ", b"-----END "


class Redactor:
    """A process of the agent's Python that redacts texts. It is started by the first one: most jobs print nothing."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def split(text: bytes) -> tuple[bytes, bytes]:
        """Return the part of `text` that can be redacted by itself, whole lines and whole key blocks, and the rest."""
        cut = text.rfind(b"\n") + 1
        begin = text.rfind(BLOCK_BEGIN, 0, cut)
        if begin >= 0 and BLOCK_END not in text[begin:cut]:
            cut = text.rfind(b"\n", 0, begin) + 1
        return (text[:cut], text[cut:]) if len(text) - cut < MAX_HELD_BYTES else (text, b"")

    def redact(self, text: bytes) -> bytes:
        """Return `text` without secrets; if that fails, a note in place of it."""
        if not text:
            return text
        try:
            return self._redacted(text)
        except (OSError, ValueError):
            return FAILED

    def _redacted(self, text: bytes) -> bytes:
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL, env=self._environment, process_group=0)
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(text.decode("utf-8", "surrogateescape")).encode() + b"\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_TIMEOUT_S):
                process.kill()  # a late answer must not be taken for that to the next text
                raise TimeoutError
        answer: str = json.loads(process.stdout.readline())
        return answer.encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """End the process."""
        if self._process and self._process.stdin:
            try:
                self._process.stdin.close()
            except OSError:
                pass
            try:
                self._process.wait(ANSWER_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
