"""The marks of a lane: each run has one, unless there are too many, and none is outside."""

import datetime
import re
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.service.run_history import Coming, Span
from hermes_oscron.service.runs import clock_changes
from hermes_oscron.web.dashboard import timeline
from hermes_oscron.web.dashboard.timeline import BINS, HOURS, MAX_MARKS, Window, lane, ticks
from hermes_oscron.web.dashboard.times import Clock, about, duration, relative

NOW = 1_800_000_000.0
CLOCK = Clock(NOW, ZoneInfo("Europe/Berlin"))
WINDOW = Window(NOW, 24)
NONE = Coming([], False)


def span(ago: float, took: float | None, outcome: str | None = "ok") -> Span:
    start = NOW - ago
    return Span("a", start, start, None if took is None else start + took, outcome)


def places(svg: str) -> list[float]:
    return [float(place) for place in re.findall(r'c?x="(-?[\d.]+)%"', svg)]


def test_a_run_is_a_bar_as_long_as_it_took_and_a_mark() -> None:
    svg = lane(WINDOW, [span(12 * 3600, 3 * 3600, "error")], NONE, CLOCK)
    assert re.findall(r'<rect class="bar" x="25.00%" y="\d+" width="6.25%"', svg)
    assert re.findall(r'<g class="error">.*<use href="#m-error" x="31.25%"', svg)


def test_a_run_in_progress_ends_now() -> None:
    svg = lane(WINDOW, [span(12 * 3600, None, None)], NONE, CLOCK)
    assert 'width="25.00%"' in svg and '<use href="#m-running" x="50.00%"' in svg


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize("count", [0, 1, MAX_MARKS, MAX_MARKS + 1, 5000])
def test_the_number_of_marks_is_limited_and_all_are_inside(hours: int, count: int) -> None:
    window = Window(NOW, hours)
    ago = [(n + 1) * hours * 3600 / (count + 1) for n in range(count)]
    past = [span(each, min(9999, each), ("ok", "error", "missed")[n % 3]) for n, each in enumerate(ago)]
    svg = lane(window, past, NONE, CLOCK)
    assert svg.count("<use") == count if count <= MAX_MARKS else svg.count("<use") <= BINS
    assert svg.count("<rect") <= BINS
    assert all(0 <= place <= 50 for place in places(svg))


def test_a_stretch_shows_its_worst_outcome() -> None:
    past = [span(3600 + n, 1, "error" if n == 7 else "ok") for n in range(100)]
    svg = lane(WINDOW, past, NONE, CLOCK)
    assert svg.count('class="bin"') <= 2 and svg.count("#m-error") == 1
    assert "1 error, " in svg


def test_what_is_to_come_is_hollow_or_a_band() -> None:
    svg = lane(WINDOW, [], Coming([NOW + 3600, NOW + 7200], False), CLOCK)
    assert svg.count("<circle") == 2 and min(places(svg)) > 50
    step = 24 * 3600 / BINS
    svg = lane(WINDOW, [], Coming([NOW + n * step for n in range(BINS)], True), CLOCK)
    assert svg.count('class="dense"') == 1
    svg = lane(WINDOW, [], Coming([NOW + n * step for n in range(BINS) if n < 8 or n > 40], True), CLOCK)
    assert svg.count('class="dense"') == 2


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("hours", HOURS)
def test_ticks_are_at_whole_times_of_the_clock(zone: str, hours: int) -> None:
    clock = Clock(NOW, ZoneInfo(zone))
    found = ticks(Window(NOW, hours), clock)
    assert 4 <= len([tick for tick in found if "minor" not in tick.style]) <= 16
    for tick in found:
        local = clock.local(tick.moment)
        assert (local.hour * 60 + local.minute) % timeline.TICKS_MIN[hours][1] == 0
        assert ("day" in tick.style) == (local.hour == local.minute == 0)


def test_a_clock_change_is_found_and_moves_the_ticks() -> None:
    zone, day = ZoneInfo("Europe/Berlin"), datetime.timedelta(days=1)
    now = datetime.datetime(2027, 3, 28, 0, 30, tzinfo=datetime.UTC)
    [change] = clock_changes({zone}, now - day, now + day)
    assert (change["at"], change["shift_seconds"]) == ("2027-03-28T03:00:00+02:00", 3600)
    labels = [tick.label for tick in ticks(Window(now.timestamp(), 24), Clock(now.timestamp(), zone)) if tick.label]
    assert labels == ["03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "06:00", "09:00",
                      "12:00", "15:00", "18:00", "21:00", "Mon 29"]


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (0.04, "0 s"), (0.4, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"), (61, "1 min 1 s"),
    (3600, "1 h"), (3660, "1 h 1 min"), (3601, "1 h"), (90061, "1 d 1 h"), (-5, "0 s"), (None, "")])
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_relative_times() -> None:
    assert [relative(NOW + away, NOW) for away in (0.5, 90, -7200)] == ["now", "in 1 min", "2 h ago"]
    assert about(0.2) == "0 s"
