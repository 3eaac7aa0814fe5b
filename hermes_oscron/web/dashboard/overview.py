"""The overview: all jobs on a timeline, the runs in progress, failures and missed runs, the next runs."""

import datetime
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ...errors import OscronError, describe
from ...hermes import job_store
from ...hermes.emergency_stop import paused
from ...hermes.home import Home, homes_of
from ...hermes.timezone import home_zone
from ...jobs.record import COMPLETED, ERROR, PAUSED, RAN
from ...runs import lock
from ...runs.entries import outcome_of
from ...runs.ledger import STOPPED
from ...service import job_views, run_history
from ...service.jobs import JobService
from ...service.manual_start import Progress, progress_of
from ...service.run_history import Trouble
from ...service.runs import clock_changes
from ...service.selection import Selection
from . import timeline
from .timeline import HOURS, Window
from .times import Clock, seconds_of

LANES = 100
"""The number of lanes on one page."""
LISTED = 8
"""The number of entries in a list beside the timeline."""
RECENT_S = 7 * 86400.0
"""Failures and missed runs of this time are shown."""
NOTHING = run_history.Coming([], False)
FILTERS: dict[str, str] = {"active": "Active", "running": "Running", "failing": "Failing", "paused": "Paused",
                           "completed": "Completed", "all": "All"}


class Row(NamedTuple):
    """A job in the overview. `state` is the word for it, and `next` when it runs, in unix seconds."""

    profile: str
    id: str
    name: str
    schedule: str
    state: str
    next: float | None
    run: Progress | None
    error: str

    @property
    def path(self) -> str:
        return f"/jobs/{self.profile}/{self.id}"


class Lane(NamedTuple):
    """A row on the timeline: its marks, and the same in words."""

    row: Row
    svg: str
    summary: str


class Wanted(NamedTuple):
    """The part of the overview that is asked for; an empty `profile` is all of them."""

    profile: str = ""
    hours: int = 24
    text: str = ""
    shown: str = "active"
    page: int = 1

    def url(self, **changes: Any) -> str:
        """Return the address of the overview with `changes`."""
        given = self._replace(**changes)
        changed = {name: value for name, value in given._asdict().items() if value != getattr(Wanted(), name)}
        return f"/?{urlencode(changed)}" if changed else "/"


def wanted(parameter: Callable[[str], str]) -> Wanted:
    """Return the part that the query asks for; values that do not exist count as not given."""
    hours, page, shown = parameter("hours"), parameter("page"), parameter("shown")
    return Wanted(parameter("profile"), int(hours) if hours.isascii() and hours in map(str, HOURS) else 24,
                  parameter("text").strip()[:200], shown if shown in FILTERS else "active",
                  int(page) if page.isascii() and page.isdecimal() and len(page) < 6 and int(page) else 1)


def overview(selection: Selection, service: JobService, wanted: Wanted) -> dict[str, Any]:
    """Return the values of the overview's template. Errors of a profile are among them, and hide no other profile."""
    now = service.clock.now()
    homes = homes_of(selection.root)
    shown_homes = [home for home in homes if wanted.profile in ("", home.profile)]
    clock = Clock(now.timestamp(), home_zone(service.home if service.home in shown_homes or not shown_homes
                                             else shown_homes[0]))
    rows, problems = list[Row](), list[str]()
    failures, missed = list[tuple[Row | None, Home, Trouble]](), list[tuple[Row | None, Home, Trouble]]()
    for home in shown_homes:
        try:
            found = _rows(selection, home, now)
            rows += found
            if sentence := paused(home):
                problems.append(f"{home.profile}: {sentence}")
            problems += job_store.unusable(home)
            known = {row.id: row for row in found}
            since = clock.now - RECENT_S
            failures += [(known.get(each.job), home, each) for each in run_history.failures(home, since)]
            missed += [(known.get(each.job), home, each) for each in run_history.missed(home, since)]
        except (OscronError, OSError) as error:
            problems.append(f"{home.profile}: {describe(error)}")
    failures.sort(key=lambda each: -each[2].due)
    missed.sort(key=lambda each: -each[2].due)
    states = Counter(row.state for row in rows)
    selected = _selected(rows, wanted)
    pages = max(1, math.ceil(len(selected) / LANES))
    page = min(wanted.page, pages)
    on_page = selected[(page - 1) * LANES:page * LANES]
    window = Window(clock.now, wanted.hours)
    coming = sorted((row for row in rows if row.next and not row.run), key=lambda row: row.next or 0)
    return {
        "wanted": wanted._replace(page=page), "clock": clock, "window": window, "homes": homes, "pages": pages,
        "ticks": timeline.ticks(window, clock), "groups": _groups(shown_homes, on_page, window, clock, problems),
        "changes": _changes(shown_homes, window), "problems": problems, "total": len(rows), "found": len(selected),
        "counts": {name: sum(states[state] for state in states if _is_shown(state, name)) for name in FILTERS},
        "filters": FILTERS,
        "running": sorted((row for row in rows if row.run), key=lambda row: -(row.run.elapsed if row.run else 0)),
        "failures": failures[:LISTED], "more_failures": max(0, len(failures) - LISTED),
        "missed": missed[:LISTED], "more_missed": max(0, len(missed) - LISTED),
        "coming": coming[:LISTED], "all_coming": len(coming), "spans": HOURS, "scheduler": selection.active.kind,
        "disarmed": service.disarmed_since, "unavailable": selection.active.availability().reason,
    }


def _rows(selection: Selection, home: Home, now: datetime.datetime) -> list[Row]:
    runs = {job_id: progress_of(run) for job_id, run in lock.running(home).items()}
    return [row_of(view, runs.get(view["id"])) for view in job_views.views(selection, home, now)]


def row_of(view: dict[str, Any], run: Progress | None) -> Row:
    """Return the row of the job in `view`."""
    status = view["last_status"]
    if run:
        state = run.state
    elif view["state"] in (PAUSED, COMPLETED):
        state = view["state"]
    elif view["state"] == ERROR:
        state = "broken"
    elif status and status not in RAN:
        state = "stopped" if outcome_of(view["last_error"]) == STOPPED else "failing"  # a person has stopped it
    else:
        state = "scheduled"
    return Row(view["owner_profile"], view["id"], view["name"], view["schedule_display"], state,
               seconds_of(view["next_run_at"]), run, view["last_error"] or view["last_delivery_error"] or "")


def _is_shown(state: str, name: str) -> bool:
    return (name == "all" or state == name
            or (name == "active" and state != "completed")
            or (name == "running" and state == "queued")
            or (name == "failing" and state == "broken"))


def _selected(rows: list[Row], wanted: Wanted) -> list[Row]:
    """Return the rows that are wanted, by profile and name."""
    text = wanted.text.casefold()
    return sorted((row for row in rows if _is_shown(row.state, wanted.shown) and (
        not text or text in f"{row.name}\n{row.id}\n{row.profile}\n{row.schedule}".casefold())),
        key=lambda row: (row.profile != "default", row.profile, _by_number(row.name), row.id))


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `job 9` before `job 10`."""
    parts = re.split(r"([0-9]{1,15})", name.casefold())
    return [(int(part), "") if at % 2 else (0, part) for at, part in enumerate(parts)]


def _groups(homes: list[Home], rows: list[Row], window: Window, clock: Clock,
            problems: list[str]) -> list[tuple[str, list[Lane]]]:
    """Return the lanes of `rows` by profile. A ledger that cannot be read is added to the `problems`."""
    groups = []
    for home in homes:
        of_home = [row for row in rows if row.profile == home.profile]
        if not of_home:
            continue
        shown = {row.id for row in of_home}
        past: dict[str, list[run_history.Span]] = {}
        coming: dict[str, run_history.Coming] = {}
        try:
            for span in run_history.spans(home, list(shown), window.start, window.now):
                past.setdefault(span.job, []).append(span)
            jobs = [job for job in job_store.read(home) if job.id in shown]
            coming = run_history.coming(home, jobs, datetime.datetime.fromtimestamp(window.now, datetime.UTC),
                                        datetime.datetime.fromtimestamp(window.end, datetime.UTC), timeline.MAX_MARKS,
                                        timeline.BINS)
        except (OscronError, OSError) as error:
            problems.append(f"{home.profile}: {describe(error)}")
        groups.append((home.profile, [
            Lane(row, timeline.lane(window, past.get(row.id, []), coming.get(row.id, NOTHING), clock),
                 timeline.summary(row.name, past.get(row.id, []), coming.get(row.id, NOTHING), clock))
            for row in of_home]))
    return groups


def _changes(homes: list[Home], window: Window) -> list[tuple[float, str]]:
    """Return the place of each clock change in `window`, and what it is."""
    start, end = (datetime.datetime.fromtimestamp(moment, datetime.UTC) for moment in (window.start, window.end))
    return [(window.place(seconds_of(change["at"]) or 0),
             f"clocks {'forward' if change['shift_seconds'] > 0 else 'back'} "
             f"{abs(change['shift_seconds']) // 60} min, {change['zone']}")
            for change in clock_changes({home_zone(home) for home in homes}, start, end)]
