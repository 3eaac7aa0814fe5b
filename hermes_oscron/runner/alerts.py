"""Request alerts when a run has begun or ended. Without the request, the next sync does it, so no run fails by it."""

import sys

from ..hermes.home import Home
from ..jobs.record import Record
from ..notify.request import after_begin, after_run, is_wanted, request
from ..runs.model import Run
from ..schedulers.protocol import SchedulerError
from .log import log
from .result import RunResult


def alert_of_begin(home: Home, record: Record) -> None:
    """Request what the settings ask for when a run of the job of `record` has begun."""
    try:
        after_begin(home, record)
    except SchedulerError as error:
        log(str(error), sys.stderr)


def alert_of_end(home: Home, run: Run, before: Record, result: RunResult) -> None:
    """Request what the settings ask for when `run` has ended with `result`. `before` is its record at the begin."""
    try:
        after_run(home, run, before, result.job.record if result.job else None, result.error)
    except SchedulerError as error:
        log(str(error), sys.stderr)


def request_alerts(home: Home) -> None:
    """Request alerts after a run of `home` that was cut off, or an occurrence that was skipped."""
    try:
        if is_wanted(home.root):
            request(home.root)
    except SchedulerError as error:
        log(str(error), sys.stderr)
