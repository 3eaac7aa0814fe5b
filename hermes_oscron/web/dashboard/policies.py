"""The policies of a job as fields of its form, made from the table of their keys."""

import json
from collections.abc import Mapping
from typing import Any

from ...errors import shortened
from ...jobs import policy
from ...jobs.policy import KEYS, Key
from ...jobs.policy import ValidationError as ValidationError

PREFIX = "policy."
GROUPS = {
    "Time limits and retries": ("timeout", "stop_timeout", "retries", "retry_delay", "retry_backoff", "retry_on",
                                "success_exit_codes", "pause_after"),
    "Missed and overlapping runs": ("overlap", "catch_up", "catch_up_window", "start_deadline", "group",
                                    "max_parallel"),
    "Times and days": ("timezone", "jitter", "not_before", "not_after", "exclude"),
    "Budget and alerts": ("budget", "notify"),
    "Environment": ("environment", "environment_file", "credentials"),
    "Resources and place": ("nice", "memory_max", "cpu_quota", "io_weight", "tasks_max", "run_on", "cpus", "gpus"),
}
"""The keys in groups. A key that is in none is shown after them."""
EXAMPLES = {"time": " Like 90s, 15m or 2h.", "size": " Like 512M or 2G.", "percent": " Like 50%.",
            "table": " One NAME=VALUE on each line."}
LABELS = {"cpu_quota": "CPU quota", "io_weight": "IO weight", "cpus": "CPUs", "gpus": "GPUs"}


def label(name: str) -> str:
    """Return the name of a key for people."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def hint(key: Key) -> str:
    """Return the meaning of `key` and the form of its values."""
    return key.meaning + EXAMPLES.get(key.kind, "")


def kind(key: Key) -> tuple[str, tuple[str, ...]]:
    """Return the kind of the input of `key`, and its choices."""
    if "enum" in key.type.schema:
        return "choice", ("", *(choice for choice in key.type.schema["enum"] if choice))
    return (key.kind if key.kind in ("list", "table") else "text"), ()


def texts(own: Mapping[str, Any]) -> dict[str, str]:
    """Return each key, with its value in the policy `own` as the form shows it."""
    return {f"{PREFIX}{key.name}": _text(key, own.get(key.name)) for key in KEYS.values()}


def changed(given: Mapping[str, str], before: Mapping[str, str], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes of the policy `own` that the form calls for, which was `before` and is `given` now.

    Raises ValidationError.
    """
    wanted = {key.name: _value(key, given[name]) for key in KEYS.values()
              if (name := f"{PREFIX}{key.name}") in given and given[name] != before.get(name, "")}
    tables = {name: own[name] for name in wanted if isinstance(own.get(name), dict)}
    return policy.replacing(tables, wanted)


def _text(key: Key, value: Any) -> str:
    if value is None:
        return ""
    try:
        value = key.type.check(key.name, value)
    except ValidationError:
        return json.dumps(value)  # another program has written it; it stays unless it is changed
    if isinstance(value, dict):
        return "\n".join(f"{name}={_quoted(content)}" for name, content in value.items() if content is not None)
    return policy.words({key.name: value})[0].partition("=")[2]


def _value(key: Key, text: str) -> Any:
    """Return the value for the `text` of a form, not yet checked; None if it is empty. Raises ValidationError."""
    if not text.strip():
        return None
    if key.kind == "table":
        return dict(_entry(key, line) for line in text.split("\n") if line.strip())
    text = text.strip()
    return text if key.kind == "text" else policy.from_words([f"{key.name}={text}"])[key.name]


def _entry(key: Key, line: str) -> tuple[str, str]:
    name, equals, content = line.partition("=")
    if not equals:
        raise ValidationError(f"'{PREFIX}{key.name}' takes lines like NAME=VALUE, not {shortened(line)!a}.")
    return name.strip(), _unquoted(key, content)


def _quoted(content: str) -> str:
    """Return `content` on one line: as a text of JSON if it has several."""
    return json.dumps(content, ensure_ascii=False) if "\n" in content or "\r" in content or content[:1] == '"' \
        else content


def _unquoted(key: Key, content: str) -> str:
    if not content.startswith('"'):
        return content
    try:
        return str(json.loads(content))
    except ValueError:
        raise ValidationError(f"'{PREFIX}{key.name}' has {shortened(content)!a}: a value that begins with a quotation "
                              f"mark is a text of JSON, like \"two\\nlines\".") from None
