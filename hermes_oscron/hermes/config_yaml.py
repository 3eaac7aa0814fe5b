"""`cron.provider` of the agent's config.yaml: set and taken away again without touching a byte of the rest.

PyYAML says where things are in the text, and the text is edited there; a YAML writer would drop comments and style.
What comes out is parsed, and refused unless it says just what was said before but for the provider.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

Entry = tuple[yaml.Node, yaml.Node]


class EditError(Exception):
    """The file is one that cannot be edited so; the text says why."""


class Edit(NamedTuple):
    """What was put in the place of what: enough to take it back."""

    at: int
    old: str
    new: str


def provider_of(text: str) -> object:
    """The `cron.provider` that TEXT sets; None where it sets none. Raises EditError."""
    cron = _parsed(text).get("cron")
    return cron.get("provider") if isinstance(cron, dict) else None


def with_provider(text: str, name: str) -> tuple[str, Edit]:
    """TEXT with `cron.provider: NAME`, and the edit that made it. Raises EditError."""
    meaning = _parsed(text)
    cron = meaning.get("cron") or {}
    if not isinstance(cron, dict):
        raise EditError("'cron' is no mapping")
    edit = _setting(text, name)
    return _applied(text, edit, {**meaning, "cron": {**cron, "provider": name}}), edit


def without_provider(text: str, name: str, made: Edit | None) -> str:
    """TEXT as it was before the edit MADE set `cron.provider: NAME`; TEXT itself where it sets another one.

    Where somebody has rewritten the file since, the setting is taken out of it as it now is. Raises EditError.
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
    raise EditError(f"'provider: {name}' under 'cron' could not be told from the rest; take it out by hand")


def _setting(text: str, name: str) -> Edit:
    """The edit of TEXT that sets the provider NAME."""
    newline = "\r\n" if "\r\n" in text else "\n"
    end = newline if text and not text.endswith("\n") else ""
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):  # nothing but comments
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
    """The edit that gives ENTRY the value NEW, where its value is a scalar or nothing at all."""
    key, value = entry
    start, end = value.start_mark.index, value.end_mark.index
    if start == end:  # it is where the next thing begins, behind any comment
        return Edit(key.end_mark.index + 1, "", f" {new}")
    return Edit(start, text[start:end], new)


def _first(flow: yaml.MappingNode, entry: str) -> Edit:
    """The edit that makes ENTRY the first of the FLOW mapping."""
    return Edit(flow.start_mark.index + 1, "", f"{entry}, " if flow.value else entry)


def _reversals(text: str, made: Edit | None) -> Iterator[Edit]:
    """The edits that would take MADE back, where TEXT still has it: first those where it was made."""
    if made is None:
        return
    places = [at for at in range(len(text)) if text.startswith(made.new, at)]
    for at in sorted(places, key=lambda at: abs(at - made.at)):
        yield Edit(at, made.new, made.old)


def _removals(text: str) -> Iterator[Edit]:
    """The edits that may take the provider out of TEXT, whoever wrote it: its entry, its lines, or all of `cron`."""
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
    """What the text that MADE replaced named as the provider; None where it was nothing or no value at all."""
    column = made.at - (text.rfind("\n", 0, made.at) + 1)
    try:
        return yaml.safe_load(" " * column + made.old)
    except yaml.YAMLError:
        return None


def _applied(text: str, edit: Edit, meant: dict[str, Any]) -> str:
    """TEXT after EDIT, which must then mean what is MEANT. Raises EditError."""
    after = text[: edit.at] + edit.new + text[edit.at + len(edit.old) :]
    if _parsed(after) != meant:
        raise EditError("its layout is one in which 'cron.provider' cannot be set without touching the rest")
    return after


def _entry(mapping: yaml.MappingNode, name: str) -> Entry | None:
    """The entry NAME of MAPPING; of several the last, as YAML readers take it."""
    found = [entry for entry in mapping.value if isinstance(entry[0], yaml.ScalarNode) and entry[0].value == name]
    return found[-1] if found else None


def _parsed(text: str) -> dict[str, Any]:
    """What TEXT says. Raises EditError."""
    try:
        meaning = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise EditError(f"it is not YAML that can be read: {' '.join(str(error).split())}") from None
    if meaning is None:
        return {}
    if not isinstance(meaning, dict):
        raise EditError("it is no mapping")
    return meaning
