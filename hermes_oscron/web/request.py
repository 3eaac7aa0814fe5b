"""The query and the body of a request, checked for their form."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import bottle

from ..errors import OscronError
from ..hermes.home import SAFE_NAME
from ..jobs.fields import ValidationError

MAX_BODY_BYTES = 1024 * 1024
BODY_TOO_LARGE = f"The body is larger than {MAX_BODY_BYTES} bytes."
PROFILE_COOKIE = "hermes_profile"
"""The WebUI sets it when a browser switches the profile."""
FORM_BODY = "oscron.form_body"
"""The key in the environment of a request under which its form is kept."""
MAX_FORM_FIELDS = 200
ETAG = re.compile(r'"[^"]*"')
TRUE_WORDS = {"1", "true", "yes", "on"}


class BadRequest(OscronError):
    """The request body is not a JSON object. `status` is 400, 413 or 415."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def json_body(empty: bool = False) -> dict[str, Any]:
    """Return the request's body, a JSON object; with `empty` it may be missing. Raises BadRequest."""
    request = bottle.request
    if empty and request.content_length <= 0:
        return {}
    if request.content_length > MAX_BODY_BYTES:
        raise BadRequest(413, BODY_TOO_LARGE)
    kind = request.environ.get("CONTENT_TYPE", "")  # Bottle's getter fails on other bytes than UTF-8
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest(415, "The body must be JSON, with the header 'Content-Type: application/json'.")
    try:
        sent = request.environ["wsgi.input"].read(MAX_BODY_BYTES)  # Bottle's own way goes through a file
        given = json.loads(sent.decode())  # UTF-8 alone (RFC 8259, 8.1)
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"The body is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise BadRequest(400, "The body must be a JSON object, like {\"job_id\": \"4f2a9c1d07be\"}.")
    return given


def form_body() -> dict[str, str]:
    """Return the fields of the form in the body, the same at each call. Of a name given twice the last counts.

    Raises BadRequest.
    """
    request = bottle.request
    if FORM_BODY not in request.environ:
        if request.content_length > MAX_BODY_BYTES:
            raise BadRequest(413, BODY_TOO_LARGE)
        kind = request.environ.get("CONTENT_TYPE", "")
        if kind.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise BadRequest(415, "The body must be a form.")
        sent = request.environ["wsgi.input"].read(MAX_BODY_BYTES)
        try:
            pairs = parse_qsl(sent.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError as error:
            raise BadRequest(400, f"The body is not a form: {error}.") from None
        request.environ[FORM_BODY] = {name: value.replace("\r\n", "\n") for name, value in pairs}
    body: dict[str, str] = request.environ[FORM_BODY]
    return body


def local_address() -> str:
    """Return the address of this request, without the server."""
    said = bottle.request.environ
    path = quote(said.get("PATH_INFO", "/").encode("latin-1"))
    return f"{path}?{said['QUERY_STRING']}" if said.get("QUERY_STRING") else path


def query(**values: object) -> str:
    """Return `values` as the query of an address."""
    return urlencode(values)


def is_navigation() -> bool:
    """Return True if a browser shows the answer as a page (Fetch Metadata Request Headers)."""
    return bool(bottle.request.environ.get("HTTP_SEC_FETCH_MODE") == "navigate")


def reject_unknown(given: dict[str, Any]) -> None:
    """Raise ValidationError if a key is left in `given`; null counts as not given."""
    for key, value in given.items():
        if value is not None:
            raise ValidationError(f"There is no field '{key[:80]}' here.")


def text_param(name: str) -> str | None:
    """Return the query parameter `name`, None if it is not given. Bytes that are not UTF-8 become U+FFFD.

    Raises ValidationError.
    """
    given = bottle.request.query
    if len(given.getall(name)) > 1:
        raise ValidationError(f"'{name}' is given more than once.")
    return str(given.getunicode(name, default="\ufffd")) if name in given else None


def bool_param(name: str) -> bool:
    """Return True if the query parameter `name` is one of TRUE_WORDS."""
    return (text_param(name) or "").lower() in TRUE_WORDS


def int_param(name: str) -> int | None:
    """Return the query parameter `name` as a number; None if it is not one, or not given."""
    text = (text_param(name) or "").strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    sign = "-" if text.startswith("-") else ""
    return int(f"{sign}{digits.lstrip('0')[:15] or '0'}")  # further digits change nothing, and Python refuses thousands


def cookies(name: str) -> list[str]:
    """Return the values of the cookie `name`; other servers of this machine may have set one too (RFC 6265, 8.5).

    http.cookies fails on some cookies that other pages have set.
    """
    pairs = [pair.strip().partition("=") for pair in bottle.request.environ.get("HTTP_COOKIE", "").split(";")]
    return [value for key, _, value in pairs if key == name]


def has_copy(etag: str) -> bool:
    """Return True if If-None-Match shows that the client has the content of `etag` (RFC 9110, 13.1.2).

    The prefix of a weak tag does not count: a proxy that compresses answers adds it.
    """
    given = bottle.request.environ.get("HTTP_IF_NONE_MATCH", "").strip()
    return given == "*" or etag in ETAG.findall(given)


def profile() -> str | None:
    """Return the profile that the client chose for this request, by header or by cookie; None if it chose none."""
    header = bottle.request.environ.get("HTTP_X_HERMES_PROFILE", "").strip()
    return header or next((value for each in cookies(PROFILE_COOKIE) if (value := each.strip('" '))), None)


def job_id_of(value: object) -> str:
    """Return `value` if it is a well-formed job id. Raises ValidationError."""
    if value is None or value == "":
        raise ValidationError("job_id is missing.")
    if not isinstance(value, str) or not SAFE_NAME.fullmatch(value):
        raise ValidationError("Invalid job_id: expected up to 64 letters, digits, '-', '_' and '.', not starting with "
                              "'.'.")
    return value


def filename_of(value: object) -> str:
    """Return `value` if it can be the name of an output. Raises ValidationError."""
    if not isinstance(value, str) or not value:
        raise ValidationError("filename is missing.")
    if "/" in value or "\\" in value or value in (".", "..") or not value.isprintable() or len(value) > 255:
        raise ValidationError("Invalid filename: expected an output name like 2027-03-15_09-00-04.md, not a path.")
    return value
