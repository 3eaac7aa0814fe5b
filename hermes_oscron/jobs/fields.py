"""The fields of a job that a client may set: one table with type, limits, default, CLI option and OpenAPI schema.

A new field is one row here, plus the code that uses it. Values that depend on this machine (a profile, a script, a
folder) are checked by the service.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import shortened
from ..json_text import json_safe
from . import policy
from .checks import MAX_TEXT_CHARS, NO_NUL, Type
from .checks import ValidationError as ValidationError
from .checks import flag as flag
from .checks import text as text
from .record import deliver_of

MAX_NAME_CHARS = 200
MAX_PROMPT_CHARS = 500_000
MAX_LIST_ITEMS = 100
MAX_REPEAT = 1_000_000

SERVER_FIELDS = frozenset({
    "id", "state", "next_run_at", "last_run_at", "last_status", "last_error", "last_delivery_error", "created_at",
    "schedule_display", "paused_at", "paused_reason", "owner_profile", "read_only", "armed_at", "held", "queued",
    "effective_policy",
})
"""Fields that only the server sets."""


UNSET = object()
"""The default of a field that a new record does not have: its absence means the setting of the agent."""
REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")


class Field(NamedTuple):
    """One field. `default` is its value in a new record, `option` the help text of its command-line option.

    An empty text is stored as null unless `keeps_empty`. A field that is `only_new` cannot be changed later.
    `option_name` is given if the option is not called as the field.
    """

    name: str
    type: Type
    default: Any = None
    option: str = ""
    keeps_empty: bool = False
    only_new: bool = False
    option_name: str = ""


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS or not all(isinstance(item, str) for item in value):
        raise ValidationError(f"'{name}' must be a list of at most {MAX_LIST_ITEMS} texts.")
    if any("\0" in item for item in value):
        raise ValidationError(f"'{name}' must not contain the character NUL.")
    return value


def _text_or_texts(name: str, value: object) -> str | list[str]:
    return text(name, value) if isinstance(value, str) else _texts(name, value)


def _targets(name: str, value: object) -> str:
    """Return the targets of a delivery as the agent stores them: one text with commas."""
    given = _text_or_texts(name, value)
    return given if isinstance(given, str) else deliver_of({"deliver": given})


def _schedule(name: str, value: object) -> str:
    """Return the text of a schedule, which may be given as answers show it."""
    if isinstance(value, dict) and value.keys() == {"kind", "expression"}:
        value = value["expression"]
    if not isinstance(value, str):
        raise ValidationError(f"'{name}' must be a text, or an object like {{\"kind\": \"cron\", \"expression\": "
                              f"\"0 9 * * *\"}}.")
    return text(name, value)


def _count(name: str, value: object) -> int | None:
    """Return how many times to run, which may be given as answers show it; None: as many as a job has by default."""
    if isinstance(value, dict) and value.keys() <= {"times", "completed"} and "times" in value:
        if value.get("completed") is not None:
            raise ValidationError(f"'{name}.completed' is set by the server and cannot be changed; leave it out.")
        value = value["times"]
        if value is None:
            return None
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or not 1 <= value <= MAX_REPEAT:
        raise ValidationError(f"'{name}' must be a positive integer; omit it to repeat forever.")
    return int(value)  # 3.0 is a whole number too


def _effort(name: str, value: object) -> str:
    effort = text(name, value).strip().lower()
    if effort and effort not in REASONING_EFFORTS:
        raise ValidationError(f"'{name}' must be one of {', '.join(REASONING_EFFORTS)}.")
    return effort


def _base_url(name: str, value: object) -> str:
    return text(name, value).strip().rstrip("/")


def _web_address(name: str, value: object) -> str:
    address = text(name, value).strip()
    if address and not address.lower().startswith(("http://", "https://")):
        raise ValidationError(f"'{name}' must begin with http:// or https://, unlike {shortened(address)}.")
    return address


def _python(name: str, value: object) -> str:
    path = text(name, value).strip()
    if path and not path.startswith(("/", "~")):
        raise ValidationError(f"'{name}' must be the absolute path of a Python, or begin with '~', unlike "
                              f"{shortened(path)}: a bare name changes its meaning with PATH.")
    return path


def _folder(name: str, value: object) -> str:
    path = text(name, value)
    if path and not os.path.isabs(path):
        raise ValidationError(f"'{name}' must be the absolute path of a folder, not {shortened(path)}.")
    return path


def _text_type(max_chars: int = MAX_TEXT_CHARS, **schema: Any) -> Type:
    return Type(lambda name, value: text(name, value, max_chars),
                {"type": ["string", "null"], "pattern": NO_NUL, "maxLength": max_chars, **schema})


def _text_type_of(check: Callable[[str, Any], Any]) -> Type:
    """Return the type of any text, which `check` converts."""
    return Type(check, _text_type().schema)


def _reference_type(name: str, check: Callable[[str, Any], Any] = text) -> Type:
    """Return the type of a text that refers to something on this machine: `name` in openapi.json, or empty."""
    return Type(check, {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"enum": ["", None]}]})


TEXT = _text_type()
FLAG = Type(flag, {"type": ["boolean", "null"]})
TEXTS = Type(_texts, {"type": ["array", "null"], "items": {"type": "string", "pattern": NO_NUL},
                      "maxItems": MAX_LIST_ITEMS})
TEXT_OR_TEXTS = Type(_text_or_texts, {"anyOf": [TEXT.schema, TEXTS.schema]})
TARGETS = Type(_targets, {**TEXT_OR_TEXTS.schema, "description": "The targets: a text with commas, or a list."})
SCHEDULE = Type(_schedule, {"anyOf": [{"$ref": "#/components/schemas/ScheduleInput"}, {"type": "null"}]})
TIMES = {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_REPEAT}
COUNT = Type(_count, {"anyOf": [TIMES, {"type": "object", "properties": {"times": TIMES}, "required": ["times"],
                                        "additionalProperties": False}],
                      "description": "How many times to run. Without it: once for a one-shot, else without a limit."})
POLICY = Type(policy.check, policy.SCHEMA)

FIELDS = {field.name: field for field in (
    Field("schedule", SCHEDULE, option="When to run the job."),
    Field("prompt", _text_type(MAX_PROMPT_CHARS), "", "The prompt to run; '-' reads standard input.", keeps_empty=True),
    Field("name", _text_type(MAX_NAME_CHARS, description="Without one, the beginning of the prompt."), "",
          "The job's name.  [default: the prompt's first 50 characters]", keeps_empty=True),
    Field("script", _reference_type("Script"),
          option="A script in the scripts folder of the Hermes home, like disk.sh for ~/.hermes/scripts/disk.sh."),
    Field("no_agent", FLAG, False, "Run the script itself, without an agent."),
    Field("repeat", COUNT, option="How many times to run in all.  [default: forever]"),
    Field("deliver", TARGETS, "local",
          "Where to deliver the output: local, origin, or a platform like telegram.  [default: local]",
          keeps_empty=True),
    Field("skills", TEXTS, (), "Load this skill before the prompt."),
    Field("skill", _text_type(description="One skill, as older clients give it; 'skills' comes first.")),
    Field("model", TEXT, option="The model.  [default: the agent's]"),
    Field("provider", TEXT, option="The provider of the model.  [default: the agent's]"),
    Field("base_url", _text_type_of(_base_url), option="The address of the model's API."),
    Field("profile", _reference_type("Profile"), option="The profile that the job runs in.  [default: its own]",
          option_name="run-profile"),
    Field("toast_notifications", FLAG, True),
    Field("enabled", FLAG, True),
    Field("workdir", _reference_type("Folder", _folder), option="The folder that the job runs in."),
    Field("context_from", TEXT_OR_TEXTS,
          option="Add the last output of this job to the prompt; 'self' is the job itself."),
    Field("enabled_toolsets", TEXTS, option="Restrict the agent to this toolset."),
    Field("attach_to_session", FLAG, UNSET, "Continue the deliveries as a conversation."),
    Field("failure_deliver", TEXT, UNSET, "Where to deliver a failure; else as the output."),
    Field("reasoning_effort", Type(_effort, {"enum": [*REASONING_EFFORTS, "", None]}), UNSET,
          f"How much the model reasons: {', '.join(REASONING_EFFORTS)}."),
    Field("monitor_script", _reference_type("Script"), UNSET,
          "A script whose output is watched: the prompt runs only when it has changed."),
    Field("monitor_url", Type(_web_address, {"anyOf": [{"$ref": "#/components/schemas/WebAddress"},
                                                       {"enum": ["", None]}]}), UNSET,
          "An address whose content is watched, like --monitor-script."),
    Field("interpreter", Type(_python, {"anyOf": [{"$ref": "#/components/schemas/Interpreter"}, {"enum": ["", None]}]}),
          UNSET, "The Python that runs the script, instead of the agent's."),
    Field("pinned", Type(flag, {**FLAG.schema, "description": "Not stored: true gives the job the agent's present "
                                 "provider and model, unless it has a model; false removes both."}), UNSET,
          "Keep the agent's present provider and model for this job, or no longer."),
    Field("policy", POLICY, UNSET, "A policy, as KEY=VALUE, like timeout=15m; see hermes-oscron(1)."),
    Field("paused", FLAG, UNSET, "Create the job paused.", only_new=True),
    Field("paused_reason", TEXT, UNSET, "Why it is paused.", only_new=True),
)}

PIN = ("model", "provider")
"""The fields that keep a job from following the agent's default model."""

AGENT_DEFAULTS: dict[str, Any] = {
    "paused_at": None, "paused_reason": None, "last_run_at": None, "last_status": None,
    "last_error": None, "last_delivery_error": None, "origin": None,
}
"""Further keys that the agent's own `create_job` writes into a new record."""


def changes(given: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `given` changes of a job that clients see as `shown`.

    Clients can so post back what they got, also the keys that they cannot change.
    """
    found = {key: value for key, value in given.items() if key not in shown or not _same(value, json_safe(shown[key]))}
    repeat = found.get("repeat")
    if isinstance(repeat, dict) and _same(repeat.get("completed"), shown["repeat"]["completed"]):
        found["repeat"] = {key: value for key, value in repeat.items() if key != "completed"}
    return found


def _same(posted: object, shown: object) -> bool:
    """Return True if both are the same JSON. In Python, true is equal to 1."""
    if isinstance(posted, dict) and isinstance(shown, dict):
        return posted.keys() == shown.keys() and all(_same(posted[key], shown[key]) for key in posted)
    if isinstance(posted, list) and isinstance(shown, list):
        return len(posted) == len(shown) and all(map(_same, posted, shown))
    return isinstance(posted, bool) is isinstance(shown, bool) and posted == shown


def check(given: Mapping[str, Any], is_new: bool) -> dict[str, Any]:
    """Return the fields of `given` that are not null, each in its own type. Raises ValidationError.

    They are those of a job that `is_new`, or changes of one. UNSET, which no client can send, clears a field.
    `model` and `provider` may both be null: that removes both, as the Tasks panel does for "Default".
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if value is UNSET:
            checked[name] = None
            continue
        if name in SERVER_FIELDS and not (is_new and name in FIELDS):
            raise ValidationError(f"'{name}' is set by the server and cannot be changed; leave it out.")
        if name not in FIELDS:
            raise ValidationError(f"There is no field '{shortened(name)}'; the fields are {', '.join(sorted(FIELDS))}.")
        if FIELDS[name].only_new and not is_new:
            raise ValidationError(f"'{name}' is for new jobs only; pause and resume change it later.")
        checked[name] = FIELDS[name].type.check(name, value)
    if "skill" in checked:
        skill = checked.pop("skill")
        checked.setdefault("skills", [skill] if skill else [])
    if all(name in given and given[name] is None for name in PIN):
        checked |= dict.fromkeys(PIN)
    return checked


def stored(name: str, value: Any) -> Any:
    """Return the checked `value` as a record stores it: an empty text is null unless the field keeps it."""
    return None if value == "" and not (name in FIELDS and FIELDS[name].keeps_empty) else value


def defaults() -> dict[str, Any]:
    """Return the fields of a new record, without schedule and repeat count."""
    ours = {name: field.default for name, field in FIELDS.items()
            if field.default is not UNSET and name not in ("schedule", "repeat", "enabled")}
    return {**ours, **AGENT_DEFAULTS, "skills": []}
