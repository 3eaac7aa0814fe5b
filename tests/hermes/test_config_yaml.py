"""config.yaml with and without `cron.provider`: nothing else of it moves by a byte."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from hermes_oscron.hermes.config_yaml import EditError, provider_of, with_provider, without_provider

LAYOUTS = [
    "", "\n", "# only a comment", "# only a comment\n", "---\n", "a: 1", "a: 1\n", "a: 1\r\nb: 2\r\n", "\ufeffa: 1\n",
    "cron:\n", "cron:", "cron: # later\n", "cron: ~\nb: 2\n", "cron: null # none\n", "cron: {}\n",
    "cron: {a: 1} # x\n", "cron: {}\r\nb: 1\r\n", "cron:\n  a: 1\n", "cron:\n    a: 1 # why\n    b: 2\n",
    "cron:\r\n  a: 1\r\n", "cron:\n  # first\n  a: 1\nb: 2\n", "cron:\n  provider: chronos # theirs\n",
    "cron:\n  provider:\n", "cron:\n  provider: ''\n", "cron:\n  provider: \"x\"\n  a: 1\n",
    "cron: {provider: chronos, a: 1}\n", "'cron':\n  'a': 1\n", "{}\n", "{a: 1, b: [1, 2]}", "{cron: {a: 1}}\n",
    "  a: 1\n  cron:\n    b: 2\n", "a: |\n  cron:\n    provider: not me\n", "a: >\n  folded\n\n  more\n",
    "model:\n  default: m\n# cron:\n#   provider: x\n", "cron:\n- 1\n", "a: 1\n\n\n",
    "cron:\n  a: {provider: no}\nprovider: nor this\n", "cron:\n  a: 1", "b: [\n  1,\n]\ncron:\n  a: 1\n\nc: 3\n",
]


@pytest.mark.parametrize("text", LAYOUTS)
def test_the_provider_is_set_and_removed_without_changing_any_other_byte(text: str) -> None:
    before = yaml.safe_load(text) or {}
    if isinstance(before.get("cron"), list):
        with pytest.raises(EditError):
            with_provider(text, "oscron")
        return
    after, made = with_provider(text, "oscron")
    assert provider_of(after) == "oscron"
    said = yaml.safe_load(after)
    assert {key: value for key, value in said.items() if key != "cron"} == {
        key: value for key, value in before.items() if key != "cron"}
    assert {key: value for key, value in said["cron"].items() if key != "provider"} == {
        key: value for key, value in (before.get("cron") or {}).items() if key != "provider"}
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert all(comment in after for comment in comments)
    assert without_provider(after, "oscron", made) == text


@pytest.mark.parametrize("text", [
    "a: [", "cron: &c\n  a: 1\nd: *c\n", "a: 1\n...\n", "a: 1\n---\nb: 2\n", "- 1\n", "a: !mine 1\n", "just words",
    "\ta: 1\n",
])
def test_a_file_that_cannot_be_edited_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(EditError, match=r"it is n|its layout"):
        with_provider(text, "oscron")


KEYS = st.sampled_from(["a", "model", "cron", "z z", "provider", "'q'"])
SCALARS = st.sampled_from(["1", "yes", "'# no comment'", "x # a comment", "|\n{i}  block\n{i}  more", "[1, {b: 2}]", "",
                           "~", "{provider: chronos}", "\"d\""])


@st.composite
def documents(draw: st.DrawFn, depth: int = 0) -> str:
    """A YAML mapping in block style, in any indentation, with comments and empty lines."""
    indent = " " * draw(st.integers(1, 4)) * depth
    lines = []
    for key in draw(st.lists(KEYS, unique=True, min_size=1, max_size=4)):
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(["", f"{indent}# a comment", "   "])))
        if depth < 2 and draw(st.booleans()):
            lines += [f"{indent}{key}:", draw(documents(depth + 1))]
        else:
            lines.append(f"{indent}{key}: {draw(SCALARS).replace('{i}', indent)}")
    return "\n".join(lines)


@given(documents(), st.sampled_from(["", "\n", "\n\n"]), st.booleans())
@example("a: 1\ncron:\n provider:\n  a: 1\n  model: 1", "", False)
def test_any_layout_is_restored_byte_by_byte(text: str, end: str, crlf: bool) -> None:
    text = (text + end).replace("\n", "\r\n" if crlf else "\n")
    try:
        before = yaml.safe_load(text)
        after, made = with_provider(text, "oscron")
    except (yaml.YAMLError, EditError):
        return
    assert isinstance(before, dict) and provider_of(after) == "oscron"
    assert without_provider(after, "oscron", made) == text


@pytest.mark.parametrize("text", [text for text in LAYOUTS if text and "- 1" not in text])
def test_a_file_rewritten_by_the_agent_is_restored_with_its_content(text: str) -> None:
    before = yaml.safe_load(text) or {}
    after, made = with_provider(text, "oscron")
    rewritten = yaml.safe_dump({"new": 1, **yaml.safe_load(after)})
    restored = yaml.safe_load(without_provider(rewritten, "oscron", made))
    assert restored.pop("new") == 1
    cron, was = restored.pop("cron", None) or {}, before.pop("cron", None) or {}
    assert (restored, cron.pop("provider", None), cron) == (before, was.pop("provider", None), was)


def test_a_provider_set_later_by_another_program_is_kept() -> None:
    _, made = with_provider("cron:\n  a: 1\n", "oscron")
    assert without_provider("cron:\n  provider: chronos\n", "oscron", made) == "cron:\n  provider: chronos\n"


def test_a_provider_set_by_hand_is_removed_with_its_line() -> None:
    for text, without in (("cron:\n  a: 1\n  provider: oscron # mine\n  b: 2\n", "cron:\n  a: 1\n  b: 2\n"),
                          ("a: 1\ncron:\n  provider: oscron\n", "a: 1\n"),
                          ("cron: {provider: oscron, a: 1}", "cron: {a: 1}"),
                          ("cron: {a: 1, provider: oscron}", "cron: {a: 1}"),
                          ("cron:\n  provider: oscron\nb: 1\n", "b: 1\n")):
        assert yaml.safe_load(without_provider(text, "oscron", None)) == yaml.safe_load(without)
