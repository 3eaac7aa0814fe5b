"""Nasty text through the API, into jobs.json, a timer unit and a crontab line, and back."""

import datetime
import json
import re
import subprocess
import sys
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hermes_oscron import config
from hermes_oscron.hermes import job_store
from hermes_oscron.runner.command import command_for
from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.plan import plan_of
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.fuzz.world import World, new_world

UTC = ZoneInfo("UTC")
PIECES = ['"', "'", "\\", "%", "%n", "%%i", "$HOME", "$(id)", "`id`", "\n", "\r", "\r\n", "\t", "\0", "\x1b[2J", "\x7f",
          "\x85", "\u2028", "\u2029", "\u202e", "\u200f", "\ufeff", "\ud800", "\udfff", "💾", "\U0010ffff", "]", "[",
          ";", "#", "-", "--help", "=", "[Service]\nExecStart=/bin/false", "\nOnCalendar=*:*:*",
          "\\\n", "* * * * * id\n",
          "\n# hermes-oscron\n", ", paused", "é", "e\u0301", "a", " "]
NASTY = st.lists(st.sampled_from(PIECES) | st.text(st.characters(codec=None), max_size=4), max_size=12).map("".join)
FIELDS = ["name", "prompt", "deliver", "model", "provider", "reason"]
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))


def given_of(texts: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in texts.items() if key != "reason"}


def plain_texts(value: str) -> dict[str, str]:
    return dict.fromkeys(FIELDS, value)


@settings(QUIET, max_examples=250)
@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, NASTY)))
@example(plain_texts("".join(piece for piece in PIECES if piece != "\0")))
@example(plain_texts("\ud83d\ude00 written as two halves"))
@example(plain_texts("\0"))
def test_any_text_is_stored_unchanged_or_refused_with_a_sentence(texts: dict[str, str]) -> None:
    with new_world() as world:
        sent = json.loads(json.dumps(texts))  # as any client's JSON has it: two halves of a pair are one character
        status, answer = world.post("create", {"schedule": "0 9 * * *", **given_of(sent)})
        if "\0" in "".join(given_of(sent).values()) or not sent["prompt"].strip():
            assert status == 400 and answer["error"] and not world.jobs()
            return
        assert status == 200, answer
        check(world, answer["job"], sent)


def check(world: World, job: dict[str, Any], sent: dict[str, str]) -> None:
    job_id = job["id"]
    status, answer = world.post("pause", {"job_id": job_id, "reason": sent["reason"]})
    if "\0" in sent["reason"]:
        assert status == 400 and "reason" in answer["error"]
        assert world.post("pause", {"job_id": job_id})[0] == 200
    else:
        assert status == 200 and answer["job"]["paused_reason"] == sent["reason"]
    wanted = {"prompt": sent["prompt"], "deliver": sent["deliver"] or "local", "model": sent["model"] or None,
              "provider": sent["provider"] or None}
    if sent["name"].strip():
        wanted["name"] = sent["name"]
    assert {key: world.stored()[job_id][key] for key in wanted} == wanted
    if "name" in wanted:
        wanted["name"] = wanted["name"].strip()  # as the agent lists it
    for seen in (job, answer.get("job", job), world.jobs()[job_id]):
        assert {key: seen[key] for key in wanted} == wanted
    status, answer = world.post("update", {"job_id": job_id, **wanted})
    assert status == 200 and {key: answer["job"][key] for key in wanted} == wanted
    assert world.jobs_file.read_bytes().isascii()


def structure(unit: str) -> list[str]:
    """`unit` without what its values are: one entry for each line as systemd.syntax(7) reads it."""
    joined = re.sub(r"\\\n", " ", unit)
    return [line.partition("=")[0] if "=" in line else line for line in joined.splitlines()]


@settings(QUIET, max_examples=200)
@given(NASTY.filter(lambda text: "\0" not in text and text.strip()), st.booleans())
def test_no_name_adds_lines_to_a_unit_or_a_crontab(text: str, paused: bool) -> None:
    now = datetime.datetime.now(datetime.UTC)
    with new_world() as world:
        jobs = [world.post("create", {"schedule": "*/20 9 * * 1-5", "prompt": prompt, "name": name,
                                        "enabled": not paused})
                for name, prompt in ((text, text), ("plain", "plain"))]
        records = [world.stored()[answer["job"]["id"]] for _, answer in jobs]
        plans = [plan_of(job, now) for job in job_store.read(world.service.home)]
        assert plans[0] and plans[1]
        units = [structure(render(plan, UTC, now)) for plan in plans if plan]
        assert units[0] == units[1] and len(units[0]) == len(set(units[0]) - {""}) + units[0].count("")
        crontab = Crontab(str(world.root))
        lines = [crontab.line(crontab.entry(plan, now)) for plan in plans if plan]
        assert lines[0] == lines[1].replace(records[1]["id"].encode(), records[0]["id"].encode())
        assert lines[0].count(b"\n") == 1 and lines[0].isascii()


@settings(QUIET, max_examples=60)
@given(NASTY.filter(lambda text: "\0" not in text and text.strip()))
def test_a_command_gets_the_prompt_unchanged_and_a_name_valid_in_the_environment(text: str) -> None:
    """A half of a pair has no bytes; it is a question mark."""
    with new_world() as world:
        (world.root / "oscron.toml").write_text('[exec]\ncommand = ["cat"]\n')
        job_id = world.post("create", {"schedule": "every 2h", "prompt": text, "name": text})[1]["job"]["id"]
        root = str(world.root)
        command = command_for(world.stored()[job_id], world.service.home, config.load(root))
        read = json.loads(json.dumps(text))  # JSON makes one character of the two halves of a pair
        assert command.argv == ["cat"] and command.stdin == read.encode("utf-8", "replace")
        said = subprocess.run(["env", "-0"], env=command.environment, capture_output=True, check=True).stdout
        [name] = [line for line in said.split(b"\0") if line.startswith(b"HERMES_JOB_NAME=")]
        assert name.decode().removeprefix("HERMES_JOB_NAME=")


@pytest.mark.parametrize("verb", ["create", "update"])
@pytest.mark.parametrize("field", ["name", "prompt", "deliver", "model", "provider", "skills", "enabled_toolsets",
                                   "context_from", "script", "workdir", "schedule", "profile"])
def test_a_nul_is_refused_in_every_field(field: str, verb: str) -> None:
    with new_world() as world:
        job_id = world.post("create", {"prompt": "x", "schedule": "every 2h"})[1]["job"]["id"]
        before = world.jobs_file.read_bytes()
        value: Any = ["a\0b"] if field in ("skills", "enabled_toolsets", "context_from") else "a\0b"
        target = {"job_id": job_id} if verb == "update" else {"prompt": "x", "schedule": "every 2h"}
        status, answer = world.post(verb, {**target, field: value})
        assert status == 400 and answer["error"].isprintable() and world.jobs_file.read_bytes() == before


def test_the_terminal_shows_a_nasty_job_on_separate_lines() -> None:
    text = "".join(piece for piece in PIECES if piece != "\0")[:190]
    with new_world() as world:
        (world.root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
        job_id = world.post("create", {"schedule": "0 9 * * *", "prompt": text, "name": text})[1]["job"]["id"]
        for arguments, lines in ((["list"], 2), (["show", job_id], 7), (["list", "--json"], None)):
            told = subprocess.run([sys.executable, "-m", "hermes_oscron.cli", *arguments], capture_output=True,
                                  timeout=20, stdin=subprocess.DEVNULL, check=True).stdout.decode()
            assert all(line.isprintable() for line in told.split("\n"))
            assert lines is None or told.count("\n") == lines, told
