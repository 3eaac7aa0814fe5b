"""The part of a job's policy that changes its command: the same under every scheduler."""

import datetime
import sys

from .. import config
from ..errors import OscronError, cause
from ..files import open_regular
from ..hermes import env_file, job_store
from ..hermes.home import Home
from ..jobs import budget, exclusions, policy
from ..jobs.lifecycle import PAUSED_BY_POLICY
from ..jobs.model import Job
from ..jobs.placement import placement_of
from ..jobs.record import PAUSED, Record
from ..runs import credentials
from ..schedule.occurrences import next_occurrence
from ..schedulers.active import active_scheduler
from .environment import NoExecutor
from .log import log, subject
from .process import Command
from .resources import is_limited

MAX_FILE_BYTES = 1024 * 1024
OURS = ("HERMES_HOME", "HERMES_JOB_ID", "HERMES_JOB_NAME")
"""Variables that are the same in every job, and that no policy changes."""


def with_policy(command: Command, record: Record, home: Home, settings: config.Config, scheduled: bool,
                will_run: bool) -> Command:
    """Return `command` with the policy of the job of `record`, which `home` owns. Raises NoExecutor.

    If it `will_run`, its credentials are copied.
    """
    wanted = policy_of(record, home, settings)
    excluded_days(wanted)  # a job must not run on a day that may be in a file which cannot be read
    if scheduled and (limit := budget.budget_of(job_store.parse(home, record), datetime.datetime.now(datetime.UTC))):
        used_of_budget(home, str(record["id"]), limit)  # nor if it cannot be found out that it may
    if wanted.keys() & {"environment", "environment_file"}:
        command = command._replace(environment=_with_variables(command.environment, wanted))
    if files := wanted.get("credentials"):
        folder = _with_credentials(home, str(record["id"]), files) if will_run else ""
        command = command._replace(environment={**command.environment, credentials.VARIABLE: folder})
    if "memory_max" in wanted and not is_limited():
        command = command._replace(worker="")  # the limit of a fork would count the whole agent that it shares
    # a run by the agent ends with the agent's codes, and not with those of the job
    codes = () if command.by_agent else tuple(wanted.get("success_exit_codes", ()))
    return command._replace(timeout=wanted.get("timeout", command.timeout), success_exit_codes=codes,
                            nice=wanted.get("nice", 0), memory_max=wanted.get("memory_max", 0),
                            stop_timeout=wanted.get("stop_timeout", command.stop_timeout))


def policy_of(record: Record, home: Home, settings: config.Config) -> policy.Policy:
    """Return the policy in force for the job of `record`, which `home` owns. Raises NoExecutor."""
    try:
        wanted = policy.over(settings.policy_of(home.profile), policy.stored(record))
        policy.require_systemd(wanted, active_scheduler(home.root) or "")
    except OscronError as error:
        raise NoExecutor(str(error)) from None
    if placement_of(wanted) and settings.cluster == "none":
        raise NoExecutor(f"The job runs on a cluster (its policy has run_on={wanted['run_on']}), and {home.root}/"
                         f"oscron.toml names none: set engine of [cluster].")
    return wanted


def _with_credentials(home: Home, job_id: str, files: dict[str, str]) -> str:
    """Return the folder with copies of `files` for a run of `job_id`. Raises NoExecutor."""
    try:
        return credentials.provide(home, job_id, files)
    except OSError as error:
        raise NoExecutor(f"The credential {error.filename} cannot be copied: {cause(error)}") from None


def excluded_days(wanted: policy.Policy) -> list[exclusions.Days]:
    """Return the days that `exclude` has, also in its files. Raises NoExecutor."""
    found = []
    for entry in wanted.get("exclude", ()):
        try:
            if entry.startswith("/"):
                with open(entry, encoding="utf-8", errors="replace", opener=open_regular) as file:
                    found += exclusions.days_in_file(file.read(MAX_FILE_BYTES))
            else:
                found.append(exclusions.days_in(entry))
        except OSError as error:
            raise NoExecutor(f"The calendar {entry} cannot be read: {cause(error)}") from None
        except exclusions.NotADay as error:
            raise NoExecutor(f"The calendar {entry} cannot be used: {error}") from None
    return found


def used_of_budget(home: Home, job_id: str, limit: budget.Budget) -> float:
    """Return how much the runs of `job_id` have used of the budget `limit`, by the ledger. Raises NoExecutor."""
    from ..runs import ledger, totals

    try:
        with ledger.reading(home) as books:
            return totals.used_since(books, job_id, limit.since.timestamp(), limit.key)
    except ledger.LedgerError as error:
        raise NoExecutor(f"The budget of the job cannot be checked: {error}") from None


def log_pause(job: Job) -> None:
    """Log that `job`, whose run has ended, is paused by its policy, if it is."""
    reason = str(job.record.get("paused_reason") or "")
    if job.state == PAUSED and reason.startswith(PAUSED_BY_POLICY):
        log(f"{subject(job.record)}: {reason} 'hermes-oscron resume {job.id}' resumes it.", sys.stderr)


def until_replaced(job: Job, timeout: float) -> tuple[float, str]:
    """Return how long a run of `job` may last, at most `timeout`, until its next occurrence replaces it, and why."""
    now = datetime.datetime.now(datetime.UTC)
    due = next_occurrence(job.schedule, now, job.zone, job.phase) if job.schedule else None
    if due is None or (due - now).total_seconds() >= timeout:
        return timeout, ""
    return (due - now).total_seconds(), (f"stopped by its policy before it had ended: it was due again at "
                                         f"{due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %z}.")


def _with_variables(environment: dict[str, str], wanted: policy.Policy) -> dict[str, str]:
    """Return `environment` with the variables that are `wanted`; those of the file come last. Raises NoExecutor."""
    given: dict[str, str] = {**wanted.get("environment", {})}
    if path := wanted.get("environment_file"):
        try:
            with open(path, "rb", opener=open_regular) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise NoExecutor(f"The environment file {path} cannot be read: {cause(error)}") from None
        if len(content) > MAX_FILE_BYTES:
            raise NoExecutor(f"The environment file {path} is larger than {MAX_FILE_BYTES // 1024**2} MiB.")
        given |= env_file.parse(content, {**environment, **given})
    kept = {name: environment[name] for name in OURS if name in environment}
    return {**environment, **given, **kept}
