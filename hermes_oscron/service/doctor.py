"""Find problems that do not repair themselves, as sentences."""

import contextlib
import datetime
import time

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..files import StateFileError
from ..hermes import gateway, job_store, plugin
from ..hermes.home import Home, homes_of, instance_name, split_instance
from ..jobs import view
from ..jobs.due import never_fires
from ..jobs.model import Job
from ..jobs.record import COMPLETED, SCHEDULED
from ..runs import lock
from ..schedulers.plan import plan_of
from ..schedulers.protocol import Plan
from . import late
from .command_lock import no_command
from .selection import Selection
from .sync import SYNC_LOCK_TIMEOUT_S, plans_of

LOOK_INTERVAL_S = 0.5
CONFIRM_S = 5.0
"""A problem that lasts this long, with no sync pending, will not be solved by itself."""
SETTLE_TIMEOUT_S = 60.0
"""A problem that lasts this long is reported even if a sync is pending."""
JUST_ENDED = datetime.timedelta(minutes=1)
"""A run that ended in this time may still be followed by the sync that disarms its job."""


class Doctor:
    """Looks for problems of one Hermes root."""

    def __init__(self, selection: Selection, clock: Clock = CLOCK) -> None:
        self._selection = selection
        self._clock = clock

    def diagnose(self) -> list[str]:
        """Return a sentence for each problem that no run or sync in progress will solve. Raises SchedulerError."""
        scheduler, configured = self._selection.active, self._selection.configured
        if reason := scheduler.availability().reason:
            return [f"Nothing fires: {reason}"]
        found = []
        if configured.kind not in (scheduler.kind, self._selection.active_at_start):
            found.append(f"{scheduler.kind} fires the jobs, but oscron.toml sets {configured.kind}: 'hermes-oscron "
                         f"sync' moves them.")
        for home in homes_of(self._selection.root):
            try:
                found += self._unusable_jobs(home)
            except StateFileError as error:
                found.append(str(error))
            if gateway.is_alive(home):
                found.append(_double_fires(home))
        return found + self._lasting_problems()

    def _unusable_jobs(self, home: Home) -> list[str]:
        """Return a sentence for each job of `home` that can never fire, or cannot even be shown."""
        now, resolution = self._clock.now(), self._selection.active.resolution
        jobs = job_store.by_instance(home)

        def fault(job: Job) -> str:
            if job.state != COMPLETED and (job.schedule is None or never_fires(job, now)):
                return f"the job can never fire: {job.schedule_error or 'its schedule has no occurrence left.'}"
            view.to_json(job, now, resolution)
            plan_of(job, now)
            return ""

        faults, unusable = use_each(jobs, fault)
        return ([f"{instance}: {sentence} Give it another schedule."
                 for instance, sentence in faults.items() if sentence]
                + [f"{instance}: {reason} Repair it in {home.jobs_file}, or delete the job."
                   for instance, reason in unusable.items()])

    def _lasting_problems(self) -> list[str]:
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
                return [*found.values(), str(error)]
            found = {subject: seen[subject] for subject in found if subject in seen}
        return list(found.values())

    def _problems(self) -> dict[str, str]:
        """Return the problems at this moment, by job or unit. Jobs that are running are left out, as in a sync."""
        scheduler, now = self._selection.active, self._clock.now()
        found = {problem.subject: problem.sentence for problem in scheduler.health()}
        running = self._running()
        plans: dict[str, Plan] = {}
        unread = set()
        unrecorded, overdue = dict[str, str](), dict[str, str]()
        for home in homes_of(self._selection.root):
            for run in lock.unrecorded(home):
                how = "has ended" if run.result else "was cut off"
                unrecorded[instance_name(home.profile, run.job_id)] = (
                    f"its last run {how} and is not recorded yet. 'hermes-oscron sync' records it.")
            try:
                plans.update(plans_of(home, now))
                overdue |= self._late_jobs(home, now)
            except StateFileError:
                unread.add(home.profile)
        drift = scheduler.drift(plans, now)
        wrong = {instance: f"{sentence} 'hermes-oscron sync' repairs it."
                 for instance, sentence in sorted(drift.wrong.items())
                 if sentence and split_instance(instance)[0] not in unread}
        running |= self._running()
        jobs = overdue | unrecorded | wrong | drift.unusable
        return found | {instance: f"{instance}: {sentence}" for instance, sentence in jobs.items()
                        if instance not in running}

    def _late_jobs(self, home: Home, now: datetime.datetime) -> dict[str, str]:
        resolution = self._selection.active.resolution
        jobs = job_store.by_instance(home)
        sentences, _ = use_each(jobs, lambda job: late.sentence(home, job, now, resolution))
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
