"""What a client may write into a job, and in which form: the one door for it, whether by HTTP or by terminal."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from .hermes import homes
from .hermes.homes import NAME, Home

LONGEST = {"name": 200, "prompt": 500_000}
"""Characters."""

OWNED = {"id", "state", "next_run_at", "last_run_at", "last_status", "last_error", "last_delivery_error",
         "created_at", "schedule_display", "paused_at", "paused_reason", "owner_profile", "read_only", "armed_at"}
"""What only the server writes."""


class Invalid(ValueError):
    """What was asked for cannot be; the text says which field is wrong and what it takes."""


def checked(fields: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """FIELDS without those that are null, each in its own type. Raises Invalid."""
    given = {key: value for key, value in fields.items() if value is not None}
    for key, value in given.items():
        if key in OWNED:
            raise Invalid(f"'{key}' is kept by the server and cannot be set.")
        if key not in _CHECKS:
            raise Invalid(f"There is no field '{_short(key)}'; the fields are {', '.join(sorted(_CHECKS))}.")
        _CHECKS[key](key, value, home)
    if "repeat" in given:
        given["repeat"] = int(given["repeat"])  # 3.0 is a whole number too
    return given


def job_id(value: object) -> str:
    """VALUE as a job id. Raises Invalid."""
    if value is None or value == "":
        raise Invalid("job_id is missing.")
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Invalid("job_id is malformed: it has up to 64 letters, digits, '-', '_' and '.', and no '.' first.")
    return value


def filename(value: object) -> str:
    """VALUE as the name of an output. Raises Invalid."""
    if not isinstance(value, str) or not value:
        raise Invalid("filename is missing.")
    if "/" in value or "\\" in value or value in (".", "..") or not value.isprintable() or len(value) > 255:
        raise Invalid("filename is malformed: it is the name of an output, like 2027-03-15_09-00-04.md, and no path.")
    return value


def text(key: str, value: object, _home: Home | None = None) -> str:
    """VALUE as text. Raises Invalid."""
    if not isinstance(value, str):
        raise Invalid(f"'{key}' takes text.")
    if len(value) > LONGEST.get(key, 4096):
        raise Invalid(f"'{key}' takes at most {LONGEST.get(key, 4096)} characters.")
    _refuse_nul(key, value)
    return value


def _refuse_nul(key: str, *texts: str) -> None:
    """Raise Invalid for what no path, environment or argument can hold."""
    if any("\0" in each for each in texts):
        raise Invalid(f"'{key}' takes text without the character NUL.")


def _flag(key: str, value: object, _home: Home) -> None:
    if not isinstance(value, bool):
        raise Invalid(f"'{key}' takes true or false.")


def _texts(key: str, value: object, _home: Home) -> None:
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(item, str) for item in value):
        raise Invalid(f"'{key}' takes a list of texts.")
    _refuse_nul(key, *value)


def _text_or_texts(key: str, value: object, home: Home) -> None:
    if isinstance(value, str):
        text(key, value)
    else:
        _texts(key, value, home)


def _count(key: str, value: object, _home: Home) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or not 1 <= value <= 1_000_000:
        raise Invalid(f"'{key}' takes a whole number from 1 up; without it a job repeats for ever.")


def _profile(key: str, value: object, home: Home) -> None:
    if name := text(key, value):
        try:
            homes.home(home.root, name)
        except homes.UnknownProfile as error:
            raise Invalid(str(error)) from None


def _workdir(key: str, value: object, _home: Home) -> None:
    path = text(key, value)
    if path and not (os.path.isabs(path) and _is_folder(path)):
        raise Invalid(f"'{key}' takes the absolute path of a folder that is there; {_short(path)} is not one.")


def _script(key: str, value: object, home: Home) -> None:
    if name := text(key, value):
        try:
            homes.script_path(home, name)
        except homes.OutsideScripts as error:
            raise Invalid(f"'{key}': {error}") from None


def _is_folder(path: str) -> bool:
    try:
        return os.path.isdir(path)
    except ValueError:
        return False


_CHECKS: dict[str, Callable[[str, Any, Home], Any]] = {
    "prompt": text, "schedule": text, "name": text, "deliver": text, "model": text, "provider": text,
    "profile": _profile, "script": _script, "workdir": _workdir,
    "skills": _texts, "enabled_toolsets": _texts, "context_from": _text_or_texts,
    "toast_notifications": _flag, "enabled": _flag, "no_agent": _flag, "repeat": _count,
}


def _short(value: str) -> str:
    return value if len(value) <= 80 else value[:79] + "…"
