"""The page of one job: its schedule and how it is armed, its runs, its output, and its settings."""

import datetime
import json
import statistics
from itertools import islice
from typing import Any, NamedTuple

from ...barrier import use_or_none
from ...errors import OscronError
from ...hermes import job_store
from ...hermes.home import Home
from ...jobs.fields import FIELDS
from ...jobs.model import Job
from ...runs import ledger, live_output
from ...runs.ledger import Row
from ...schedule.describe import describe
from ...schedulers.plan import plan_of
from ...service import explain, job_views, run_history
from ...service.jobs import JobService
from ...service.runs import of_job
from . import policies
from .output import plain
from .overview import row_of
from .plot import plot
from .times import Clock, seconds_of

RUNS = 50
"""The number of runs on one page."""
COMING = 10
FAR = datetime.timedelta(days=366 * 10)
SHOWN_APART = {"schedule", "prompt", "name", "enabled", "repeat", "skill", "pinned", "paused", "paused_reason",
               "policy"}


class RunRow(NamedTuple):
    """A row of the ledger and its numbers as text."""

    row: Row
    outcome: str
    late: float | None
    took: float | None
    tokens: str
    cost: str
    ended_by: str


def job_page(service: JobService, job_id: str, clock: Clock, before: float | None) -> dict[str, Any]:
    """Return the values of the template. Raises JobNotFound, StateFileError."""
    home, now = service.home, service.clock.now()
    view = service.show(job_id)
    job = job_store.find(home, job_id)
    run = service.progress(job_id)
    rows, ledger_problem = list[Row](), ""
    try:
        rows = run_history.rows_of(home, job_id, RUNS + 1, before)
    except OscronError as error:
        ledger_problem = str(error)
    shown = rows[:RUNS]
    runs = [_run_row(row, clock) for row in shown]
    used = run_history.used_of_budget(home, job, now)
    return {
        "clock": clock, "job": view, "row": row_of(view, run), "home": home, "run": run,
        "words": describe(job.own_schedule, job.zone) if job.own_schedule else "", "zone": job.zone.key,
        "times": _times(job, now) if service.disarmed_since is None else [], "armed": _armed(service, job, now),
        "never": job_views.why_never_fires(home, job_id), "notes": _notes(service, job_id),
        "runs": runs, "plot": plot(shown, clock), "facts": _facts(runs), "before": before,
        "earlier": shown[-1].due if len(rows) > RUNS else None, "ledger_problem": ledger_problem,
        "settings": settings(view) | ({"Budget used": used} if used else {}),
        "outputs": service.history(job_id, 0, RUNS)[0],
        "paused_at": seconds_of(view.get("paused_at")), "log": live_log(home, job_id, 0) if run else None,
        "disarmed": service.disarmed_since, "scheduler": service.scheduler,
    }


def live_log(home: Home, job_id: str, offset: int) -> live_output.Part:
    """Return the output of the run in progress from `offset` on, without what controls a terminal."""
    part = live_output.read(home, job_id, offset)
    return part._replace(text=plain(part.text))


def settings(view: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a job that are set, by label."""
    found = {}
    for field in FIELDS.values():
        value = view.get(field.name)
        if field.name not in SHOWN_APART and value not in (None, "", [], False) and not (
                field.name == "toast_notifications" and value is True):
            found[label(field.name)] = ", ".join(map(str, value)) if isinstance(value, list) else {
                True: "yes"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    in_force = policies.texts(view["effective_policy"])
    return found | {policies.label(name.removeprefix(policies.PREFIX)): text for name, text in in_force.items() if text}


def label(name: str) -> str:
    """Return the name of a field for people."""
    return {"no_agent": "Without an agent", "deliver": "Delivery", "profile": "Runs as profile",
            "base_url": "Base URL", "monitor_url": "Monitor URL"}.get(
        name, name.replace("_", " ").capitalize())


def _times(job: Job, now: datetime.datetime) -> list[float]:
    times = use_or_none(job.instance, job, lambda job: [
        moment.timestamp() for moment, _ in islice(of_job(job, now, now + FAR), COMING)])
    return times or []


def _armed(service: JobService, job: Job, now: datetime.datetime) -> list[str]:
    """Return the lines by which the job is armed; none if it is not."""
    plan = use_or_none(job.instance, job, lambda job: plan_of(job, now)) if service.disarmed_since is None else None
    if plan is None or plan.paused:
        return []
    return explain.armed_lines(plan.schedule, plan.zone, service.scheduler, now, plan.phase)


def _notes(service: JobService, job_id: str) -> list[str]:
    try:
        return service.notes(job_id)
    except OscronError as error:
        return [str(error)]


def _run_row(row: Row, clock: Clock) -> RunRow:
    usage = json.loads(row.usage) if row.usage else {}
    cost = usage.get("estimated_cost_usd")
    took = None if row.started is None or row.outcome == ledger.INTERRUPTED else (
        (clock.now if row.ended is None else row.ended) - row.started)
    ended_by = f"signal {row.signal}" if row.signal else f"exit {row.exit_code}" if row.exit_code else ""
    tokens = usage.get("total_tokens")
    return RunRow(row, row.outcome or "running", None if row.started is None else max(0.0, row.started - row.due), took,
                  f"{tokens:,}" if tokens is not None else "", f"${cost:.4f}" if cost is not None else "", ended_by)


def _facts(runs: list[RunRow]) -> dict[str, Any]:
    """Return numbers about the runs that have ended."""
    ended = [run for run in runs if run.row.outcome and run.row.started is not None]
    took = [run.took for run in ended if run.took is not None]
    usages = [json.loads(run.row.usage) for run in ended if run.row.usage]
    costs = [usage["estimated_cost_usd"] for usage in usages if usage.get("estimated_cost_usd") is not None]
    tokens = [usage["total_tokens"] for usage in usages if usage.get("total_tokens") is not None]
    return {"count": len(ended), "ok": sum(run.outcome == ledger.OK for run in ended),
            "median": statistics.median(took) if took else None, "cost": sum(costs) if costs else None,
            "tokens": sum(tokens) if tokens else None}
