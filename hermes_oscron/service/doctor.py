"""Find what does not repair itself: problems, by which jobs do not run, and warnings."""

import contextlib
import datetime
import re
import time
from collections.abc import Mapping

from .. import config
from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..files import StateFileError
from ..hermes import gateway, job_store, plugin
from ..hermes.agent import AgentNotFound
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, homes_of, instance_name, split_instance
from ..hermes.timekeeper import other_timekeeper, sentence_of
from ..hermes.timezone import zone_choice
from ..install.inspection import outdated_units
from ..jobs import view
from ..jobs.due import why_never_fires
from ..jobs.lifecycle import refresh_next_run
from ..jobs.model import Job
from ..jobs.record import COMPLETED, SCHEDULED
from ..runner.command import why_incomplete, why_unrunnable
from ..runs import lock
from ..runs.finish import after_run
from ..schedule.cron_text import doubt
from ..schedule.model import CRON, ScheduleError
from ..schedule.parse import read_schedule
from ..schedulers.active import disarmed_since
from ..schedulers.crontab.scheduler import LAUNCHERS
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan, SchedulerError
from . import alerts, history, late
from .access import unusable_files
from .cluster import cluster_faults
from .command_lock import no_command
from .elapses import wrong_elapses
from .findings import PROBLEM, WARNING, Finding
from .long_queued import long_queued
from .selection import Selection
from .surroundings import bad_path, surroundings
from .sync import SYNC_LOCK_TIMEOUT_S, plans_of

LOOK_INTERVAL_S = 0.5
CONFIRM_S = 5.0
"""A problem that lasts this long, with no sync pending, will not be solved by itself."""
SETTLE_TIMEOUT_S = 60.0
"""A problem that lasts this long is reported even if a sync is pending."""
UNQUOTED = re.compile(r"[\w *,/:+.#@-]{1,80}")
"""A text that means the same to a shell inside double quotes."""
JUST_ENDED = datetime.timedelta(minutes=1)
"""A run that ended in this time may still be followed by the sync that disarms its job."""


class Doctor:
    """Looks for problems of one Hermes root."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK) -> None:
        self._selection = selection
        self._clock = clock

    def diagnose(self, confirm: bool = True) -> list[Finding]:
        """Return what no run or sync in progress will solve, the problems first. Raises SchedulerError.

        Without `confirm` it does not wait, and the findings may be solved by themselves.
        """
        scheduler = self._selection.active
        if other := other_timekeeper(self._selection.root):
            return [Finding(PROBLEM, "timekeeper", f"Nothing fires on this machine: "
                            f"{sentence_of(other, self._selection.root)} 'hermes-oscron arm --take-over' makes this "
                            f"machine the one that fires them.")]
        if reason := scheduler.availability().reason:
            return [Finding(PROBLEM, scheduler.kind, f"Nothing fires: {reason}"), *self._surroundings()]
        found = self._of_root()
        for home in homes_of(self._selection.root):
            found += self._of_profile(home)
        found += alerts.undelivered(self._selection.root, self._clock.now().timestamp())
        found += self._surroundings()
        found += self._lasting_problems() if confirm else self._problems().values()
        return sorted(found, key=lambda each: each.severity != PROBLEM)

    def _of_root(self) -> list[Finding]:
        """Return the findings about the schedulers, the plugin and the units."""
        scheduler, configured = self._selection.active, self._selection.configured
        found = []
        if configured.kind not in (scheduler.kind, self._selection.active_at_start):
            found.append(Finding(WARNING, "scheduler", f"{scheduler.kind} fires the jobs, but oscron.toml sets "
                                                       f"{configured.kind}: 'hermes-oscron sync' moves them."))
        if (since := disarmed_since(self._selection.root)) is not None:
            found.append(Finding(PROBLEM, "scheduler", f"No job fires: the jobs are disarmed since "
                                 f"{datetime.datetime.fromtimestamp(since).astimezone():%Y-%m-%d %H:%M:%S %Z}. "
                                 f"'hermes-oscron arm' arms them again."))
        with contextlib.suppress(AgentNotFound, plugin.PluginError):  # the jobs, or config.yaml, are reported
            found += [Finding(WARNING, "plugin", sentence)
                      for sentence in plugin.problems(self._selection.root, config.load(self._selection.root))]
        found += cluster_faults(self._selection.root, config.load(self._selection.root))
        return found + [Finding(WARNING, path, f"{path} is not as the installer writes it. 'hermes-oscron install' "
                                               f"restores it; 'systemctl edit' makes changes that stay.")
                        for path in outdated_units()]

    def _of_profile(self, home: Home) -> list[Finding]:
        """Return the findings about `home`, its jobs, and their runs of the last week."""
        found = []
        try:
            jobs = job_store.by_instance(home)
            found += [Finding(PROBLEM, home.profile, sentence) for sentence in job_store.unusable(home)]
        except StateFileError as error:
            found.append(Finding(PROBLEM, home.profile, str(error)))
            jobs = {}
        found += unusable_files(home, jobs)
        found += self._unusable_jobs(home, jobs) + self._unrunnable_jobs(home, jobs) + self._past_runs(home, jobs)
        settings = config.load(self._selection.root)
        found += long_queued(home, jobs, settings)
        if sentence := paused(home):
            found.append(Finding(PROBLEM, home.profile,
                                 f"{home.profile}: {sentence} Until then no job starts by itself."))
        if problem := zone_choice(home).problem:
            found.append(Finding(WARNING, home.profile, f"{home.profile}: {problem}"))
        if gateway.is_alive(home):
            found.append(Finding(WARNING, home.profile, _double_fires(home)))
        return found + [each for each in [bad_path(home, settings)] if each]

    def _surroundings(self) -> list[Finding]:
        """Return what is wrong with the machine."""
        try:
            return surroundings(self._selection.active)
        except SchedulerError:
            return []  # systemd does not answer, which is reported already, or by what follows

    def _unusable_jobs(self, home: Home, jobs: Mapping[str, Job]) -> list[Finding]:
        """Return the jobs of `home` that can never fire or be shown, and those whose schedule is ambiguous."""
        now, resolution = self._clock.now(), self._selection.active.resolution

        def fault(job: Job) -> tuple[str, str]:
            if reason := why_never_fires(job, now):
                return PROBLEM, f"the job can never fire: {reason} {_other_schedule(job, home, now)}"
            view.to_json(job, now, resolution)
            plan_of(job, now)
            if job.state != COMPLETED and job.schedule and job.schedule.kind == CRON:
                expression = job.record["schedule"]["expr"]
                if doubtful := doubt(expression):
                    return WARNING, f"{doubtful.sentence(expression)} {_other_schedule(job, home, now)}"
            return WARNING, ""

        faults, unusable = use_each(jobs, fault)
        return ([Finding(severity, instance, f"{instance}: {sentence}")
                 for instance, (severity, sentence) in faults.items() if sentence]
                + [Finding(PROBLEM, instance, f"{instance}: {reason} Repair it in {home.jobs_file}, or delete the job.")
                   for instance, reason in unusable.items()])

    def _unrunnable_jobs(self, home: Home, jobs: Mapping[str, Job]) -> list[Finding]:
        """Return the jobs of `home` that will fire, and that cannot run as they should on this machine."""
        settings = config.load(self._selection.root)

        def fault(job: Job) -> Finding | None:
            if not job.is_scheduled or not job.schedule:
                return None
            severity, reason = PROBLEM, why_unrunnable(job.record, home, settings)
            if not reason:
                severity, reason = WARNING, why_incomplete(job.record, home)
            return Finding(severity, job.instance, f"{job.instance}: {reason}") if reason else None

        found, errors = use_each(jobs, fault)
        return [*filter(None, found.values()),
                *(Finding(PROBLEM, instance, f"{instance}: {reason}") for instance, reason in errors.items())]

    def _past_runs(self, home: Home, jobs: Mapping[str, Job]) -> list[Finding]:
        """Return the jobs of `home` that were due and did not run, or whose last run failed."""
        if disarmed_since(home.root) is not None or paused(home):
            return []
        now, scheduler = self._clock.now(), self._selection.active
        missed, _ = use_each(jobs, lambda job: history.missed_runs(home, job, scheduler, now))
        failed, _ = use_each(jobs, lambda job: history.failed_result(job, now))
        return [each for each in (*missed.values(), *failed.values()) if each]

    def _lasting_problems(self) -> list[Finding]:
        """Return the problems that no run, command or sync in progress is about to solve. Raises SchedulerError.

        Each was seen at every look for CONFIRM_S, and at looks during which no command and no sync changed anything.
        """
        found = self._problems()
        begun = time.monotonic()
        settling = True
        while found and time.monotonic() - begun < (SETTLE_TIMEOUT_S if settling else CONFIRM_S):
            self._clock.sleep(LOOK_INTERVAL_S)
            try:
                with no_command(self._selection.root, SYNC_LOCK_TIMEOUT_S):
                    seen = self._problems()
                    settling = (self._selection.watcher.sync_is_pending()
                                or not found.keys().isdisjoint(self._just_ended()))
            except StateFileError as error:
                return [*found.values(), Finding(PROBLEM, "state", str(error))]
            found = {subject: seen[subject] for subject in found if subject in seen}
        return list(found.values())

    def _problems(self) -> dict[str, Finding]:
        """Return the findings at this moment, by job or unit. Jobs that are running are left out, as in a sync."""
        scheduler, now = self._selection.active, self._clock.now()
        health = {problem.subject: problem.sentence for problem in scheduler.health()}
        units = {subject: Finding(PROBLEM if subject == LAUNCHERS else WARNING, subject, sentence)
                 for subject, sentence in health.items() if ":" not in subject}
        units |= self._unentered_runs()
        running = self._running()
        plans: dict[str, Plan] = {}
        jobs: dict[str, Job] = {}
        unread = set()
        unrecorded, overdue = dict[str, str](), dict[str, str]()
        waiting = set[str]()  # due, but Hermes is paused: a timer for one time has elapsed
        for home in homes_of(self._selection.root):
            for run in lock.unrecorded(home):
                how = "has ended" if run.result else "was cut off"
                unrecorded[instance_name(home.profile, run.job_id)] = (
                    f"its last run {how} and is not recorded yet. 'hermes-oscron sync' records it.")
            try:
                plans.update(plans_of(home, now))
                jobs.update(job_store.by_instance(home))
                overdue |= self._late_jobs(home, now)
                if paused(home):
                    waiting |= late.unstarted(home, now, scheduler.resolution)
            except StateFileError:
                unread.add(home.profile)
        drift = scheduler.drift(plans, now)
        wrong = {instance: f"{sentence} 'hermes-oscron sync' repairs it."
                 for instance, sentence in sorted(drift.wrong.items())
                 if sentence and split_instance(instance)[0] not in unread and instance not in waiting}
        # after a change of the machine's zone, systemd fires by the new one at once; the next sync stores it
        armed, _ = use_each({instance: job for instance, job in jobs.items()
                             if instance in plans and not plans[instance].paused and instance not in drift.wrong},
                            lambda job: refresh_next_run(job, now, scheduler.resolution))
        elapses = wrong_elapses(scheduler, armed, self._clock)
        running |= self._running()
        unstarted = {subject: sentence for subject, sentence in health.items() if ":" in subject}
        problems = overdue | elapses | wrong | unstarted | drift.unusable
        return units | {
            instance: Finding(PROBLEM if instance in problems else WARNING, instance, f"{instance}: {sentence}")
            for instance, sentence in (unrecorded | problems).items() if instance not in running}

    def _unentered_runs(self) -> dict[str, Finding]:
        """Return a finding for each profile with runs that wait for a ledger that could not be written."""
        return {home.state.ledger: Finding(
                    WARNING, home.profile,
                    f"{home.profile}: {count} run{'s' * (count > 1)} that ended {'are' if count > 1 else 'is'} not in "
                    f"{home.state.ledger}, which could not be written. 'hermes-oscron sync' enters "
                    f"{'them' if count > 1 else 'it'}, or prints the reason.")
                for home in homes_of(self._selection.root) if (count := len(lock.unentered(home)))}

    def _late_jobs(self, home: Home, now: datetime.datetime) -> dict[str, str]:
        if disarmed_since(home.root) is not None:
            return {}
        resolution = self._selection.active.resolution
        jobs, unrecorded = job_store.by_instance(home), {run.job_id: run for run in lock.unrecorded(home)}

        def sentence(job: Job) -> str | None:
            run = unrecorded.get(job.id)
            return late.sentence(home, after_run(job, run) if run else job, now, resolution)

        sentences, _ = use_each(jobs, sentence)
        return {instance: sentence for instance, sentence in sentences.items() if sentence}

    def _running(self) -> set[str]:
        """Return the instances that run, or whose run is starting or ending. Raises SchedulerError."""
        return self._selection.active.running() | {
            instance_name(home.profile, job_id)
            for home in homes_of(self._selection.root) for job_id in lock.running(home)}

    def _just_ended(self) -> set[str]:
        """Return the jobs that a sync is about to disarm because their last run has just ended."""
        now = self._clock.now()

        def has_just_ended(job: Job) -> bool:
            return bool(job.state != SCHEDULED and job.last_run_at and job.last_run_at > now - JUST_ENDED)

        found = set[str]()
        for home in homes_of(self._selection.root):
            with contextlib.suppress(StateFileError):  # reported already
                ended, _ = use_each(job_store.by_instance(home), has_just_ended)
                found |= {instance for instance, just_ended in ended.items() if just_ended}
        return found


def _double_fires(home: Home) -> str:
    remedy = ("'hermes gateway restart' stops it" if plugin.is_installed(home) else
              "'hermes-oscron plugin install', followed by a restart of the gateway, stops it")
    return (f"{home.profile}: the agent's gateway fires these jobs too. Each occurrence still runs once, because both "
            f"claim it first; {remedy}.")


def _other_schedule(job: Job, home: Home, now: datetime.datetime) -> str:
    """Return how to give `job` of `home` another schedule, which is the one that its record has as a text, if any."""
    if isinstance(job.record.get("state"), list | dict):
        return f"Repair it in {home.jobs_file}, or delete the job."
    stored = job.record.get("schedule")
    if isinstance(stored, str) and UNQUOTED.fullmatch(stored):
        with contextlib.suppress(ScheduleError):
            read_schedule(stored, job.zone, now)
            return f"'hermes-oscron update {job.instance} --schedule \"{stored}\"' stores it as one."
    return f"'hermes-oscron update {job.instance} --schedule SCHEDULE' gives it another one."
