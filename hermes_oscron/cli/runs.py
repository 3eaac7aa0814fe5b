"""The commands on the runs of jobs."""

import datetime
from functools import partial
from typing import Any

import click

from ..hermes import outputs
from ..hermes.timezone import home_zone
from ..service.jobs import JobService
from .addressing import takes_job, with_json
from .render import show_runs


@click.command()
@takes_job
@click.option("-n", "limit", default=5, type=click.IntRange(min=1), show_default=True, help="How many at most.")
@with_json
def runs(here: JobService, job_id: str, limit: int) -> Any:
    """List the runs of a job that left an output, newest first."""
    here.show(job_id)
    zone, folder = home_zone(here.home), f"{here.home.output_dir}/{job_id}"
    pages, _ = here.history(job_id, 0, limit)
    found = [{"filename": page.filename, "path": f"{folder}/{page.filename}", "size": page.size,
              "ended_at": datetime.datetime.fromtimestamp(int(page.modified), zone).isoformat(),
              "status": outputs.status(here.home, job_id, page.filename)} for page in pages]
    return found, partial(show_runs, folder=folder, zone=zone, run=here.progress(job_id))
