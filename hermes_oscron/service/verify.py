"""Compare the next runs of every job with those of croniter and of systemd: for `doctor --verify`."""

import contextlib
import datetime
from collections.abc import Mapping
from typing import NamedTuple

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.home import homes_of, instance_name
from ..jobs.model import Job
from ..jobs.record import COMPLETED
from ..runs import lock
from ..schedule import second_opinion
from ..schedule.model import CRON
from ..schedule.occurrences import changes, first_occurrences
from ..schedulers.protocol import Plan, Scheduler
from ..schedulers.systemd import elapses
from ..schedulers.systemd.scheduler import Systemd
from ..schedulers.systemd.systemctl import Systemctl, own_systemctl
from .selection import Selection
from .sync import plans_of

MAX_ELAPSES = 12
"""The number of elapses of a timer that are compared."""
LOOKS = 3
LOOK_INTERVAL_S = 1.0
"""A job may fire, and a command may change it, during a look. A difference counts if every look finds one."""


class Verification(NamedTuple):
    """The number of jobs that were compared, with what, and a sentence for each instance that differs.

    If not the same jobs were compared with both programs, `against` has both numbers: croniter reads expressions alone,
    and systemd fires no paused job.
    """

    checked: int
    against: str
    differences: dict[str, str]


def verify(selection: Selection, clock: Clock = CLOCK) -> Verification:
    """Compare the jobs of every profile that are not completed. Raises SchedulerError.

    A profile whose jobs cannot be read is left out; `Doctor.diagnose` reports it.
    """
    missing = _missing_systemd(selection)
    systemctl = None if missing else own_systemctl()
    read, timed, differences = _differences(selection, clock.now(), systemctl)
    for _ in range(LOOKS - 1):
        if differences:
            clock.sleep(LOOK_INTERVAL_S)
            *_, again = _differences(selection, clock.now(), systemctl)
            differences = {instance: again[instance] for instance in differences if instance in again}
    both = "croniter and systemd" if read == timed else f"croniter ({len(read)}) and systemd ({len(timed)})"
    return Verification(len(read | timed), f"croniter only, because {missing}" if missing else both, differences)


def disagreement(job: Job, now: datetime.datetime) -> str | None:
    """Return a sentence if croniter reads the stored schedule of `job` in another way, else None."""
    if job.own_schedule is None or not _has_expression(job):
        return None
    return second_opinion.disagreement(job.own_schedule, job.record["schedule"]["expr"], job.zone, now)


def _has_expression(job: Job) -> bool:
    """Return True if `job` is due by a cron expression, unless it is completed."""
    return job.schedule is not None and job.schedule.kind == CRON and job.state != COMPLETED


def _missing_systemd(selection: Selection) -> str:
    """Return why nothing can be compared with systemd; "" if it can."""
    if selection.active.kind != Systemd.kind:
        return f"the scheduler is {selection.active.kind}"
    return "" if elapses.can_analyze() else "systemd-analyze is not installed"


def _differences(selection: Selection, now: datetime.datetime,
                 systemctl: Systemctl | None) -> tuple[set[str], set[str], dict[str, str]]:
    """Return the instances compared with croniter, those with systemd, and a sentence for each that differs.

    Raises SchedulerError.
    """
    jobs: dict[str, Job] = {}
    plans: dict[str, Plan] = {}
    running = selection.active.running()
    for home in homes_of(selection.root):
        with contextlib.suppress(StateFileError):
            jobs |= job_store.by_instance(home)
            plans |= plans_of(home, now)
            running |= {instance_name(home.profile, job_id) for job_id in lock.running(home)}
    expressions = {instance: job for instance, job in jobs.items() if _has_expression(job)}
    opinions, errors = use_each(expressions, lambda job: disagreement(job, now))
    found = {instance: sentence for instance, sentence in opinions.items() if sentence} | errors
    armed = {instance: plan for instance, plan in plans.items() if not plan.paused and instance not in running}
    if systemctl is None:
        return set(expressions), set(), found
    due = {instance: times for instance, plan in armed.items() if (times := _comparable(plan, now))}
    differences = _timer_differences(selection.active, due, now, systemctl)
    return set(expressions), set(due), differences | found


def _timer_differences(scheduler: Scheduler, occurrences: Mapping[str, list[datetime.datetime]],
                       now: datetime.datetime, systemctl: Systemctl) -> dict[str, str]:
    """Return a sentence for each instance that systemd fires at other times than its `occurrences`.

    Raises SchedulerError.
    """
    armed = scheduler.next_elapses(list(occurrences))
    found = {}
    for instance, due in occurrences.items():
        if armed[instance] != due[0]:
            found[instance] = _sentence(due[0], "its timer", armed[instance])
        elif calendar := elapses.calendar_of(systemctl, instance):
            for our, their in zip(due, elapses.elapses(calendar, now, len(due)), strict=False):
                if our != their:
                    found[instance] = _sentence(our, "the file of its timer, by systemd-analyze,", their)
                    break
    return found


def _comparable(plan: Plan, now: datetime.datetime) -> list[datetime.datetime]:
    """Return the next occurrences of `plan`: the first, and the others as long as no clock change is near.

    A one-shot that is overdue has none.
    Across a change systemd-analyze computes each line from its own last elapse, and a timer from that of all lines.
    """
    due = first_occurrences(plan.schedule, MAX_ELAPSES, now, plan.zone, plan.phase)
    change = min((change.at for change in changes(plan.zone, now.year, now.year + 1) if change.at > now), default=None)
    if change is None:
        return due
    return due[:1] + [each for each in due[1:] if each < change - datetime.timedelta(days=1)]


def _sentence(our: datetime.datetime, whose: str, their: datetime.datetime | None) -> str:
    return (f"it is due at {our:%Y-%m-%d %H:%M:%S} UTC, but {whose} elapses "
            f"{f'at {their:%Y-%m-%d %H:%M:%S} UTC' if their else 'never'}. 'hermes-oscron sync' arms it again.")
