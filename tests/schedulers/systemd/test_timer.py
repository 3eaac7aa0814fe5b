"""The text of a timer unit: systemd itself reads it, whatever the job is called."""

import datetime
import os
import re
import subprocess
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hermes_oscron.schedule import text
from hermes_oscron.schedulers.plan import Plan
from hermes_oscron.schedulers.systemd.timer import LONGEST_NAME, harmless, render, timer_lines

UTC = ZoneInfo("UTC")
NOW = datetime.datetime(2026, 11, 23, 4, 0, 13, tzinfo=datetime.UTC)

NASTY = [
    "a\n[Service]\nExecStart=/bin/sh -c id", "a\r\nOnCalendar=minutely", "a\nOnCalendar=*:*:*", "\n", "\r", "\v\f",
    "a\\", "a\\\nUnit=evil.service", "100% sure", "%%", "%", "%n %i %h %H", "50%\\", "'", '"', '"unclosed', "`id`",
    "$(id)", "${HOME}", "; OnCalendar=minutely", "# comment", "[Timer]", "=", "\0", "\x1b[31mred\x1b[0m", "\x07\x08",
    "\x85OnCalendar=minutely", "\u2028OnCalendar=minutely", "\u2029[Install]", "\u202egnp.exe", "\ufeff", "\u200b",
    "\ud800", "\udfff\ud800", "\U0010ffff", "\ue000", "💾 Sauvegarde de l'été", "日本語", "e\u0301", "   ", "\t tab \t",
    "", "x" * 1000, "%" * 1000, "\\" * 1000, "\n" * 1000,
]
NAMES = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec=None), max_size=300),
                  st.text("%\\\n\r\t \"'[]=#;$\0\x1b\x7f\x85\u2028\u2029\ud800ab", max_size=30))


def unit(name: str, schedule: str = "0 9 * * *") -> str:
    plan = Plan("default:4f2a9c1d07be", name, text.parse(schedule, UTC, NOW), UTC, None)
    return render(plan, UTC, NOW)


def test_a_timer_unit_is_short() -> None:
    assert unit("Morning report", "0 9 * * 1-5").splitlines()[1:] == [
        "[Unit]",
        "Description=Morning report (Hermes job)",
        "",
        "[Timer]",
        "OnCalendar=Mon..Fri *-*-* 09:00:00",
        "AccuracySec=1us",
    ]


def test_a_one_shot_leaves_no_timer_behind() -> None:
    assert timer_lines(text.parse("2027-03-15T09:00", UTC, NOW), UTC, UTC, NOW) == [
        "OnCalendar=2027-03-15 09:00:00 UTC", "AccuracySec=1us", "RemainAfterElapse=no"]


@pytest.mark.parametrize("schedule", ["0 9 * * *", "every 45m", "every 2h", "2027-03-15T09:00", "0 9 13 * 5"])
def test_a_timer_is_neither_pinned_nor_remembered(schedule: str) -> None:
    content = unit("a job", schedule)
    assert "[Install]" not in content
    assert "Persistent" not in content
    assert content.count("AccuracySec=1us") == 1


@settings(max_examples=1500, deadline=None)
@given(NAMES)
@example("a\n[Service]\nExecStart=/bin/sh -c id")
@example("a\u2028b\x85c\x1cd")
@example("a\\")
def test_a_name_is_one_line_and_no_directive(name: str) -> None:
    content = unit(name)
    content.encode("utf-8")
    assert content.splitlines() == content.split("\n")[:-1]
    keys = [line.partition("=")[0] for line in content.splitlines()[1:]]
    assert keys == ["[Unit]", "Description", "", "[Timer]", "OnCalendar", "AccuracySec"]
    description = content.splitlines()[2].removeprefix("Description=")
    assert description.endswith(" (Hermes job)")
    assert description.isprintable()


@settings(max_examples=1500, deadline=None)
@given(NAMES)
def test_no_specifier_and_no_backslash_at_the_end_of_a_line_survives(name: str) -> None:
    assert "%" not in harmless(name).replace("%%", "")
    assert not any(line.endswith("\\") for line in unit(name).splitlines())


def test_a_name_that_shows_nothing_is_called_unnamed() -> None:
    assert {harmless(name) for name in ["", " ", "\n\t", "\u200b\u2028", "\ud800", "\0"]} == {"unnamed"}


def test_a_long_name_is_cut() -> None:
    assert harmless("x" * 5000) == "x" * LONGEST_NAME


@pytest.mark.parametrize("name", ["Morning report", "Sauvegarde de l'été", "日本語", "a, b & c", "💾"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert harmless(name) == name


def systemd_reads(names: list[str]) -> list[dict[str, list[str]]]:
    """What systemd-analyze finds in the units of NAMES; it must have nothing to say against them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"hermes-job@{n}.timer") for n in range(len(names))]
        Path(folder, "hermes-job@.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
        for path, name in zip(paths, names, strict=True):
            path.write_bytes(unit(name).encode())
        command = ["systemd-analyze", "verify", "--man=no", *map(str, paths)]
        verdict = subprocess.run(command, capture_output=True, timeout=60)
        assert (verdict.returncode, verdict.stderr) == (0, b""), names
        loudly = {**os.environ, "SYSTEMD_LOG_LEVEL": "debug"}
        told = subprocess.run(command, capture_output=True, timeout=60, env=loudly)
    units = {}
    for said in re.split(r"\t-> Unit ", told.stdout.decode("utf-8", "surrogateescape"))[1:]:
        settings_of: dict[str, list[str]] = {}
        for key, value in re.findall(r"^\t\t([\w ]+): (.*)$", said, re.M):
            settings_of.setdefault(key, []).append(value)
        units[said.partition(":\n")[0]] = settings_of
    return [units[path.name] for path in paths]


def letters(words: str) -> list[str]:
    return [letter for letter in words if letter.isalnum() or letter == "%"]


@settings(max_examples=12, deadline=None)
@given(st.lists(NAMES, min_size=20, max_size=20))
@example(NASTY)
def test_systemd_reads_the_name_and_nothing_else_of_it(names: list[str]) -> None:
    for name, found in zip(names, systemd_reads(names), strict=True):
        [description] = found["Description"]
        shown = description.removesuffix(" (Hermes job)")
        assert letters(shown) == (letters(name[:LONGEST_NAME]) if harmless(name) != "unnamed" else letters("unnamed"))
        assert found["OnCalendar"] == ["*-*-* 09:00:00"]
        assert found["Accuracy"] == ["1us"]
        assert found["Unit Load State"] == ["loaded"]
        assert found["Persistent"] == ["no"]
        assert [trigger.partition(" ")[0] for trigger in found["Triggers"]] == [
            f"hermes-job@{found['Instance'][0]}.service"]
