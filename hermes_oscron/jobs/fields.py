"""The fields of a job that a client may set: one table with type, limits, default, CLI option and OpenAPI schema.

A new field is one row here, plus the code that uses it. Values that depend on this machine (a profile, a script, a
folder) are checked by the service.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import OscronError, shortened

MAX_TEXT_CHARS = 4096
MAX_NAME_CHARS = 200
MAX_PROMPT_CHARS = 500_000
MAX_LIST_ITEMS = 100
MAX_REPEAT = 1_000_000
NO_NUL = "^[^\\u0000]*$"
"""A path, the environment and an argument cannot contain NUL."""

SERVER_FIELDS = frozenset({
    "id", "state", "next_run_at", "last_run_at", "last_status", "last_error", "last_delivery_error", "created_at",
    "schedule_display", "paused_at", "paused_reason", "owner_profile", "read_only", "armed_at",
})
"""Fields that only the server sets."""


class ValidationError(OscronError):
    """A request asks for something impossible. The text names the field and what it takes."""

    status = 400


class Type(NamedTuple):
    """The values that a field takes.

    `check` gets the field's name and a value, and returns the value in its own type or raises ValidationError; `schema`
    describes the same for OpenAPI.
    """

    check: Callable[[str, Any], Any]
    schema: dict[str, Any]


class Field(NamedTuple):
    """One field. `default` is its value in a new record, `option` the help text of its command-line option.

    An empty text is stored as null unless `keeps_empty`.
    """

    name: str
    type: Type
    default: Any = None
    option: str = ""
    keeps_empty: bool = False


def text(name: str, value: object, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `value` if it is a text of at most `max_chars`. Raises ValidationError."""
    if not isinstance(value, str):
        raise ValidationError(f"'{name}' must be a text.")
    if len(value) > max_chars:
        raise ValidationError(f"'{name}' must have at most {max_chars} characters.")
    if "\0" in value:
        raise ValidationError(f"'{name}' must not contain the character NUL.")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError(f"'{name}' must be true or false.")
    return value


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS or not all(isinstance(item, str) for item in value):
        raise ValidationError(f"'{name}' must be a list of at most {MAX_LIST_ITEMS} texts.")
    if any("\0" in item for item in value):
        raise ValidationError(f"'{name}' must not contain the character NUL.")
    return value


def _text_or_texts(name: str, value: object) -> str | list[str]:
    return text(name, value) if isinstance(value, str) else _texts(name, value)


def _count(name: str, value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or not 1 <= value <= MAX_REPEAT:
        raise ValidationError(f"'{name}' must be a positive integer; omit it to repeat forever.")
    return int(value)  # 3.0 is a whole number too


def _folder(name: str, value: object) -> str:
    path = text(name, value)
    if path and not os.path.isabs(path):
        raise ValidationError(f"'{name}' must be the absolute path of a folder, not {shortened(path)}.")
    return path


def _text_type(max_chars: int = MAX_TEXT_CHARS, **schema: Any) -> Type:
    return Type(lambda name, value: text(name, value, max_chars),
                {"type": ["string", "null"], "pattern": NO_NUL, "maxLength": max_chars, **schema})


def _reference_type(name: str, check: Callable[[str, Any], Any] = text) -> Type:
    """Return the type of a text that refers to something on this machine: `name` in openapi.json, or empty."""
    return Type(check, {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"enum": ["", None]}]})


TEXT = _text_type()
FLAG = Type(_flag, {"type": ["boolean", "null"]})
TEXTS = Type(_texts, {"type": ["array", "null"], "items": {"type": "string", "pattern": NO_NUL},
                      "maxItems": MAX_LIST_ITEMS})
TEXT_OR_TEXTS = Type(_text_or_texts, {"anyOf": [TEXT.schema, TEXTS.schema]})
COUNT = Type(_count, {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_REPEAT,
                      "description": "How many times to run. Without it: once for a one-shot, else without a limit."})

FIELDS = {field.name: field for field in (
    Field("schedule", Type(text, {"anyOf": [{"$ref": "#/components/schemas/Schedule"}, {"type": "null"}]}),
          option="When to run the job."),
    Field("prompt", _text_type(MAX_PROMPT_CHARS), "", "The prompt to run; '-' reads standard input.", keeps_empty=True),
    Field("name", _text_type(MAX_NAME_CHARS, description="Without one, the beginning of the prompt."), "",
          "The job's name.  [default: the prompt's first 50 characters]", keeps_empty=True),
    Field("script", _reference_type("Script"), option="A script in the scripts folder of the Hermes home."),
    Field("no_agent", FLAG, False, "Run the script itself, without an agent."),
    Field("repeat", COUNT, option="How many times to run in all.  [default: forever]"),
    Field("deliver", TEXT, "local", keeps_empty=True),
    Field("skills", TEXTS, ()),
    Field("model", TEXT),
    Field("provider", TEXT),
    Field("profile", _reference_type("Profile")),
    Field("toast_notifications", FLAG, True),
    Field("enabled", FLAG, True),
    Field("workdir", _reference_type("Folder", _folder)),
    Field("context_from", TEXT_OR_TEXTS),
    Field("enabled_toolsets", TEXTS),
)}

AGENT_DEFAULTS: dict[str, Any] = {
    "skill": None, "base_url": None, "paused_at": None, "paused_reason": None, "last_run_at": None, "last_status": None,
    "last_error": None, "last_delivery_error": None, "origin": None,
}
"""Further keys that the agent's own `create_job` writes into a new record."""


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `given` that are not null, each in its own type. Raises ValidationError."""
    checked = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in SERVER_FIELDS:
            raise ValidationError(f"'{name}' is set by the server and cannot be changed.")
        if name not in FIELDS:
            raise ValidationError(f"There is no field '{shortened(name)}'; the fields are {', '.join(sorted(FIELDS))}.")
        checked[name] = FIELDS[name].type.check(name, value)
    return checked


def stored(name: str, value: Any) -> Any:
    """Return the checked `value` as a record stores it: an empty text is null unless the field keeps it."""
    return None if value == "" and not FIELDS[name].keeps_empty else value


def defaults() -> dict[str, Any]:
    """Return the fields of a new record, without schedule and repeat count."""
    ours = {name: field.default for name, field in FIELDS.items() if name not in ("schedule", "repeat", "enabled")}
    return {**ours, **AGENT_DEFAULTS, "skills": []}
