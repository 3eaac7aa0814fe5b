"""The form that creates and changes a job, made from the tables of fields and policies."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...hermes.home import Home
from ...jobs.fields import FIELDS, UNSET, Field
from ...jobs.policy import KEYS
from . import policies
from .job import label

GROUPS = {
    "Agent and model": ("skills", "model", "provider", "base_url", "reasoning_effort", "enabled_toolsets"),
    "Delivery": ("deliver", "failure_deliver", "toast_notifications", "attach_to_session"),
    "Context": ("context_from", "monitor_script", "monitor_url", "workdir", "profile", "interpreter"),
}
"""The fields below the main ones, in groups. A field that is in none comes last."""
MAIN = ("name", "schedule", "prompt", "script", "no_agent", "repeat", "paused", "paused_reason")
LEFT_OUT = ("skill", "enabled", "pinned", "policy")
"""Fields for clients that another field or action covers; each key of the policy has a field of its own."""
POLICY_GROUPS = {title: tuple(f"{policies.PREFIX}{name}" for name in names) for title, names in policies.GROUPS.items()}
HINTS = {"name": "Without one, it is the beginning of the prompt.", "prompt": "",
         "repeat": "How many times to run in all. Empty: without a limit.",
         "no_agent": "Run the script itself; without this, its output is given to the agent with the prompt.",
         "toast_notifications": "Show a notification in Hermes when a run ends."}
"""The hints that differ from the help of the command line."""
MAX_SCRIPTS = 500
YES, NO = "yes", "no"


class Input(NamedTuple):
    """One field of the form. `kind` is text, long, check, choice, list or table.

    `default` is the value of the profile, which holds while the field is empty.
    """

    name: str
    label: str
    hint: str
    kind: str
    value: str
    choices: tuple[str, ...] = ()
    default: str = ""


def inputs(values: Mapping[str, str], is_new: bool, policy: Mapping[str, Any]) -> dict[str, Input]:
    """Return the fields of the form with `values`, by name; the jobs of the profile have the `policy`."""
    in_force = policies.texts(policy)
    found = [_input(FIELDS[name], values.get(name, "")) for name in _shown() if is_new or not only_new(name)]
    for key in KEYS.values():
        name = f"{policies.PREFIX}{key.name}"
        kind, choices = policies.kind(key)
        found.append(Input(name, policies.label(key.name), policies.hint(key), kind, values.get(name, ""), choices,
                           in_force[name]))
    return {each.name: each for each in found}


def groups(found: Mapping[str, Input]) -> list[tuple[str, list[Input]]]:
    """Return the fields below the main ones, by group."""
    all_groups = {**GROUPS, **POLICY_GROUPS}
    named = {name for names in all_groups.values() for name in names}
    others = [name for name in found if name not in named and name not in MAIN]
    return [(title, [found[name] for name in names if name in found])
            for title, names in [*all_groups.items(), ("Other", others)] if any(name in found for name in names)]


def values_of(view: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the job in `view` as the form shows them."""
    return {name: _text(FIELDS[name], view.get(name)) for name in _shown()} | policies.texts(view["policy"])


def defaults() -> dict[str, str]:
    """Return the fields of a new job as the form shows them."""
    defaults = {name: FIELDS[name].default for name in _shown()}
    texts = {name: _text(FIELDS[name], None if default is UNSET else default) for name, default in defaults.items()}
    return texts | policies.texts({})


def changed(given: Mapping[str, str], before: Mapping[str, str], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ from `before`, with values of their own types, and the changes of `policy`.

    Raises ValidationError.
    """
    fields = {name: _value(FIELDS[name], given.get(name, "")) for name in before
              if name in FIELDS and _plain(given.get(name, "")) != _plain(before[name])}
    changes = policies.changed(given, before, policy)
    return {**fields, "policy": changes} if changes else fields


def field_of(sentence: str, found: Mapping[str, Input]) -> str:
    """Return the first of the fields `found` that an error names; empty if it names none."""
    names = re.findall(r"'([a-z0-9_]+(?:\.[a-z0-9_]+)?)[.']", sentence)
    return next((name for name in names if name in found), "")


def only_new(name: str) -> bool:
    """Return True if the field `name` is for new jobs alone."""
    return name in FIELDS and FIELDS[name].only_new


def scripts(home: Home) -> list[str]:
    """Return the scripts of `home`, by their paths from its scripts folder."""
    found = []
    for folder, folders, files in os.walk(home.scripts_dir):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.relpath(os.path.join(folder, name), home.scripts_dir)
            if not name.startswith(".") and path.isprintable():
                found.append(path)
        if len(found) >= MAX_SCRIPTS:
            break
    return found[:MAX_SCRIPTS]


def _shown() -> list[str]:
    """Return the fields of the form, without the policy."""
    return [name for name in FIELDS if name not in LEFT_OUT]


def _input(field: Field, value: str) -> Input:
    kind, choices = _kind(field)
    hint = HINTS.get(field.name, field.option.partition("  [default:")[0])
    return Input(field.name, label(field.name), hint, kind, value, choices)


def _kind(field: Field) -> tuple[str, tuple[str, ...]]:
    schema = field.type.schema
    types = schema.get("type", "")
    if "boolean" in types:
        return ("check", ()) if field.default is not UNSET or field.only_new else ("choice", ("", YES, NO))
    if "array" in types:
        return "list", ()
    if "enum" in schema:
        return "choice", ("", *(choice for choice in schema["enum"] if choice))
    return ("long" if field.name == "prompt" else "text"), ()


def _text(field: Field, value: Any) -> str:
    if field.name == "schedule" and isinstance(value, dict):
        return str(value.get("expression") or "")
    if field.name == "repeat":
        times = value.get("times") if isinstance(value, dict) else value
        return str(times) if times else ""
    if isinstance(value, bool):
        return (YES if value else "") if _kind(field)[0] == "check" else YES if value else NO
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _value(field: Field, text: str) -> Any:
    """Return the value for the `text` of a form."""
    kind = _kind(field)[0]
    if field.name == "repeat":
        given = text.strip()
        return {"times": None} if not given else int(given) if given.isascii() and given.isdecimal() else given
    if kind == "check":
        return text == YES
    if kind == "list":
        return [item for part in text.replace("\n", ",").split(",") if (item := part.strip())]
    if kind == "choice" and text in (YES, NO):
        return text == YES
    return text


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")
