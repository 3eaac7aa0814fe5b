"""The `.env` of a Hermes home, read as the agent reads it: by the grammar of python-dotenv.

The agent puts these variables over those of its own environment, and scripts inherit them.
"""

import re
from collections.abc import Mapping

NAME = re.compile(r"(?:export[^\S\r\n]+)?(?:'([^']+)'|([^=#\s]+))[^\S\r\n]*(=[^\S\r\n]*)?")
SINGLE_QUOTED = re.compile(r"'((?:\\'|[^'])*)'")
DOUBLE_QUOTED = re.compile(r'"((?:\\"|[^"])*)"')
END = re.compile(r"[^\S\r\n]*(?:#[^\r\n]*)?(?:\r\n|\n|\r|\Z)")
REST_OF_LINE = re.compile(r"[^\r\n]*")
REFERENCE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")
ESCAPE = re.compile(r"\\([\\'\"abfnrtv])")
ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
CREDENTIAL_SUFFIXES = ("_API_KEY", "_TOKEN", "_SECRET", "_KEY")
"""Names of credentials. The agent removes all characters from their values that are not ASCII."""


def parse(text: bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `text` sets. `${NAME}` is an earlier one, or one of `environment`."""
    source = _decoded(text).replace("\0", "")
    found: dict[str, str] = {}
    at = 0
    while at < len(source):
        if source[at].isspace():
            at += 1
            continue
        value, name = None, NAME.match(source, at)
        if name:
            at = name.end()
            if name[3]:
                value, at = _value(source, at)
        end = END.match(source, at)
        if end and name and value is not None:
            known = {**environment, **found}
            value = REFERENCE.sub(lambda reference: _referenced(reference, known), value)  # noqa: B023  # used at once
            key = name[1] or name[2]
            found[key] = _ascii(value) if key.endswith(CREDENTIAL_SUFFIXES) else value
        rest = end or REST_OF_LINE.match(source, at)
        assert rest
        at = rest.end()
    return found


def _decoded(text: bytes) -> str:
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _value(source: str, at: int) -> tuple[str | None, int]:
    """Return the value that begins at `at` in `source`, and where it ends; None if its quotes are not closed."""
    if match := SINGLE_QUOTED.match(source, at):
        return re.sub(r"\\([\\'])", r"\1", match[1]), match.end()
    if match := DOUBLE_QUOTED.match(source, at):
        return ESCAPE.sub(lambda escape: ESCAPED.get(escape[1], escape[1]), match[1]), match.end()
    if source.startswith(("'", '"'), at):
        return None, at
    match = REST_OF_LINE.match(source, at)
    assert match
    return re.sub(r"\s+#.*", "", match[0]).rstrip(), match.end()


def _referenced(match: re.Match[str], known: Mapping[str, str]) -> str:
    return known.get(match["name"], match["default"] or "")


def _ascii(value: str) -> str:
    return value.encode("ascii", "ignore").decode()
