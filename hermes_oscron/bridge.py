"""The verbs: the one place that knows the jobs on disk and what fires them.

Disk first, then the OS. When the OS refuses, the record goes back to what it was; what a crash leaves between the two
is put right by `sync`.
"""

import contextlib
import datetime
import os
import reprlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from . import fields
from .barrier import use_each, use_or_none
from .clock import CLOCK, Clock
from .errors import cause, describe
from .fields import Invalid
from .hermes import config, delivery, endings, homes, outputs, plugin, records, requests, runs, store, ticker
from .hermes.endings import settle
from .hermes.homes import Home
from .hermes.outputs import Page
from .hermes.store import Record
from .schedule import text
from .schedule.errors import ScheduleError
from .schedule.occurrences import next_occurrence
from .schedule.types import INTERVAL, ONCE, Schedule
from .schedulers.charge import in_charge, note_sync, put_in_charge
from .schedulers.choose import choose, scheduler_of
from .schedulers.plan import UNWATCHED, Plan, Report, Scheduler, SchedulerError, plan_of

if TYPE_CHECKING:
    from .hermes.completions import Completion

Job = dict[str, Any]

ROUNDS = 5
"""How often one sync looks again at jobs that change while it works."""

SYNC_PATIENCE = 300.0
"""Seconds that a sync waits for another to end; one of thousands of timers that must be started takes a minute."""

START_TIMEOUT_S, START_POLL_S, UNIT_POLL_S = 15.0, 0.01, 0.2
"""How long a requested run may take to begin, and how often its answer and what was started are looked at."""

LATE = datetime.timedelta(seconds=5)
"""A job that is due for longer than this, and does not run, has not been started."""

JUST_ENDED = datetime.timedelta(minutes=1)
"""A run that ended in this time may still be followed by the sync that disarms its job."""

LOOK_INTERVAL_S = 0.5
CONFIRM_S = 5.0
"""A problem that lasts this long, with no sync on its way, is one that nobody is about to solve."""
SETTLE_TIMEOUT_S = 60.0
"""A problem that lasts this long is one even if a sync is on its way."""

DEFAULTS: Job = {
    "prompt": "", "deliver": "local", "skills": [], "model": None, "provider": None, "profile": None,
    "toast_notifications": True, "last_run_at": None, "last_status": None, "last_error": None,
    "last_delivery_error": None,
}
"""Fields that every job shows, whoever made its record."""


class Prospect(NamedTuple):
    """What becomes of one job, in words."""

    instance: str
    name: str
    outlook: str


class Bridge:
    """The jobs of one Hermes root, and what fires them: WANTED, once `sync` has moved them there.

    `found` is the kind in charge when `wanted` was chosen. If both are the same kind, the jobs are to stay where they
    are.
    """

    def __init__(self, root: str, wanted: Scheduler, clock: Clock = CLOCK, found: str | None = None) -> None:
        self.root = root
        self.clock = clock
        self.wanted = self._present = wanted
        self._found = found

    @classmethod
    def configured(cls, root: str, settings: config.Config, kind: str | None = None) -> "Bridge":
        """Return the bridge to `root` with the scheduler `kind`, or the configured one. Raises ConfigError."""
        found = in_charge(root)  # once: a move between two looks would pass for a wish to undo it
        return cls(root, choose(root, settings, found, kind), found=found)

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler in which the jobs are armed, whoever moved them there."""
        kind = in_charge(self.root) or self.wanted.kind
        if kind != self._present.kind:
            self._present = self.wanted if kind == self.wanted.kind else scheduler_of(self.root, kind)
        return self._present

    @property
    def home(self) -> Home:
        """The home of the active profile, on which every verb works."""
        return homes.home(self.root, homes.active_profile(self.root))

    # Reading

    def jobs(self, all_profiles: bool = False) -> Job:
        """The jobs of the active profile and, when asked for, those of the others, which are read-only."""
        home = self.home
        jobs = self._jobs_of(home, read_only=False)
        foreign = []
        for other in self._homes():
            if other.profile != home.profile:
                with contextlib.suppress(store.StoreError):  # is that profile's trouble; sync and doctor tell it
                    foreign += self._jobs_of(other, read_only=True)
        return {
            "jobs": jobs + foreign if all_profiles else jobs,
            "active_profile": home.profile,
            "all_profiles": all_profiles,
            "other_profile_count": 0 if all_profiles else len(foreign),
        }

    def show(self, job_id: str) -> Job:
        """The job JOB_ID. Raises NoSuchJob."""
        home = self.home
        _settle_if_possible(home)
        return self._view(home, endings.find(home, job_id), self.clock.now(), homes.timezone(home))

    def status(self) -> dict[str, float]:
        """For each running job the seconds since it began."""
        home = self.home
        _settle_if_possible(home)
        return {job_id: _elapsed(run) for job_id, run in runs.running(home).items()}

    def elapsed(self, job_id: str) -> float | None:
        """The seconds since JOB_ID's run began; None when it is not running."""
        home = self.home
        _settle_if_possible(home)
        run = runs.find(home, job_id)
        return _elapsed(run) if run else None

    def outputs(self, job_id: str, limit: int) -> list[tuple[str, str]]:
        """File name and content, windowed, of the newest LIMIT outputs of JOB_ID, newest first."""
        return outputs.newest(self.home, job_id, limit)

    def history(self, job_id: str, offset: int, limit: int) -> tuple[list[Page], int]:
        """LIMIT outputs of JOB_ID from OFFSET on, newest first and without their content, and how many there are."""
        return outputs.history(self.home, job_id, offset, limit)

    def output(self, job_id: str, filename: str) -> str:
        """The output FILENAME of JOB_ID. Raises NoSuchRun."""
        return outputs.read(self.home, job_id, filename)

    def completions(self, since: float) -> "list[Completion]":
        """The last runs of the active profile's jobs that ended after SINCE (unix seconds), the first to end first."""
        from .hermes import completions  # with the agent's database; 8 ms that no other verb needs

        home = self.home
        _settle_if_possible(home)
        return completions.since(home, since)

    def delivery_options(self) -> dict[str, str]:
        """What `deliver` may say, and how to show it to people. Raises ConfigError."""
        return delivery.options(self.home, config.load(self.root))

    # Writing

    def create(self, given: Mapping[str, Any]) -> Job:
        """Make a job of the fields GIVEN and arm it. Raises Invalid, ScheduleError, SchedulerError, StoreError."""
        home, now = self.home, self.clock.now()
        zone = homes.timezone(home)
        wanted = fields.checked(given, home)
        if not wanted.get("schedule", "").strip():
            raise Invalid("schedule is missing.")
        schedule = text.parse(wanted.pop("schedule"), zone, now)
        text.refuse_past(schedule, now)
        record = _new_record(wanted, schedule, zone, now, self.scheduler)
        with self._arming():
            store.add(home, record)
            try:
                self._arm(home, record, zone, now)
            except Exception:
                store.remove(home, record["id"])
                raise
        return self._view(home, record, now, zone)

    def update(self, job_id: str, given: Mapping[str, Any]) -> Job:
        """Change the fields GIVEN of JOB_ID; null ones are left, and "" clears a text.

        Raises NoSuchJob, Invalid, ScheduleError, SchedulerError, StoreError.
        """
        home, now = self.home, self.clock.now()
        zone = homes.timezone(home)
        store.find(home, job_id)
        wanted = fields.checked(given, home)
        enabled = wanted.pop("enabled", None)
        schedule = None
        if "schedule" in wanted:
            schedule = text.parse(wanted.pop("schedule"), zone, now)

        def change(record: Record) -> None:
            if schedule and schedule != _schedule_or_none(record, zone):
                text.refuse_past(schedule, now)
                _reschedule(record, schedule, zone, now, self.scheduler)
            _apply(record, wanted)
            if wanted.keys() & {"prompt", "no_agent", "script"}:
                _require_work(record)
            if enabled is True:
                _resume(record, zone, now, self.scheduler)
            elif enabled is False:
                _pause(record, None, zone, now)

        return self._change(home, job_id, change, zone, now)

    def pause(self, job_id: str, reason: str | None = None) -> Job:
        """Fire JOB_ID no more until it is resumed. Raises NoSuchJob, SchedulerError, StoreError."""
        home, now = self.home, self.clock.now()
        zone = homes.timezone(home)
        return self._change(home, job_id, lambda record: _pause(record, reason, zone, now), zone, now)

    def resume(self, job_id: str) -> Job:
        """Fire JOB_ID again from its next occurrence on; what was missed stays missed.

        Raises NoSuchJob, ScheduleError, SchedulerError, StoreError.
        """
        home, now = self.home, self.clock.now()
        zone = homes.timezone(home)
        return self._change(home, job_id, lambda record: _resume(record, zone, now, self.scheduler),
                            zone, now)

    def delete(self, job_id: str) -> None:
        """Remove JOB_ID, what fires it and its outputs; a run under way ends by itself and leaves nothing.

        Raises NoSuchJob, SchedulerError, StoreError.
        """
        home = self.home
        with self._arming():
            removed = store.remove(home, job_id)
            try:
                self.scheduler.forget(homes.instance(home.profile, job_id))
            except Exception:
                store.add(home, removed)
                raise
        runs.forget(home, job_id)
        requests.forget(home, job_id)
        outputs.remove(home, job_id)

    def run(self, job_id: str) -> float | None:
        """Run JOB_ID now, paused or not; the seconds its present run has taken when there is one, else None.

        Returns once the run has begun. Raises NoSuchJob, StoreError, and SchedulerError with the reason if it does not
        begin.
        """
        home = self.home
        store.find(home, job_id)
        elapsed = self.elapsed(job_id)
        if elapsed is not None:
            return elapsed
        with requests.ask(home, job_id) as request:
            ended = self.scheduler.run(homes.instance(home.profile, job_id))
            answer = _answer_to(request, ended, lambda: runs.find(home, job_id))
        if "refused" in answer:
            raise SchedulerError(f"{job_id} was not run: {answer['refused']}")
        return answer.get("elapsed")

    # Keeping jobs and timers in step

    def sync(self) -> Report:
        """Make what fires agree with every profile's jobs; run once, now, what was missed while nothing fired.

        Where another scheduler is wanted than fires now, that one is disarmed first, whole. What changes meanwhile is
        taken in too: systemd takes a request for the sync that is under way as that sync. A profile whose jobs cannot
        be read keeps the timers it has, and is in the report. Raises SchedulerError.
        """
        armed, disarmed, started = [], [], dict[str, str]()
        with self._arming(SYNC_PATIENCE), self._moving():
            for _ in range(ROUNDS):
                before = self.fingerprint()
                report = self._reconcile(started)
                armed += report.armed
                disarmed += report.disarmed
                if self.fingerprint() == before:
                    break
            if not report.refused:
                note_sync(self.root)
        return report._replace(armed=armed, disarmed=disarmed, unwatched=[], started=tuple(started.values()))

    def disarm(self) -> None:
        """Fire nothing any more, until the next sync. Raises SchedulerError."""
        with self._arming(SYNC_PATIENCE):
            self.scheduler.withdraw()

    @contextlib.contextmanager
    def _moving(self) -> Iterator[None]:
        """Let the wanted scheduler fire, and the one that does so far no more; or that one again, where it refuses.

        Raises SchedulerError.
        """
        present = self.scheduler
        if self.wanted.kind == self._found:  # they were to stay where they were; who has moved them since is not undone
            self.wanted = present
        if present.kind == self.wanted.kind:
            yield
            return
        if reason := self.wanted.unavailable():
            raise SchedulerError(f"The jobs stay with {present.kind}: {reason}")
        present.withdraw()
        try:
            put_in_charge(self.root, self.wanted.kind)
            yield
        except (SchedulerError, store.StoreError, OSError):
            put_in_charge(self.root, present.kind)
            self._reconcile({})
            raise

    def _reconcile(self, started: dict[str, str]) -> Report:
        """Bring what fires in line with the jobs, and start what is overdue and not among those STARTED already.

        Those it starts are added, each with a sentence.
        """
        now, homes_here = self.clock.now(), self._homes()
        idle = self.scheduler.unavailable() is not None
        unwatched: dict[str, str] = {}
        try:
            self.scheduler.watch([home.profile for home in homes_here])  # before jobs are read: no change goes unseen
        except SchedulerError as error:
            unwatched[UNWATCHED] = str(error)
        plans: dict[str, Plan] = {}
        overdue: set[str] = set()
        running: set[str] = set()
        unread: dict[str, str] = {}
        unwritten: dict[str, str] = {}
        lasting: list[str] = []
        for home in homes_here:
            store.sweep(home.cron_dir, now.timestamp())
            store.sweep(homes.state_dir(home.path), now.timestamp())
            requests.sweep(home)
            try:
                settle(home)
                self._correct_records(home, now)
            except (store.StoreError, store.NoSuchJob, OSError) as error:
                unwritten[home.profile] = describe(error)
            try:
                running |= {homes.instance(home.profile, job_id) for job_id in runs.running(home)}
                plans.update(self._plans_of(home, now))
                overdue |= set() if idle else self._overdue(home, now)
            except store.StoreError as error:
                unread[home.profile] = str(error)
                lasting += [home.profile] if isinstance(error, store.NotJobs) else []

        def leave(instance: str) -> bool:
            return instance in running or homes.split_instance(instance)[0] in unread

        report = self.scheduler.reconcile(plans, now, leave)
        refused = {**unwatched, **unwritten, **unread, **report.refused}
        for instance in sorted({*report.unwatched, *overdue} - running - started.keys()):
            profile, job_id = homes.split_instance(instance)
            try:
                home = homes.home(self.root, profile)
                record = store.find(home, job_id)
                if due := self._catch_up(record, instance):
                    started[instance] = (f"{record.get('name') or job_id} ({job_id}): was due at "
                                         f"{due.astimezone(homes.timezone(home)):%Y-%m-%d %H:%M:%S %Z}, had not run; "
                                         f"started now.")
            except store.NoSuchJob:
                continue  # deleted since; the next round disarms it
            except (SchedulerError, store.StoreError) as error:
                refused[instance] = str(error)
        return report._replace(refused=refused, lasting=tuple(lasting))

    def _overdue(self, home: Home, now: datetime.datetime) -> set[str]:
        """The jobs of `home` that are due at `now`, also those that are being started: a job is never run twice for it.

        A start of a unit that is starting is no second one, and of two runners the second finds a lock, or that the job
        is not due any more.
        """
        here = {homes.instance(home.profile, record["id"]): record for record in endings.read(home)}
        due, _ = use_each(here, self._due)
        return {instance for instance, moment in due.items() if moment and moment <= now}

    def _due(self, record: Record) -> datetime.datetime | None:
        """When the scheduler starts what `record` says is due next, or was to start it; None when it is not to.

        The agent asks its own scheduler for a run at once by a `next_run_at` of that very moment, to the microsecond
        (`trigger_job`); what is due by a schedule is due on a whole second.
        """
        due = records.instant(record.get("next_run_at"))
        if due is None or records.state(record) != records.SCHEDULED:
            return None
        return due if due.microsecond else self.scheduler.fires_at(due)

    def _late(self, home: Home, record: Record, now: datetime.datetime) -> str | None:
        """That the job of `record` was to start some time ago and has not, in a sentence; else None."""
        due = self._due(record)
        if due is None or now < due + LATE or records.is_claimed(record, now) or runs.find(home, record["id"]):
            return None
        return (f"It was due at {due.astimezone(homes.timezone(home)):%Y-%m-%d %H:%M:%S %z} and has not started. "
                f"'hermes-oscron sync' starts it.")

    def _late_jobs(self) -> dict[str, str]:
        """The jobs that are late, with a sentence each."""
        found, now = dict[str, str](), self.clock.now()
        for home in self._homes():
            with contextlib.suppress(store.StoreError):  # which is among the faults already
                late, _ = use_each(_records(home), partial(self._late, home, now=now))
                found |= {instance: f"{instance}: {sentence}" for instance, sentence in late.items() if sentence}
        return found

    def next_late(self, now: datetime.datetime) -> datetime.datetime | None:
        """When, after `now`, the next job of any profile is late unless it starts."""
        moments = []
        for home in self._homes():
            with contextlib.suppress(store.StoreError):  # what cannot be read is not listed either
                due, _ = use_each(_records(home), self._due)
                moments += [moment + LATE for moment in due.values() if moment]
        return min((moment for moment in moments if moment > now), default=None)

    def under_way(self) -> tuple[str, ...]:
        """The instances of all profiles that are running."""
        return tuple(homes.instance(home.profile, job_id) for home in self._homes() for job_id in runs.running(home))

    def plans(self, now: datetime.datetime) -> dict[str, Plan]:
        """How every job of every profile should be armed at NOW. Raises StoreError."""
        plans: dict[str, Plan] = {}
        for home in self._homes():
            plans.update(self._plans_of(home, now))
        return plans

    def _plans_of(self, home: Home, now: datetime.datetime) -> dict[str, Plan]:
        zone = homes.timezone(home)
        running = {homes.instance(home.profile, job_id) for job_id in runs.running(home)}
        plans, _ = use_each(_records(home), lambda record: plan_of(home, record, zone, now))  # doctor names the others
        return {instance: plan for instance, plan in plans.items()
                if plan and not (plan.schedule.kind == ONCE and instance in running)}

    def prospects(self) -> list[Prospect]:
        """What the next sync makes of each job; nothing is changed. Raises StoreError."""
        now = self.clock.now()
        found = []
        for home in self._homes():
            zone, here = homes.timezone(home), _records(home)
            outlooks, unusable = use_each(here, partial(self._outlook, zone=zone, now=now))
            found += [Prospect(instance, reprlib.repr(name) if not isinstance(name, str) else name,
                               outlooks.get(instance) or f"never fires: {unusable[instance]}")
                      for instance, record in here.items() if (name := record.get("name") or record["id"])]
        return found

    def _outlook(self, record: Record, zone: ZoneInfo, now: datetime.datetime) -> str:
        if _schedule_or_none(record, zone) is None:
            return "never fires: its schedule is one that nothing can keep"
        after = self._corrected(record, zone, now)
        if (state := records.state(after)) != records.SCHEDULED:
            return f"stays {state}" if state == records.state(record) else f"is {state}"
        due = records.instant(after.get("next_run_at"))
        if due is None:
            return "never fires: its schedule has no time left"
        local = due.astimezone(zone)
        return f"fires at {local:%Y-%m-%d %H:%M:%S %Z}" if due > now else f"runs at once: due {local:%Y-%m-%d %H:%M %Z}"

    def faults(self) -> list[str]:
        """What is not as it should be and does not right itself, in sentences. Raises SchedulerError."""
        if reason := self.scheduler.unavailable():
            return [f"Nothing fires: {reason}"]
        found = []
        if self.wanted.kind not in (self.scheduler.kind, self._found):
            found.append(f"{self.scheduler.kind} fires, and oscron.toml wants {self.wanted.kind}: 'hermes-oscron sync' "
                         f"moves the jobs.")
        for home in self._homes():
            try:
                found += self._unusable_records(home, self.clock.now())
            except store.StoreError as error:
                found.append(str(error))
            if ticker.is_alive(home):
                found.append(_double_fires(home))
        return found + self._lasting_problems()

    def _unusable_records(self, home: Home, now: datetime.datetime) -> list[str]:
        """The records of `home` that no job can be made of, a sentence each. Raises StoreError."""
        zone = homes.timezone(home)

        def fault(record: Record) -> str:
            view(home, record, now, zone)
            plan_of(home, record, zone, now)
            return ""

        here = _records(home)
        lost, unusable = use_each(here, lambda record: _is_lost(record, zone, now))
        unusable |= use_each({instance: here[instance] for instance in lost if not lost[instance]}, fault)[1]
        return [f"{instance}: {unusable[instance]} Repair it in {home.jobs_file}, or delete the job."
                if instance in unusable else
                f"{instance} has a schedule that nothing can keep: {reprlib.repr(record.get('schedule'))}. "
                f"Set another one."
                for instance, record in here.items() if instance in unusable or lost[instance]]

    def _lasting_problems(self) -> list[str]:
        """The problems that no run, verb or sync in progress is about to solve, a sentence each. Raises SchedulerError.

        A problem counts if every look for CONFIRM_S seconds shows it. No verb and no sync changes things during a look.
        """
        found = self._problems()
        begun = time.monotonic()
        is_settling = True
        while found and time.monotonic() - begun < (SETTLE_TIMEOUT_S if is_settling else CONFIRM_S):
            time.sleep(LOOK_INTERVAL_S)
            try:
                with self.verb_lock(SYNC_PATIENCE):
                    seen = self._problems()
                    is_settling = self.scheduler.sync_is_pending() or not found.keys().isdisjoint(self._just_ended())
            except store.StoreError as error:
                return [*found.values(), str(error)]
            found = {subject: seen[subject] for subject in found if subject in seen}
        return list(found.values())

    def _problems(self) -> dict[str, str]:
        """What is not as it should be at this moment, in sentences, by job or unit. Raises SchedulerError.

        As in a sync, nothing is said of a job that is running.
        """
        found = dict(self.scheduler.troubles())
        now, busy = self.clock.now(), self._busy()
        plans: dict[str, Plan] = {}
        unread = set()
        for home in self._homes():
            try:
                plans.update(self._plans_of(home, now))
            except store.StoreError:
                unread.add(home.profile)
        differences = self.scheduler.differences(plans, now)
        late = self._late_jobs()
        unrecorded = {(instance := homes.instance(home.profile, run.job_id)):
                      f"{instance}: its last run {'has ended' if run.result else 'was cut off'} and is not recorded "
                      f"yet. 'hermes-oscron sync' records it."
                      for home in self._homes() for run in runs.interrupted(home)}
        busy |= self._busy()
        found |= {instance: sentence for instance, sentence in (late | unrecorded).items() if instance not in busy}
        return found | {instance: f"{instance}: {sentence} 'hermes-oscron sync' puts it right."
                        for instance, sentence in sorted(differences.items())
                        if instance not in busy and homes.split_instance(instance)[0] not in unread}

    def _busy(self) -> set[str]:
        """The instances that run, or whose run is starting or ending. Raises SchedulerError."""
        return self.scheduler.under_way().union(self.under_way())

    def _just_ended(self) -> set[str]:
        """The instances that a sync is about to disarm, since their last run has ended a moment ago."""
        now = self.clock.now()

        def has_just_ended(record: Record) -> bool:
            ended = records.instant(record.get("last_run_at"))
            return bool(ended and now - JUST_ENDED < ended and records.state(record) != records.SCHEDULED)

        found = set[str]()
        for home in self._homes():
            with contextlib.suppress(store.StoreError):  # which is told as such
                found |= {instance for instance, is_so in use_each(_records(home), has_just_ended)[0].items() if is_so}
        return found

    def fingerprint(self) -> tuple[object, ...]:
        """What changes whenever the jobs do, but for the time that goes by. Cut-off runs are recorded first."""
        parts: list[object] = [homes.active_profile(self.root), os.environ.get("HERMES_TIMEZONE"),
                               os.path.realpath("/etc/localtime"), in_charge(self.root)]
        for home in self._homes():
            _settle_if_possible(home)
            parts += [home.profile, homes.timezone(home).key, *runs.interrupted(home)]
            try:
                parts.append(store.signature(home.jobs_file))
            except store.StoreError as error:
                parts.append(str(error))
        return tuple(parts)

    def _jobs_of(self, home: Home, read_only: bool) -> list[Job]:
        _settle_if_possible(home)
        now, zone = self.clock.now(), homes.timezone(home)
        return [{**self._view(home, record, now, zone), "read_only": read_only} for record in endings.read(home)]

    def _homes(self) -> list[Home]:
        return [homes.home(self.root, profile) for profile in homes.profiles(self.root)]

    def _change(self, home: Home, job_id: str, change: Any, zone: ZoneInfo, now: datetime.datetime) -> Job:
        """Change JOB_ID's record and what fires it, or neither."""
        with self._arming():
            before = store.find(home, job_id)
            record = store.change(home, job_id, change)
            if _arming_of(home, before, zone, now) != _arming_of(home, record, zone, now):
                try:
                    self._arm(home, record, zone, now)
                except Exception:
                    store.change(home, job_id, lambda changed: _undo(changed, before, record, zone, self.clock.now()))
                    raise
        return self._view(home, record, now, zone)

    def _arm(self, home: Home, record: Record, zone: ZoneInfo, now: datetime.datetime) -> None:
        """Make what fires RECORD's job agree with it, and start what is due already or fell due meanwhile."""
        plan = plan_of(home, record, zone, now)
        instance = homes.instance(home.profile, record["id"])
        if plan is None:
            self.scheduler.disarm([instance])
            return
        self.scheduler.arm(plan, now)
        self._catch_up(record, instance)

    def _correct_records(self, home: Home, now: datetime.datetime) -> None:
        """Give every scheduled record the next run that is going to be; a one-shot that ran is done.

        Whoever else writes records has an arithmetic of their own, or leaves the next run to us. What is due already
        stays as it is until it has run.
        """
        zone = homes.timezone(home)
        here = _records(home)
        corrected, _ = use_each(here, lambda record: self._corrected(record, zone, now))
        wrong = [record["id"] for instance, record in here.items() if corrected.get(instance, record) != record]

        def correct(record: Record) -> None:
            record.update(use_or_none(record["id"], record, lambda record: self._corrected(record, zone, now)) or {})

        if wrong:
            store.change_each(home, wrong, correct)

    def _corrected(self, record: Record, zone: ZoneInfo, now: datetime.datetime) -> Record:
        """RECORD with the next run that the scheduler keeps."""
        written, schedule = records.instant(record.get("next_run_at")), _schedule_or_none(record, zone)
        if schedule is None or records.state(record) != records.SCHEDULED or (written and written <= now):
            return record
        due = records.next_run(record, now, zone)
        if due is None:
            is_done = schedule.kind == ONCE
            return {**record, "state": records.COMPLETED, "enabled": False} if is_done else record
        kept = self._kept(schedule, due, now)
        return record if kept == written else {**record, "next_run_at": kept.isoformat()}

    def _kept(self, schedule: Schedule, due: datetime.datetime, now: datetime.datetime) -> datetime.datetime:
        """When the scheduler keeps what is to be DUE after NOW: cron knows no seconds."""
        if schedule.kind != INTERVAL:
            return due
        kept = self.scheduler.grid(due)
        return kept if kept > now else self.scheduler.fires_at(due)

    def _catch_up(self, record: Record, instance: str) -> datetime.datetime | None:
        """Start RECORD's job if it was due while nothing fired it, and return when that was.

        Should something have fired it, the runner drops this one.
        """
        due = records.instant(record.get("next_run_at"))
        if due is None or due > self.clock.now():
            return None
        self.scheduler.catch_up(instance)
        return due

    @contextlib.contextmanager
    def _arming(self, patience: float = store.LOCK_PATIENCE) -> Iterator[None]:
        """One verb at a time changes jobs and timers, so that the last one written is the one armed.

        Raises StoreError when another takes longer than PATIENCE seconds.
        """
        with self.verb_lock(patience):
            try:
                put_in_charge(self.root, self.scheduler.kind)
            except OSError as error:
                raise store.StoreError(f"{homes.state_dir(self.root)} cannot be written: {cause(error)}") from error
            yield

    @contextlib.contextmanager
    def verb_lock(self, patience: float = store.LOCK_PATIENCE) -> Iterator[None]:
        """Hold the lock of the verbs. Raises StoreError when another holds it for `patience` seconds."""
        path = f"{homes.state_dir(self.root)}/arming.lock"
        try:
            store.make_private_dir(os.path.dirname(path))
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise store.StoreError(f"{path} cannot be opened: {cause(error)}") from error
        try:
            store.wait_for_lock(fd, path, patience)
            yield
        finally:
            os.close(fd)

    def _view(self, home: Home, record: Record, now: datetime.datetime, zone: ZoneInfo) -> Job:
        """`record` as clients see it: its next run is when the scheduler will start it."""
        def shown(record: Record) -> Job:
            job = view(home, record, now, zone)
            if job["next_run_at"]:
                due = datetime.datetime.fromisoformat(job["next_run_at"])
                job["next_run_at"] = self.scheduler.fires_at(due).isoformat()
            if late := self._late(home, record, now):
                job.update(last_status="error", last_error=late)
            return job

        name = homes.instance(home.profile, record["id"])
        return use_or_none(name, record, shown) or _unusable(home, record)


def _answer_to(request: requests.Request, ended: Callable[[], str | None],
               running: Callable[[], runs.Run | None]) -> dict[str, Any]:
    """Wait for the answer to `request`, for which a runner was started, and return it, or why there will be none.

    `ended` tells why that runner will not take it; `running` is the run under way, which was there before the request
    if it does not take it. Raises SchedulerError.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    next_look = time.monotonic() + UNIT_POLL_S
    while (answer := request.answer()) is None:
        now = time.monotonic()
        if not request.is_taken():
            if (run := running()) and request.withdraw():  # else a runner took it meanwhile, and the run is its own
                return {"elapsed": _elapsed(run)}
            reason = None
            if now > next_look:
                reason, next_look = ended(), now + UNIT_POLL_S
            if now > deadline:
                reason = f"it did not begin within {START_TIMEOUT_S:.0f} s, and will not begin later."
            if reason and request.withdraw():
                return {"refused": reason}
        elif now > deadline + START_TIMEOUT_S:
            return {} if running() else {"refused": "its runner ended before the run began."}
        time.sleep(START_POLL_S)
    return answer


def view(home: Home, record: Record, now: datetime.datetime, zone: ZoneInfo) -> Job:
    """RECORD as clients see it."""
    job = {**DEFAULTS, **record, "owner_profile": home.profile, "read_only": False, "skills": _skills(record)}
    job["prompt"], job["deliver"] = record.get("prompt") or "", record.get("deliver") or "local"
    job["name"] = record.get("name") or str(next(filter(None, (job["prompt"], *job["skills"], record.get("script"),
                                                              record["id"]))))[:50]
    job["state"], job["enabled"] = records.state(record), records.state(record) == records.SCHEDULED
    job["repeat"] = dict(zip(("times", "completed"), records.repeat_of(record), strict=True))
    job["toast_notifications"] = record.get("toast_notifications") is not False
    for key in ("last_run_at", "created_at", "paused_at"):
        moment = records.instant(record.get(key))
        job[key] = moment.astimezone(zone).isoformat() if moment else None
    try:
        schedule = records.schedule_of(record, zone)
        due = records.next_run(record, now, zone)
        if due is None and job["enabled"] and schedule.kind != ONCE:
            job["state"] = records.ERROR
    except ScheduleError:
        job.update(state=records.ERROR, next_run_at=None, schedule_display=str(record.get("schedule_display") or ""),
                   schedule={"kind": "", "expression": ""})
        return job
    job["schedule"] = {"kind": schedule.kind, "expression": schedule.expression}
    job["schedule_display"] = text.display(schedule, zone)
    job["next_run_at"] = due.isoformat() if due else None
    return job


def _unusable(home: Home, record: Record) -> Job:
    """What clients see of a `record` that cannot be shown."""
    return {**DEFAULTS, "id": record["id"], "name": record["id"], "owner_profile": home.profile, "read_only": False,
            "state": records.ERROR, "enabled": False, "schedule": {"kind": "", "expression": ""},
            "schedule_display": "", "next_run_at": None, "repeat": {"times": None, "completed": 0},
            "created_at": None, "paused_at": None}


def _records(home: Home) -> dict[str, Record]:
    """The records of `home` by instance, in the file's order; not to be changed. Raises StoreError."""
    return {homes.instance(home.profile, record["id"]): record for record in store.read(home)}


def _settle_if_possible(home: Home) -> None:
    """Record the cut-off runs of HOME; on a disk that takes nothing they wait, and what there is can be read."""
    with contextlib.suppress(store.StoreError, OSError):
        settle(home)


def _skills(record: Record) -> list[Any]:
    """The skills of RECORD, whichever of the agent's two fields names them."""
    skills = record.get("skills")
    if isinstance(skills, list):
        return skills
    named = skills or record.get("skill")
    return [named] if named else []


def _new_record(wanted: Job, schedule: Schedule, zone: ZoneInfo, now: datetime.datetime,
                scheduler: Scheduler) -> Record:
    record: Record = {
        "id": os.urandom(6).hex(), "name": "", "prompt": "", "skills": [], "skill": None, "model": None,
        "provider": None, "base_url": None, "script": None, "no_agent": False, "context_from": None,
        "repeat": {"times": 1 if schedule.kind == ONCE else None, "completed": 0},
        "enabled": True, "state": records.SCHEDULED, "paused_at": None, "paused_reason": None,
        "created_at": _iso(now, zone), "last_run_at": None, "last_status": None, "last_error": None,
        "last_delivery_error": None, "deliver": "local", "origin": None, "enabled_toolsets": None, "workdir": None,
        "profile": None, "toast_notifications": True,
    }
    enabled = wanted.pop("enabled", True)
    _reschedule(record, schedule, zone, now, scheduler)
    _apply(record, wanted)
    _require_work(record)
    if not enabled:
        _pause(record, None, zone, now)
    return record


def _apply(record: Record, wanted: Job) -> None:
    """Put the checked fields WANTED into RECORD."""
    for key, value in wanted.items():
        if key == "repeat":
            records.set_repeat(record, value, records.repeat_of(record)[1])
        else:
            record[key] = value if value != "" or key in ("prompt", "name", "deliver") else None
    record["deliver"] = record.get("deliver") or "local"
    if "skills" in wanted:
        record["skill"] = wanted["skills"][0] if wanted["skills"] else None
    if not str(record.get("name") or "").strip():
        record["name"] = (str(record.get("prompt") or "").strip() or str(record.get("script") or ""))[:50].strip()


def _require_work(record: Record) -> None:
    """Raise Invalid when RECORD's job has nothing to do."""
    if record.get("no_agent"):
        if not record.get("script"):
            raise Invalid("A job with no_agent runs a script: script is missing.")
    elif not str(record.get("prompt") or "").strip():
        raise Invalid("prompt is missing.")


def _reschedule(record: Record, schedule: Schedule, zone: ZoneInfo, now: datetime.datetime,
                scheduler: Scheduler) -> None:
    """Let RECORD's job be due by SCHEDULE from NOW on; a completed job has work again.

    A one-shot runs once and any other for ever, unless the client has said how often.
    """
    times, completed = records.repeat_of(record)
    before = record.get("schedule")
    if times in (None, 1) and (not isinstance(before, dict) or schedule.kind != before.get("kind")):
        times = 1 if schedule.kind == ONCE else None
    record["schedule"] = records.stored_schedule(schedule, zone)
    record["schedule_display"] = record["schedule"]["display"]
    if records.state(record) == records.COMPLETED:
        record.update(state=records.SCHEDULED, enabled=True)
        completed = 0
    records.set_repeat(record, times, completed)
    _due_from(record, zone, now, scheduler)


def _pause(record: Record, reason: str | None, zone: ZoneInfo, now: datetime.datetime) -> None:
    if records.state(record) == records.SCHEDULED:
        record.update(enabled=False, state=records.PAUSED, paused_at=_iso(now, zone), paused_reason=reason,
                      next_run_at=None)


def _resume(record: Record, zone: ZoneInfo, now: datetime.datetime, scheduler: Scheduler) -> None:
    """Let RECORD's job be due again, if it is paused, or if it is completed though it was to run for ever."""
    state = records.state(record)
    if state == records.SCHEDULED or (state == records.COMPLETED and records.repeat_of(record)[0] is not None):
        return
    schedule = records.schedule_of(record, zone)
    if state == records.COMPLETED and (schedule.kind == ONCE or next_occurrence(schedule, now, zone) is None):
        return
    if schedule.kind == ONCE and schedule.run_at <= now:
        raise ScheduleError(f"The job was to run once, at {schedule.expression}, which is past: give it another time.")
    record.update(enabled=True, state=records.SCHEDULED, paused_at=None, paused_reason=None)
    _due_from(record, zone, now, scheduler)


def _due_from(record: Record, zone: ZoneInfo, now: datetime.datetime, scheduler: Scheduler) -> None:
    """Let RECORD's job be due from NOW on only, when SCHEDULER can fire it; an interval counts from there."""
    record.update(next_run_at=None, armed_at=_iso(now, zone))
    if records.state(record) == records.SCHEDULED:
        schedule = records.schedule_of(record, zone)
        due = schedule.run_at if schedule.kind == ONCE else next_occurrence(schedule, now, zone)
        if due and schedule.kind == INTERVAL:
            due = scheduler.grid(due)
        record["next_run_at"] = due.astimezone(zone).isoformat() if due else None


def _undo(now: Record, before: Record, after: Record, zone: ZoneInfo, at: datetime.datetime) -> None:
    """Take out of the record as it is NOW what a verb made of BEFORE, which then was AFTER.

    A run that has ended meanwhile stays recorded, and its time is not due again.
    """
    for key in {*before, *after}:
        if before.get(key) != after.get(key) and now.get(key) == after.get(key):
            now[key] = before.get(key)
            if key not in before:
                del now[key]
    if now.get("last_run_at") != before.get("last_run_at"):
        with contextlib.suppress(ScheduleError):
            due = records.next_run(now, at, zone)
            now["next_run_at"] = due.isoformat() if due else None


def _arming_of(home: Home, record: Record, zone: ZoneInfo, now: datetime.datetime) -> object:
    """What of `record` its timer depends on."""
    return use_or_none(record["id"], record, lambda record: plan_of(home, record, zone, now))


def _schedule_or_none(record: Record, zone: ZoneInfo) -> Schedule | None:
    return use_or_none(str(record.get("id")), record, lambda record: records.schedule_of(record, zone))


def _is_lost(record: Record, zone: ZoneInfo, now: datetime.datetime) -> bool:
    """Whether the job of `record` is not completed and can never fire."""
    if records.state(record) == records.COMPLETED:
        return False
    schedule = _schedule_or_none(record, zone)
    return schedule is None or (records.state(record) == records.SCHEDULED and schedule.kind != ONCE
                                and next_occurrence(schedule, now, zone) is None)


def _double_fires(home: Home) -> str:
    remedy = ("'hermes gateway restart' makes it stand down" if plugin.is_installed(home) else
              "'hermes-oscron plugin install' makes it stand down once it is restarted")
    return (f"{home.profile}: the agent's gateway fires jobs too, so that they could run twice; all that keeps them "
            f"from it is that one of both claims a job first. {remedy}.")


def _elapsed(run: runs.Run) -> float:
    return round(max(0.0, time.time() - run.started_at), 1)


def _iso(now: datetime.datetime, zone: ZoneInfo) -> str:
    return now.astimezone(zone).isoformat()
