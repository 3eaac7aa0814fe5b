"""jobs.json as no program should leave it: no verb fails by accident, none loses what it cannot read."""

import contextlib
import datetime
import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_oscron.jobs import due
from hermes_oscron.jobs import record as stored_record
from hermes_oscron.jobs.model import Job
from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import ScheduleError
from hermes_oscron.schedule.parse import parse_schedule
from tests.fuzz.records import CHANGES, NUMERALS, record
from tests.fuzz.world import World, new_world

CALM = settings(deadline=None, suppress_health_check=list(HealthCheck))
ZONES = st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"])
SOUND = {"version": 2, "jobs": [record("one"), record("two", schedule={"kind": "interval", "minutes": 90}),
                                record("three", enabled=False, state="paused"), record("sound")], "extra": {"a": [1]}}


def verbs(job_id: str) -> list[Callable[[World], tuple[int, Any]]]:
    """Every verb, the ones that name a job on `job_id`, and its deletion last."""
    return [
        lambda world: world.get(), lambda world: world.get("", all_profiles="1"), lambda world: world.get("/status"),
        lambda world: world.get("/status", job_id=job_id), lambda world: world.get("/output", job_id=job_id),
        lambda world: world.get("/history", job_id=job_id), lambda world: world.get("/recent", since="1"),
        lambda world: world.post("create", {"prompt": "x", "schedule": "every 2h"}),
        lambda world: world.post("pause", {"job_id": job_id, "reason": "r"}),
        lambda world: world.post("resume", {"job_id": job_id}), lambda world: world.post("run", {"job_id": job_id}),
        lambda world: world.post("update", {"job_id": job_id, "name": "other", "repeat": 3}),
        lambda world: world.post("update", {"job_id": job_id, "enabled": True}),
        lambda world: world.post("update", {"job_id": job_id, "schedule": "every 3h"}),
        lambda world: (200, world.sync()), lambda world: (200, world.preview()),
        lambda world: (200, world.diagnose()), lambda world: world.post("delete", {"job_id": job_id}),
    ]


def equal_json(one: Any, other: Any) -> bool:
    """Equality that includes NaN and distinguishes 1 from True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@settings(CALM, max_examples=100)
@given(ZONES, CHANGES, st.sampled_from(["odd", "sound"]))
def test_a_record_of_any_shape_breaks_no_command_and_is_preserved(zone: str, changes: dict[str, Any], at: str) -> None:
    with new_world(zone) as world:
        odd = record("odd", **changes)
        entries = [odd, *SOUND["jobs"], changes, 7, None]  # type: ignore[misc]
        world.put({**SOUND, "jobs": entries})
        for verb in verbs(at):
            status, answer = verb(world)
            assert status in (200, 400, 404), answer
            kept = world.document()
            assert kept["extra"] == SOUND["extra"] and kept["version"] == 2
            assert all(any(equal_json(entry, other) for other in kept["jobs"]) for entry in (7, None))
            for entry in kept["jobs"]:
                if isinstance(entry, dict) and entry.get("id") in ("one", "two", "three"):
                    assert entry["theirs"] == {"kept": [1, "é"]}
        present = {entry.get("id") for entry in world.document()["jobs"] if isinstance(entry, dict)
                   and isinstance(entry.get("id"), str)}
        assert {"one", "two", "three"} <= present and at not in present | world.jobs().keys()


def garbled(content: bytes, cuts: list[tuple[str, int, bytes]]) -> bytes:
    """`content` after some accidents."""
    for kind, where, data in cuts:
        at = where % (len(content) + 1)
        if kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ (data or b"\x01")[0]]) + content[at + 1:]
        elif kind == "truncate":
            content = content[:at]
        elif kind == "splice":
            content = content[:at] + data + content[at:]
        elif kind == "repeat":
            content = content[:at] + content[at // 2:]
    return content


ACCIDENTS = st.lists(st.tuples(st.sampled_from(["flip", "truncate", "splice", "repeat"]), st.integers(0, 5000),
                               st.binary(max_size=6) | st.sampled_from([b'"', b"}", b"]", b"NaN", b"1e999", b"\0"])),
                     min_size=1, max_size=3)


@settings(CALM, max_examples=120)
@given(ACCIDENTS, st.sampled_from(["one", "sound"]))
def test_random_bytes_are_read_or_left_unchanged(cuts: list[tuple[str, int, bytes]], at: str) -> None:
    with new_world() as world:
        content = garbled(json.dumps(SOUND, indent=1).encode(), cuts)
        world.put(content)
        readable = world.get()[0] == 200
        for verb in verbs(at)[:-1] if readable else []:
            assert verb(world)[0] in (200, 400, 404)
        if not readable:
            refuses(world, content)


def refuses(world: World, content: bytes | None) -> None:
    """Every verb that needs the jobs says the path and why, and `content` stays."""
    for verb in verbs("one"):
        try:
            status, answer = verb(world)
        except Exception as error:
            status, answer = 503, {"error": str(error)}
        assert status != 500, answer
        if status != 200:
            assert status == 503 and str(world.jobs_file) in answer["error"], answer
    assert world.post("create", {"prompt": "x", "schedule": "every 2h"})[0] == 503
    assert content is None or world.jobs_file.read_bytes() == content
    [problem] = world.sync().problems
    assert problem.subject == "default" and str(world.jobs_file) in problem.sentence


NESTED = [b'{"jobs": [{"id": "deep", "prompt": "x", "schedule": ' + opened * depth + closed * depth + b"}]}"
          for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")) for depth in (200, 900, 990, 2000, 20_000, 200_000)]
NESTED = [content.replace(b":}", b":1}") for content in NESTED]


@pytest.mark.parametrize("number", range(len(NESTED)))
def test_deep_nesting_is_read_or_left_unchanged(number: int) -> None:
    with new_world() as world:
        world.put(NESTED[number])
        status, _ = world.get()
        assert status in (200, 503)
        if status == 503:
            refuses(world, NESTED[number])
        else:
            for verb in verbs("deep"):
                assert verb(world)[0] in (200, 400, 404)


@pytest.mark.parametrize("content", [b"", b" ", b"\xef\xbb\xbf", b"null", b"7", b'"x"',
                                     b"\xff\xfe{}", b"[", b'{"jobs": [' + b"9" * 5000,
                                     b"\0" * 4096])
def test_a_file_without_a_list_of_jobs_is_reported_and_left_unchanged(content: bytes) -> None:
    with new_world() as world:
        world.put(content)
        refuses(world, content)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\xef\xbb\xbf[]", b'{"jobs": []}', b'{"jobs": [1, null]}',
                                     b'{"jobs": null}', b'{"jobs": {}}', b'{"jobs": 1e999}', b'{"jobs": "x"}',
                                     b'{"jobs": [' + b"9" * 5000 + b"]}"])
def test_any_list_of_jobs_is_accepted(content: bytes) -> None:
    with new_world() as world:
        world.put(content)
        status, answer = world.post("create", {"prompt": "x", "schedule": "every 2h"})
        assert status == 200 and list(world.jobs()) == [answer["job"]["id"]]


def terminal(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Return the result of a command with limited memory, so that a file without an end must not be read whole."""
    return subprocess.run([sys.executable, "-m", "hermes_oscron.cli", *arguments], capture_output=True, text=True,
                          timeout=20, stdin=subprocess.DEVNULL,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)))


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_broken_link(path: Path) -> None:
    path.symlink_to("/nowhere/at/all.json")


@pytest.mark.parametrize("make", [make_folder, make_loop, make_pipe, make_device])
def test_every_command_reports_a_jobs_json_that_is_not_a_file(make: Callable[[Path], None]) -> None:
    with new_world() as world:
        make(world.jobs_file)
        before = world.jobs_file.lstat()
        for arguments in (["list"], ["create", "every 2h", "x"], ["delete", "one"], ["doctor"]):
            told = terminal(*arguments)
            assert told.returncode == (2 if arguments == ["doctor"] else 1) and "Traceback" not in told.stderr, told
            if arguments != ["doctor"]:
                assert str(world.jobs_file) in told.stderr
        refuses(world, None)
        assert world.jobs_file.lstat().st_ino == before.st_ino


def test_a_link_stays_a_link_and_its_file_is_the_one_that_changes() -> None:
    with new_world() as world:
        real = world.root / "elsewhere.json"
        real.write_text(json.dumps(SOUND))
        world.jobs_file.symlink_to(real)
        assert world.post("pause", {"job_id": "one"})[0] == 200
        assert world.jobs_file.is_symlink() and json.loads(real.read_text())["jobs"][0]["state"] == "paused"


def test_nothing_is_written_through_a_dangling_link() -> None:
    with new_world() as world:
        make_broken_link(world.jobs_file)
        status, answer = world.post("create", {"prompt": "x", "schedule": "every 2h"})
        assert status == 503 and str(world.jobs_file) in answer["error"]
        assert world.jobs_file.is_symlink()


def test_the_first_of_two_jobs_with_one_id_counts_and_delete_removes_both() -> None:
    with new_world() as world:
        world.put({"jobs": [record("one", name="first"), record("two"), record("one", name="second")]})
        assert world.jobs()["one"]["name"] == "first"
        assert world.post("update", {"job_id": "one", "name": "changed"})[0] == 200
        assert [entry["name"] for entry in world.document()["jobs"]] == ["changed", "two", "second"]
        assert world.post("delete", {"job_id": "one"})[0] == 200
        assert list(world.stored()) == ["two"] == list(world.jobs())
        world.sync()
        assert list(world.scheduler.armed) == ["default:two"]


ODD_STORES = [{**SOUND, "jobs": [record("odd", **changes)]} for changes in (
    {"name": "\ud800\x1b[2J"}, {"prompt": 10**400, "name": float("nan")}, {"schedule": [], "state": {}},
    {"created_at": "0001-01-01T00:00:00+00:00", "last_status": [1], "last_error": {"a": "\ud800"}},
    {"schedule": {"kind": "cron", "expr": f"0 9 * * 1#{'9' * 5000}"}}, {"repeat": {"completed": 10**4300 - 1}},
    {"prompt": functools.reduce(lambda inner, _: [inner], range(600), float("inf")), "name": "\ud800"})]


@pytest.mark.parametrize("store", ODD_STORES)
def test_the_terminal_shows_odd_records_without_a_traceback(store: Any) -> None:
    with new_world("America/New_York") as world:
        (world.root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
        world.put(store)
        for arguments in (["list"], ["list", "--json"], ["show", "odd"], ["doctor"], ["pause", "odd"], ["sync"]):
            told = terminal(*arguments)
            assert told.returncode in (0, 1, 2) and "Traceback" not in told.stderr, told.stderr
        assert datetime.datetime.fromisoformat(world.document()["updated_at"])


DEEP = "[" * 3000 + "]" * 3000
UNREADABLE = st.sampled_from(["9" * 5000, "-" + "1" * 4301, "1e400", "-1.5E+999", DEEP, f'{{"minutes": {DEEP}}}'])


@settings(CALM, max_examples=60)
@given(UNREADABLE, st.sampled_from(["schedule", "minutes", "next_run_at", "repeat", "theirs", "name", "skills"]),
       st.sampled_from(["odd", "sound"]))
def test_a_value_that_python_cannot_read_is_kept_and_affects_no_other_job(value: str, key: str, at: str) -> None:
    with new_world() as world:
        odd = record("odd", **({"schedule": {"kind": "interval", "minutes": "?"}} if key == "minutes" else {key: "?"}))
        content = json.dumps({"jobs": [odd, *SOUND["jobs"]], "extra": "?"}).replace('"?"', value)  # type: ignore[misc]
        world.put(content.encode())
        assert {"one", "two", "sound", "odd"} <= world.jobs().keys()
        for verb in verbs(at)[:-1]:
            status, answer = verb(world)
            assert status in (200, 400, 404), answer
        assert {"default:one", "default:two"} <= world.scheduler.armed.keys()
        kept = world.jobs_file.read_text().partition('"extra": ')
        assert value in kept[2]
        assert value in kept[0] or key == "next_run_at" or (at == "odd" and key != "theirs"), "only a verb changes it"


@settings(CALM, max_examples=200)
@given(NUMERALS)
def test_a_schedule_with_any_number_is_accepted_or_refused_in_a_sentence(words: str) -> None:
    zone, now = ZoneInfo("UTC"), datetime.datetime.now(datetime.UTC)
    with contextlib.suppress(ScheduleError):
        parse_schedule(words, zone, now)
    job = Job.from_record("default", record("odd", schedule={"kind": "cron", "expr": words}), zone)
    assert bool(job.schedule) != bool(job.schedule_error)
    assert "cannot be used" not in job.schedule_error


ODD_EXPRESSION = "17 4 * * *"
ODD_VALUE = "odd"
FUNCTIONS: list[tuple[Callable[..., Any], Callable[[Any], bool]]] = [
    (cron.canonical, lambda expression: expression == ODD_EXPRESSION),
    (due.next_run, lambda job: job.id == "odd"),
    (stored_record.state_of, lambda stored: stored.get("id") == "odd"),
    (stored_record.instant, lambda value: value == ODD_VALUE),
]
"""Functions that read a part of a record, each with the argument for which it is made to fail."""


def break_everywhere(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any],
                     fails_for: Callable[[Any], bool]) -> None:
    """Make `function` raise an unexpected error for some arguments, in every module that has it."""
    def broken(argument: Any, *others: Any) -> Any:
        if fails_for(argument):
            raise MemoryError(f"in {function.__name__}")
        return function(argument, *others)

    for name, module in list(sys.modules.items()):
        if name.startswith("hermes_oscron.") and getattr(module, function.__name__, None) is function:
            monkeypatch.setattr(module, function.__name__, broken)


@pytest.mark.parametrize(("function", "fails_for"), FUNCTIONS,
                         ids=["canonical", "next_run", "state_of", "instant"])
def test_an_unexpected_error_affects_only_its_own_record(
    function: Callable[..., Any], fails_for: Callable[[Any], bool], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Parsers have bugs; an error is reported of the record that causes it, and of no other."""
    odd = record("odd", next_run_at=ODD_VALUE, schedule={"kind": "cron", "expr": ODD_EXPRESSION})
    with new_world() as world:
        world.put({"jobs": [odd, record("sound")]})
        break_everywhere(monkeypatch, function, fails_for)
        assert world.sync().problems == []
        assert "default:odd" not in world.scheduler.armed and "default:sound" in world.scheduler.armed
        jobs = world.jobs()
        assert (jobs["odd"]["state"], jobs["sound"]["state"]) == ("error", "scheduled")
        assert "default:odd" in "".join(world.diagnose())
        assert {each.instance: each.effect.partition(" ")[0] for each in world.preview()} == {
            "default:odd": "never", "default:sound": "fires"}
        assert world.get("/recent", since="1")[0] == 200
        assert f"MemoryError in broken: 'in {function.__name__}'" in caplog.text
        assert world.post("delete", {"job_id": "odd"})[0] == 200
