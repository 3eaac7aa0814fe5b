"""Which requests root's helper accepts, and the timers that it writes for them. Every byte may be an attacker's."""

import datetime
import json
import logging
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hermes_oscron.errors import OscronError
from hermes_oscron.hermes import timezone
from hermes_oscron.hermes.home import split_instance
from hermes_oscron.jobs.model import Job
from hermes_oscron.privileged.protocol import (
    COMMANDS,
    MAX_ITEMS,
    MAX_REQUEST_BYTES,
    ProtocolError,
    Request,
    parse_plans,
    parse_request,
    parse_starts,
    plan_item,
)
from hermes_oscron.schedule import cron
from hermes_oscron.schedule.model import ScheduleError, cron_schedule, interval, once_in_zone
from hermes_oscron.schedulers.plan import plan_of
from hermes_oscron.schedulers.protocol import NO_LIMITS, Limits, Plan
from hermes_oscron.schedulers.systemd import drop_in
from hermes_oscron.schedulers.systemd.drop_in import SETTINGS
from hermes_oscron.schedulers.systemd.path_watch import MAX_WATCHED_PROFILES
from hermes_oscron.schedulers.systemd.scheduler import unit_of
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.fuzz.records import CHANGES, DATES, NUMERALS, ODD, record
from tests.privileged.harmless import assert_harmless, assert_harmless_drop_in
from tests.strategies import ZONES, expressions

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
UTC = ZoneInfo("UTC")
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4))
NAMES = ["a:b", "default:4f2a9c1d07be", "../../etc:x", "a:b\n", "sshd", "a:", ":b", "a:b:c", "a/b:c",
         "a:%n", "a:.b", "é:b", "a:" + "b" * 65, "a: b", "a:b\0", "\ud800:b"]
INJECTIONS = ["\n[Service]\nExecStart=/bin/sh", "\\\nUnit=sshd.service", "%n", "\0", "; rm -rf /", "../../x",
              "\u2028Unit=x", " "]
PARTS = ("instance", "kind", "expression", "zone", "phase")
GOOD = ["a:b", "cron", "0 9 * * *", "Europe/Berlin", None]


def item(**changes: Any) -> list[Any]:
    return [*{**dict(zip(PARTS, GOOD, strict=True)), **changes}.values()]


@pytest.mark.parametrize("sent", [
    Request("watch", []), Request("watch", ["work"]), Request("disarm-all", []),
    Request("start", ["default:4f2a9c1d07be"]), Request("arm", [GOOD]), Request("disarm", ["a:b"]),
    Request("delete", ["a:b"]), Request("disarm", []), Request("arm", [["a:b", {}]]),
])
def test_a_request_arrives_as_it_was_sent(sent: Request) -> None:
    assert parse_request(sent.line()) == sent


@pytest.mark.parametrize("line", [
    b"", b"\0", b"arm", b"{", b"[]", b"{}", b'"arm"', b"\xff\xfe", b"[" * 100_000, b'{"command": 1e999}',
    b'{"command": ["arm"], "items": []}', b'{"command": "arm ", "items": []}', b'{"command": "ARM", "items": []}',
    b'{"command": null, "items": []}', b'{"command": {}, "items": []}', b'{"command": "watch"}',
    b'{"command": "restart", "items": ["a:b"]}', b'{"command": "sync", "items": []}', b'{"verb": "watch"}',
    b'{"command": "start", "items": null}', b'{"command": "start", "items": "a:b"}',
    b'{"command": "arm", "items": ["a:b"]}', b'{"command": "arm", "items": [[]]}', b'{"command": "arm", "items": [7]}',
    b'{"command": "arm", "items": [[["a:b"]]]}', b'{"command": "arm", "items": {"a:b": []}}',
    b'{"command": "start", "items": [["a:b"]]}', b'{"command": "disarm", "items": {"a:b": 1}}',
    b'{"command": "disarm", "items": [7]}', b'{"command": "disarm", "items": false}',
    b'{"command": "disarm-all", "items": ["a:b"]}', b'{"command": "watch", "items": ["a:b"]}',
    b'{"command": "watch", "items": [".."]}', b'{"command": "watch", "items": [["work"]]}',
    b'{"command": "watch", "items": [], "unit": "sshd.service"}', b'{"command": "start", "items": [], "leave": []}',
    b'{"command": "start", "items": ["a:b"], "command": "enable"}', b'{"command": ' + b"9" * 5000 + b"}",
])
def test_a_malformed_request_is_refused_in_a_sentence(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^[ -~]{1,250}$"):
        parse_request(line)


def test_a_request_of_another_version_is_refused_as_such() -> None:
    for line in (b'{"command": "arm", "instances": ["a:b"]}', b'{"command": "disarm", "instances": null}'):
        with pytest.raises(ProtocolError, match="perhaps of another version of hermes-oscron"):
            parse_request(line)


def test_the_size_of_a_request_is_limited() -> None:
    with pytest.raises(ProtocolError, match=f"longer than {MAX_REQUEST_BYTES} bytes"):
        parse_request(b" " * MAX_REQUEST_BYTES + b"{}")
    for command, most, each in (("start", MAX_ITEMS, "a:b"), ("arm", MAX_ITEMS, GOOD),
                                ("watch", MAX_WATCHED_PROFILES, "work")):
        assert parse_request(Request(command, [each] * most).line())
        with pytest.raises(ProtocolError, match=f"at most {most} items"):
            parse_request(Request(command, [each] * (most + 1)).line())


def test_the_largest_request_of_a_client_is_accepted() -> None:
    largest = cron_schedule(cron.canonical(",".join(map(str, range(60))) + " * * * " + ",".join("1" * 1800)))
    longest = ",".join("7" * 2000) + " * * * *"
    assert parse_request(Request("arm", [["p" * 64 + ":" + "j" * 64, "cron", longest, "A" * 100, 2**40]] * MAX_ITEMS)
                         .line())
    assert parse_plans([plan_item(Plan("a:b", largest, UTC, None))])[0]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "disarm-all"])
@pytest.mark.parametrize("name", NAMES[2:])
def test_a_name_that_is_not_an_instance_is_refused_in_every_place(command: str, name: str) -> None:
    if command == "watch" and ":" not in name:
        return
    for names in ([name], ["a:b", name], [name, "a:b"]):
        items = [item(instance=each) for each in names] if command == "arm" else names
        with pytest.raises(ProtocolError, match=r"^[ -~]{1,250}$"):
            parse_request(Request(command, items).line())


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda sent: json.dumps(sent).encode())
       | st.fixed_dictionaries({"command": st.sampled_from(COMMANDS) | JSON,
                                "items": st.lists(st.sampled_from(NAMES) | JSON | st.lists(JSON)) | JSON})
       .map(lambda sent: json.dumps(sent).encode()))
@example(b'{"command": "disarm", "items": [null]}')
def test_any_bytes_are_a_request_with_checked_names_or_refused(line: bytes) -> None:
    try:
        request: Any = parse_request(line)
    except ProtocolError:
        return
    assert request.command in COMMANDS
    for each in request.items:
        split_instance(f"{each}:x" if request.command == "watch" else each[0] if request.command == "arm" else each)


# Plans


def assert_usable(plan: Plan, expected: Plan | None = None) -> None:
    """Assert that `plan` arrives as it is, and that root writes the timer that the account would have written."""
    request = parse_request(Request("arm", [plan_item(plan)]).line())
    plans, unusable = parse_plans(request.items)
    assert not unusable
    arrived, phase = plans[plan.instance], plan.phase and plan.phase.replace(microsecond=0)
    assert arrived == plan._replace(phase=phase)
    text = render(arrived, UTC, NOW)
    assert text == render(plan, UTC, NOW)
    assert_harmless(unit_of(plan.instance), text)
    assert_harmless_drop_in(drop_in.render(arrived.limits).decode())


@settings(deadline=None)
@given(expressions(), st.sampled_from(ZONES))
def test_every_cron_expression_arrives(expression: str, zone: str) -> None:
    try:
        schedule = cron_schedule(cron.canonical(expression))
    except ScheduleError:
        assume(False)
    assert_usable(Plan("a:b", schedule, ZoneInfo(zone), None))


@settings(deadline=None)
@given(st.integers(1, 10_000_000), st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2150, 1, 1)),
       st.sampled_from(ZONES))
@example(1440, datetime.datetime(2026, 1, 1, 0, 0, 0, 999_999), "UTC")
def test_every_interval_arrives_with_its_phase(minutes: int, phase: datetime.datetime, zone: str) -> None:
    assert_usable(Plan("a:b", interval(minutes), ZoneInfo(zone), phase.replace(tzinfo=ZoneInfo(zone))))


@settings(deadline=None)
@given(st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(2199, 12, 30)), st.sampled_from(ZONES))
def test_every_one_shot_arrives(run_at: datetime.datetime, zone: str) -> None:
    assert_usable(Plan("a:b", once_in_zone(run_at.replace(tzinfo=datetime.UTC), ZoneInfo(zone)), ZoneInfo(zone), None))


@settings(deadline=None)
@given(CHANGES, st.sampled_from(ZONES))
def test_every_plan_of_any_record_arrives(changes: dict[str, Any], zone: str) -> None:
    """If root refused the plan of a job that the account can use, the job would never fire."""
    job = Job.from_record("default", record("one", **{**changes, "id": "one"}), ZoneInfo(zone))
    try:
        plan = plan_of(job, NOW)
    except (OscronError, OverflowError, ValueError):
        plan = None
    assume(plan)
    assert plan
    assert_usable(plan._replace(paused=False))


def test_the_machine_s_zone_may_be_one_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """If /etc/localtime is a file of no known zone, it has the name `localtime`, which systemd needs not know."""
    with open("/usr/share/zoneinfo/Asia/Tokyo", "rb") as file:
        own = ZoneInfo.from_file(file, "localtime")
    monkeypatch.setattr(timezone, "_machine", lambda: (own, "/etc/localtime"))
    plan = Plan("a:b", cron_schedule("0 9 * * *"), own, None)
    assert parse_plans([plan_item(plan)]) == ({"a:b": plan}, {})


@pytest.mark.parametrize("changes", [
    {"kind": "CRON"}, {"kind": ""}, {"kind": None}, {"kind": 7}, {"kind": "interval"}, {"kind": "once"},
    {"expression": "00 9 * * *"}, {"expression": "0 9 * * mon"}, {"expression": "@daily"}, {"expression": "0  9 * * *"},
    {"expression": " 0 9 * * *"}, {"expression": "0 9 * *"}, {"expression": "61 9 * * *"},
    {"expression": ["0 9 * * *"]}, {"expression": "0 9 * * *" * 1000}, {"expression": "٣ 9 * * *"},
    *({"kind": "interval", "expression": text} for text in (
        "every 60m", "every 24h", "every 0m", "every 01h", "every -1m", "every 9999999d", "every 1w", "every 1.5h",
        "every ٣m", "every 1m\n", "Every 1m", "1m", "every 1m 1m", "every " + "9" * 5000 + "m")),
    *({"kind": "once", "expression": text} for text in (
        "2030-01-01T00:00:00", "2030-01-01", "2030-01-01 00:00:00+00:00", "2030-01-01T00:00:00.5+00:00",
        "2030-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00", "2200-01-01T00:00:00+00:00", "9999-12-31T23:59:59-12:00",
        "2030-W01-1T00:00:00+00:00", "", "x")),
    *({"zone": name} for name in (
        "Europe/Nowhere", "", "/etc/localtime", "../zoneinfo/UTC", "Europe", "zone.tab", "tzdata.zi", "Europe/../UTC",
        "UTC\n", "UTC\0", "Europe//Berlin", "é", "A" * 5000, None, 7, "\ud800", "Europe/Berlin UTC", "%n")),
    *({"phase": phase} for phase in (-1, 2**63, 10**4000, 7_300_000_000, 1.5, "0", [0], {})),
], ids=lambda changes: ascii(changes)[:60])
def test_a_plan_that_is_not_canonical_or_not_possible_is_refused_in_a_sentence(changes: dict[str, Any]) -> None:
    plans, unusable = parse_plans([item(**changes), item(instance="a:c")])
    assert [*plans] == ["a:c"] and [*unusable] == ["a:b"]
    assert 10 < len(unusable["a:b"]) < 5000


def bounds(most: bool) -> list[int]:
    return [SETTINGS[name].most if most else SETTINGS[name].least for name in Limits._fields]


@pytest.mark.parametrize("limits", [bounds(most=False), bounds(most=True), [None] * len(Limits._fields)])
def test_limits_within_their_bounds_arrive(limits: list[int | None]) -> None:
    plan = Plan("a:b", cron_schedule("0 9 * * *"), UTC, None, limits=Limits(*limits))
    assert_usable(plan)
    request = parse_request(Request("start", [["a:b", limits], "a:c"]).line())
    assert parse_starts(request.items) == {"a:b": Limits(*limits), "a:c": NO_LIMITS}


@pytest.mark.parametrize("limits", [
    None, 7, "7", {}, [], [7] * (len(Limits._fields) + 1), *([value] * len(Limits._fields) for value in (
        "7", "7\nExecStart=/bin/sh", 7.0, True, False, -1, 10**30, [7], {}, "infinity")),
    [limit - 1 for limit in bounds(most=False)], [limit + 1 for limit in bounds(most=True)],
], ids=lambda limits: ascii(limits)[:60])
def test_limits_that_are_not_numbers_within_bounds_are_refused_in_a_sentence(limits: Any) -> None:
    plans, unusable = parse_plans([[*GOOD, limits], item(instance="a:c")])
    assert [*plans] == ["a:c"] and unusable == {"a:b": "Its limits are malformed: expected whole numbers within their "
                                                       "bounds."}
    with pytest.raises(ScheduleError, match="limits are malformed"):
        parse_starts(["a:c", ["a:b", limits]])


@pytest.mark.parametrize("name", SETTINGS)
def test_each_limit_has_bounds_of_its_own(name: str) -> None:
    for outside in (SETTINGS[name].least - 1, SETTINGS[name].most + 1):
        assert parse_plans([[*GOOD, list(NO_LIMITS._replace(**{name: outside}))]])[0] == {}


@pytest.mark.parametrize("injected", INJECTIONS)
@pytest.mark.parametrize("field", ["kind", "expression", "zone"])
def test_no_text_that_is_added_to_a_plan_gets_into_a_unit(field: str, injected: str) -> None:
    for good in (GOOD, ["a:b", "once", "2030-01-01T00:00:00+00:00", "UTC", None],
                 ["a:b", "interval", "every 2h", "UTC", 1_800_000_000]):
        text = dict(zip(PARTS, good, strict=True))
        for changed in (str(text[field]) + injected, injected + str(text[field])):
            assert parse_plans([[*{**text, field: changed}.values()]])[0] == {}


TEXTS = ODD | NUMERALS | DATES | st.text(max_size=20) | JSON
ITEMS = st.tuples(
    st.sampled_from(["a:b", "a:c"]), st.sampled_from(["cron", "interval", "once"]) | TEXTS,
    expressions() | TEXTS | st.sampled_from(["every 1m", "every 7d", "every 19w", "2030-01-01T00:00:00+00:00",
                                             "2199-12-31T23:59:59-12:00", "0002-01-01T00:00:00+23:59", "every 6944d"])
    | st.text("0123456789*/,-L#W? ", max_size=20),
    st.sampled_from([*ZONES, "right/UTC", "Etc/GMT+12", "Factory"]) | TEXTS,
    st.none() | st.integers() | st.integers(0, 7_300_000_000) | TEXTS,
    st.lists(st.none() | st.integers(-1, 5000) | TEXTS, min_size=len(Limits._fields), max_size=len(Limits._fields))
    | TEXTS).map(list)


@settings(deadline=None, max_examples=400)
@given(st.lists(ITEMS, max_size=3))
def test_any_items_leave_the_good_one_planned_and_every_timer_harmless(items: list[Any]) -> None:
    """A record that the code does not expect would be logged: every byte is either parsed or refused."""
    with pytest.MonkeyPatch.context() as patch:
        logged: list[str] = []
        patch.setattr(logging.Logger, "error", lambda _logger, *message: logged.append(str(message)))
        plans, unusable = parse_plans([*items, item(instance="a:good")])
        assert "a:good" in plans and not plans.keys() & unusable.keys()
        for instance, plan in plans.items():
            try:
                text = render(plan, UTC, NOW)
            except OscronError:
                continue
            assert_harmless(unit_of(instance), text)
            assert_harmless_drop_in(drop_in.render(plan.limits).decode())
        assert not logged
