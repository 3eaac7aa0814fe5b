"""The audit: compare the ledger with the schedules."""

import datetime
import json
import sys
from typing import Any
from zoneinfo import ZoneInfo

import click

from ..clock import CLOCK
from ..hermes.home import Home, hermes_root, homes_of
from ..hermes.timezone import home_zone
from ..json_text import json_safe
from ..runs.audit import Audit
from ..service.audit import audits
from .addressing import PROFILE_OPTION
from .group import service
from .options import time_option, zone_option
from .render import one_line


@click.command(short_help="Compare the ledger of runs with the schedules.",
               epilog="Example: hermes-oscron audit --since 2027-03-01")
@click.argument("job_id", required=False)
@click.option("--since", metavar="TIME", help="Look at the time from then on, like 2027-03-15T09:00.")
@PROFILE_OPTION
@click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
def audit(job_id: str | None, since: str | None, in_profile: str | None, wants_json: bool) -> None:
    """Compare the ledger of runs with the schedules of each job, or of JOB_ID, which may be deleted.

    Every time at which a job was due has one row in the ledger, also if it was skipped or missed. Prints the rows that
    are missing or duplicate, and those of a time at which the job was not due. Then the exit status is 1.
    """
    named, _, plain_id = (job_id or "").rpartition(":")
    profile = in_profile or named or None
    homes = [service(profile).home] if profile or job_id else list(homes_of(hermes_root()))
    moment = time_option(since, zone_option(None)) if since else None
    found = [(home, each) for home in homes for each in audits(home, plain_id or None, moment, CLOCK.now())]
    if wants_json:
        click.echo(json.dumps(json_safe([_answer(home, each) for home, each in found]), indent=2))
    else:
        _show(found)
    sys.exit(1 if any(each.discrepancies for _, each in found) else 0)


def _answer(home: Home, result: Audit) -> dict[str, Any]:
    """Return what --json prints of one job."""
    zone = home_zone(home)
    return {
        "profile": home.profile, "job_id": result.job, "since": _iso(result.since, zone),
        "until": _iso(result.until, zone), "occurrences": result.occurrences, "rows": result.rows,
        "discrepancies": [{"kind": each.kind, "time": _iso(each.time, zone), "sentence": each.sentence}
                          for each in result.discrepancies]}


def _show(found: list[tuple[Home, Audit]]) -> None:
    for home, result in found:
        zone = home_zone(home)
        for each in result.discrepancies:
            click.echo(f"{each.kind.upper()}: {home.profile}:{result.job} at {_iso(each.time, zone)}: "
                       f"{one_line(each.sentence)}")
    occurrences, rows, wrong = (sum(counts) for counts in zip(
        *((each.occurrences, each.rows, len(each.discrepancies)) for _, each in found), strict=True)
    ) if found else (0, 0, 0)
    jobs = "1 job" if len(found) == 1 else f"{len(found)} jobs"
    verdict = f"{wrong} of them wrong or missing" if wrong else "OK, each occurrence has one row"
    click.echo(f"Audited {jobs}: {occurrences} occurrences, {rows} rows: {verdict}.")


def _iso(moment: float, zone: ZoneInfo) -> str:
    return datetime.datetime.fromtimestamp(moment, zone).isoformat()
