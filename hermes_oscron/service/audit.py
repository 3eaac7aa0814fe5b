"""The audit of the ledger of a home: every job that the ledger has had, or one."""

import datetime

from ..hermes import job_store
from ..hermes.home import Home
from ..hermes.jobs_file import JobNotFound
from ..runs import ledger
from ..runs.audit import Audit, audit
from . import bookkeeping


def audits(home: Home, job_id: str | None, since: datetime.datetime | None, now: datetime.datetime) -> list[Audit]:
    """Compare the ledger of `home` with the schedules, after it has been brought up to date.

    Raises JobNotFound if the ledger has never had `job_id`, LedgerError, StateFileError, OSError.
    """
    bookkeeping.keep(home, now)
    jobs = {job.id: job for job in job_store.read(home)}
    with ledger.reading(home) as books:
        job_ids = [job_id] if job_id else [row[0] for row in books.execute("SELECT DISTINCT job FROM schedules")]
        found = [audit(home, books, jobs, each, since.timestamp() if since else 0.0, now.timestamp())
                 for each in sorted(job_ids)]
    if job_id and found == [None]:
        raise JobNotFound(f"{job_id} is not in the ledger of profile {home.profile}.")
    return [each for each in found if each]
