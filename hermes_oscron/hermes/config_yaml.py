"""Set and remove `cron.provider` in the agent's config.yaml without changing a byte of the rest.

PyYAML gives the positions in the text, and the text is edited there; a YAML writer would drop comments and style. The
result is parsed, and refused if its meaning has changed in anything but the provider.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

Entry = tuple[yaml.Node, yaml.Node]


class EditError(Exception):
    """The file cannot be edited in this way; the text gives the reason."""


class Edit(NamedTuple):
    """A replacement in the text, with enough to undo it."""

    at: int
    old: str
    new: str


def provider_of(text: str) -> object:
    """Return the `cron.provider` that `text` sets; None if it sets none. Raises EditError."""
    cron = _parsed(text).get("cron")
    return cron.get("provider") if isinstance(cron, dict) else None


def with_provider(text: str, name: str) -> tuple[str, Edit]:
    """Return `text` with `cron.provider` set to `name`, and the edit that did that. Raises EditError."""
    meaning = _parsed(text)
    cron = meaning.get("cron") or {}
    if not isinstance(cron, dict):
        raise EditError("'cron' is not a mapping")
    edit = _setting(text, name)
    return _applied(text, edit, {**meaning, "cron": {**cron, "provider": name}}), edit


def without_provider(text: str, name: str, made: Edit | None) -> str:
    """Return `text` without the edit `made`, which set `cron.provider` to `name`.

    Returns `text` itself if it sets another provider. If the file has been rewritten since, the setting is removed from
    its present text. Raises EditError.
    """
    if provider_of(text) != name:
        return text
    meaning = _parsed(text)
    rest = {key: value for key, value in meaning["cron"].items() if key != "provider"}
    before = _provider_before(text, made) if made else None
    if before is not None:
        wanted = [{**meaning, "cron": {**meaning["cron"], "provider": before}}]
    elif rest:
        wanted = [{**meaning, "cron": rest}]
    else:
        wanted = [{key: value for key, value in meaning.items() if key != "cron"}, {**meaning, "cron": None},
                  {**meaning, "cron": {}}]
    unset = {**meaning, "cron": {**meaning["cron"], "provider": None}}
    reversals = [(edit, meant) for edit in _reversals(text, made) for meant in [*wanted, unset]]
    for edit, meant in [*reversals, *((edit, meant) for meant in wanted for edit in _removals(text))]:
        try:
            return _applied(text, edit, meant)
        except EditError:
            continue
    raise EditError(f"'provider: {name}' under 'cron' cannot be removed without changing the rest; remove it by hand")


def _setting(text: str, name: str) -> Edit:
    """Return the edit of `text` that sets the provider `name`."""
    newline = "\r\n" if "\r\n" in text else "\n"
    end = newline if text and not text.endswith("\n") else ""
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):  # only comments
        return Edit(len(text), "", f"{end}cron:{newline}  provider: {name}{newline}")
    entry = _entry(root, "cron")
    if entry is None:
        if root.flow_style:
            return _first(root, f"cron: {{provider: {name}}}")
        indent = " " * root.value[0][0].start_mark.column
        return Edit(len(text), "", f"{end}{indent}cron:{newline}{indent}  provider: {name}{newline}")
    cron = entry[1]
    if not isinstance(cron, yaml.MappingNode):
        return _replaced(text, entry, f"{{provider: {name}}}")
    if provider := _entry(cron, "provider"):
        return _replaced(text, provider, name)
    if cron.flow_style:
        return _first(cron, f"provider: {name}")
    start = cron.value[0][0].start_mark
    return Edit(start.index, "", f"provider: {name}{newline}{' ' * start.column}")


def _replaced(text: str, entry: Entry, new: str) -> Edit:
    """Return the edit that gives `entry` the value `new`, if its value is a scalar or empty."""
    key, value = entry
    start, end = value.start_mark.index, value.end_mark.index
    if start == end:  # an empty value: it is where the next token begins, behind any comment
        return Edit(key.end_mark.index + 1, "", f" {new}")
    return Edit(start, text[start:end], new)


def _first(flow: yaml.MappingNode, entry: str) -> Edit:
    """Return the edit that makes `entry` the first of the `flow` mapping."""
    return Edit(flow.start_mark.index + 1, "", f"{entry}, " if flow.value else entry)


def _reversals(text: str, made: Edit | None) -> Iterator[Edit]:
    """Yield the edits that would undo `made`, wherever `text` has it: first those nearest to where it was made."""
    if made is None:
        return
    places = [at for at in range(len(text)) if text.startswith(made.new, at)]
    for at in sorted(places, key=lambda at: abs(at - made.at)):
        yield Edit(at, made.new, made.old)


def _removals(text: str) -> Iterator[Edit]:
    """Yield edits that may remove the provider from `text`: of its entry, of its lines, and of all of `cron`."""
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    cron = _entry(root, "cron")
    assert cron and isinstance(cron[1], yaml.MappingNode)
    for mapping, name in ((cron[1], "provider"), (root, "cron")):
        entries = mapping.value
        at = max(i for i, (key, _) in enumerate(entries) if key.value == name)
        start, end = entries[at][0].start_mark.index, entries[at][1].end_mark.index
        if at + 1 < len(entries):
            yield _removal(text, start, entries[at + 1][0].start_mark.index)
        if at:
            yield _removal(text, entries[at - 1][1].end_mark.index, end)
        yield _removal(text, start, end)
        line = text.rfind("\n", 0, start) + 1
        following = text.find("\n", end - 1 if text[end - 1 : end] == "\n" else end)
        yield _removal(text, line, following + 1 or len(text))


def _removal(text: str, start: int, end: int) -> Edit:
    return Edit(start, text[start:end], "")


def _provider_before(text: str, made: Edit) -> object:
    """Return the provider named by the text that `made` replaced; None if it was empty or not a value."""
    column = made.at - (text.rfind("\n", 0, made.at) + 1)
    try:
        return yaml.safe_load(" " * column + made.old)
    except yaml.YAMLError:
        return None


def _applied(text: str, edit: Edit, meant: dict[str, Any]) -> str:
    """Return `text` after `edit`, if it then means `meant`. Raises EditError."""
    after = text[: edit.at] + edit.new + text[edit.at + len(edit.old) :]
    if _parsed(after) != meant:
        raise EditError("its layout does not allow setting 'cron.provider' without changing the rest")
    return after


def _entry(mapping: yaml.MappingNode, name: str) -> Entry | None:
    """Return the entry `name` of `mapping`; of several the last, as YAML readers take it."""
    found = [entry for entry in mapping.value if isinstance(entry[0], yaml.ScalarNode) and entry[0].value == name]
    return found[-1] if found else None


def _parsed(text: str) -> dict[str, Any]:
    """Return the content of `text`. Raises EditError."""
    try:
        meaning = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise EditError(f"it is not YAML that can be read: {' '.join(str(error).split())}") from None
    if meaning is None:
        return {}
    if not isinstance(meaning, dict):
        raise EditError("it is not a mapping")
    return meaning
