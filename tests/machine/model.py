"""The judge of a fault injection: reports what was lost, doubled or wrongly recorded.

It imports nothing from the product and has a calendar of its own for the few schedules that the injector uses. All
times are unix seconds.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

CLOCK_S = 0.2
"""By this much the clock of a log line may differ from that of an occurrence."""
RECORDING_S = 5.0
"""From the end of a script until its run is recorded; an occurrence in between is due while the job still runs."""
STARTING_S = 6.0
"""From the start of the runner until the script writes its first line."""
CALLED_S = 10.0
"""From a call to run a job by hand until its script writes its first line."""
ENDING_S = 60.0
"""The judged time ends here, and nothing fires later than this; until then due jobs may run."""
CUT = re.compile(r"interrupted|stopped by|killed by|cut off", re.IGNORECASE)
EXIT_CODE = re.compile(r"exit(?:ed)? (?:with )?(?:code|status) (\d+)")


class Schedule(NamedTuple):
    """Due at `first` and every `period_s` seconds from then on; once where that is 0."""

    first: float
    period_s: float

    def due(self, after: float, until: float) -> list[float]:
        """List the occurrences later than `after` and not later than `until`."""
        if not self.period_s:
            return [self.first] if after < self.first <= until else []
        at = self.first + (max(0.0, after - self.first) // self.period_s) * self.period_s
        found = []
        while at <= until:
            if at > after:
                found.append(at)
            at += self.period_s
        return found


class Change(NamedTuple):
    """From somewhere between `begun` and `done` on a job has this schedule; None where it is paused or deleted."""

    begun: float
    done: float
    schedule: Schedule | None


class Fault(NamedTuple):
    """Something that went on from `begun` to `done`: it may have kept runs from starting, or killed one."""

    begun: float
    done: float
    what: str
    delays: bool = False
    kills: bool = False
    fills: bool = False
    """Outputs and records could not be written."""


class Call(NamedTuple):
    """A run by hand that was accepted."""

    begun: float
    done: float


class Run(NamedTuple):
    """The notes of a script about its run; without `end` it never reached its end."""

    token: str
    start: float
    end: float | None
    code: int
    lines: int
    seconds: float


class Record(NamedTuple):
    """The last run as jobs.json had it at some time."""

    at: float
    status: str
    error: str


class Row(NamedTuple):
    """A row of the ledger. Without `started` no run began for the time `due`."""

    due: float
    started: float | None
    outcome: str | None
    reason: str | None


@dataclass
class Evidence:
    """Everything known about one job."""

    name: str
    late_s: float
    """A start later than this after its occurrence is not punctual."""
    changes: list[Change]
    deleted: bool = False
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    rows: list[Row] | None = None
    """None if there is no ledger to judge."""


class _Due(NamedTuple):
    at: float
    certain: bool
    once: bool


def judge(job: Evidence, until: float, tally: Counter[str] | None = None) -> list[str]:
    """Say in sentences what is wrong with what happened to `job` up to `until`; count in `tally` what was judged."""
    tally = Counter() if tally is None else tally
    due = _due(job, until)
    return [*_lost(job, due, until, tally), *_doubled(job, due), *_unrecorded(job, until), *_misrecorded(job),
            *_misentered(job, due, until, tally)]


def _due(job: Evidence, until: float) -> list[_Due]:
    """List the occurrences of `job`: those that had to run, and those that a change in that moment left open."""
    found = []
    end = Change(until, until + ENDING_S, None)
    for this, following in zip(job.changes, [*job.changes[1:], end], strict=True):
        if this.schedule:
            for at in this.schedule.due(this.begun, following.done):
                certain = this.done < at < following.begun - job.late_s
                found.append(_Due(at, certain, not this.schedule.period_s))
    return sorted(found)


def _lost(job: Evidence, due: list[_Due], until: float, tally: Counter[str]) -> list[str]:
    """List the occurrences that did not run and had no reason not to."""
    wrong = []
    for at, _, once in (each for each in due if each.certain):
        if once and any(run.start < at for run in job.runs):
            continue  # a run by hand counts as its run
        reason, deadline = _excuse(job, at)
        started = next((run.start for run in job.runs if at - CLOCK_S <= run.start <= at + job.late_s), None)
        if started:
            tally["punctual" if started < at + STARTING_S else "late"] += 1
        elif reason == "running":
            tally["still running"] += 1
        elif not reason:
            wrong.append(f"{job.name}: due at {at:.0f} and did not run; nothing was injected that excuses it.")
        elif any(at <= run.start <= deadline for run in job.runs):
            tally["made up for"] += 1
        elif _recorded_without_run(job, at):
            tally["recorded as interrupted before it began"] += 1
        elif deadline > until or any(at < change.begun <= deadline for change in job.changes):
            tally["left open"] += 1
        else:
            wrong.append(f"{job.name}: due at {at:.0f}, kept from running by {reason}, and not made up for by "
                         f"{deadline:.0f}.")
    return wrong


def _excuse(job: Evidence, at: float) -> tuple[str, float]:
    """Return the reason why the occurrence `at` may not have run in time, "" without one, and the latest time to make
    up for it.
    """
    if any(run.start <= at <= _over(job, run) + RECORDING_S for run in job.runs):
        return "running", at
    reasons, end = [], at + job.late_s
    for fault in sorted(job.faults):
        if (fault.delays or fault.kills) and fault.begun <= end and fault.done >= at - CLOCK_S:
            reasons.append(fault.what)
            end = max(end, fault.done + job.late_s)
    return ", ".join(reasons), end


def _over(job: Evidence, run: Run) -> float:
    """When `run` was over."""
    return run.end or min([fault.done for fault in _kills(job, run)], default=run.start + run.seconds)


def _kills(job: Evidence, run: Run) -> list[Fault]:
    """List the faults that may have killed `run` or its runner."""
    last = (run.end or run.start + run.seconds + STARTING_S) + RECORDING_S
    return [fault for fault in job.faults
            if fault.kills and fault.begun <= last and fault.done >= run.start - STARTING_S]


def _recorded_without_run(job: Evidence, at: float) -> bool:
    """Return True if a record states that the run of the occurrence `at` was cut off before its script began."""
    return any(record.status == "error" and at - CLOCK_S <= record.at <= at + job.late_s and CUT.search(record.error)
               for record in job.records)


def _doubled(job: Evidence, due: list[_Due]) -> list[str]:
    """List the runs that nothing asked for: every occurrence and every call is good for one."""
    wrong = []
    left, calls = list(due), list(job.calls)
    for run, following in zip_longest(job.runs, job.runs[1:]):
        if following and run.end and following.start < run.end - CLOCK_S:
            wrong.append(f"{job.name}: ran twice at once, from {run.start:.2f} and from {following.start:.2f}.")
        if not any(each.at <= run.start + CLOCK_S for each in left):
            if call := next((each for each in calls if _may_be(each, run)), None):
                calls.remove(call)
            else:
                wrong.append(f"{job.name}: ran at {run.start:.2f} ({run.token}), for which nothing had asked.")
        answered = run.start + CLOCK_S
        if run.end and not _kills(job, run) and not _filled(job, run):
            answered = run.end  # what was due while it ran is skipped
        left = [each for each in left if each.at > answered and not each.once]
    for call in job.calls:
        ran = any(_may_be(call, run) or run.start <= call.done <= _over(job, run) + RECORDING_S for run in job.runs)
        if not ran and not any(fault.begun <= call.done + STARTING_S and fault.done >= call.begun
                               for fault in job.faults):
            wrong.append(f"{job.name}: was to run by hand at {call.begun:.2f} and did not.")
    return wrong


def _may_be(call: Call, run: Run) -> bool:
    return call.begun - CLOCK_S <= run.start <= call.done + CALLED_S


def _filled(job: Evidence, run: Run) -> bool:
    """Tell whether the end of `run` could not be recorded at once."""
    over = _over(job, run)
    return any(fault.fills and fault.begun <= over + RECORDING_S and fault.done >= over for fault in job.faults)


def _unrecorded(job: Evidence, until: float) -> list[str]:
    """List the runs without an end, a record or an output."""
    wrong = []
    for run, following in zip_longest(job.runs, job.runs[1:]):
        over, kills = _over(job, run), _kills(job, run)
        if job.deleted and over > job.changes[-1].begun - RECORDING_S:
            continue
        if not run.end and not kills:
            wrong.append(f"{job.name}: began at {run.start:.2f} ({run.token}) and never ended; nothing killed it.")
        hidden = following and (_over(job, following) < over + 2 * RECORDING_S or _filled(job, run) or kills)
        if not hidden and not any(run in _candidates(job, record) for record in job.records):
            wrong.append(f"{job.name}: ran at {run.start:.2f} ({run.token}), which is recorded nowhere.")
        if job.deleted:  # its outputs went with it
            continue
        pages = [page for page in job.outputs if run.token in page]
        if run.end and not kills and not pages and not _filled(job, run):
            wrong.append(f"{job.name}: ran at {run.start:.2f} ({run.token}), and there is no output of it.")
        if len(pages) > 1:
            wrong.append(f"{job.name}: ran at {run.start:.2f} ({run.token}), and there are {len(pages)} outputs of it.")
        if run.end and not kills and pages and pages[0].count(run.token) != run.lines:
            wrong.append(f"{job.name}: ran at {run.start:.2f} ({run.token}), and its output is not whole.")
    return wrong


def _misrecorded(job: Evidence) -> list[str]:
    """List the records that say something else than the script wrote."""
    wrong = []
    for record in job.records:
        candidates = _candidates(job, record)
        before_script = any(fault.kills and fault.begun - STARTING_S <= record.at <= fault.done + STARTING_S
                            for fault in job.faults)
        if not any(_agrees(job, record, run) for run in candidates) and not (
                before_script and CUT.search(record.error)):
            told = ", ".join(f"{run.token} from {run.start:.2f} to {run.end and round(run.end, 2)}, code {run.code}"
                             for run in candidates)
            wrong.append(f"{job.name}: recorded at {record.at:.2f} as {record.status} ({record.error}), and its "
                         f"script wrote: {told or 'nothing'}.")
    return wrong


def _candidates(job: Evidence, record: Record) -> list[Run]:
    """List the runs that `record` may mean: the last one that had begun, or one that was just beginning."""
    begun = [run for run in job.runs if run.start <= record.at][-1:]
    return begun + [run for run in job.runs if record.at < run.start <= record.at + STARTING_S]


def _agrees(job: Evidence, record: Record, run: Run) -> bool:
    if record.status == "ok":
        return run.end is not None and run.code == 0
    if CUT.search(record.error):
        return bool(_kills(job, run))
    if code := EXIT_CODE.search(record.error):
        return run.end is not None and run.code == int(code[1])
    return run.end is not None and _filled(job, run)  # its output could not be saved


def _misentered(job: Evidence, due: list[_Due], until: float, tally: Counter[str]) -> list[str]:
    """List the starts of the script and the occurrences without a row of their own, and the rows without a start or
    with another end than the script wrote.
    """
    if job.rows is None:
        return []
    wrong = [f"{job.name}: due at {each.at:.0f}, and the ledger has {count} rows of it."
             for each in due if each.certain and not each.once and each.at < until - ENDING_S
             and (count := sum(row.due == each.at for row in job.rows)) != 1]
    began = sorted((row.started, row) for row in job.rows if row.started is not None)
    first = began[0][0] if began else until + ENDING_S
    wrong += [f"{job.name}: ran at {run.start:.2f} ({run.token}), and the ledger has no row of it."
              for run in job.runs if run.start < first]
    for (started, row), following in zip_longest(began, began[1:]):
        own = [run for run in job.runs if started <= run.start and (following is None or run.start < following[0])]
        what = f"{job.name}: by the ledger a run began at {started:.2f} ({row.outcome}, {row.reason}), and its script "
        if len(own) > 1:
            wrong.append(f"{what}started {len(own)} times.")
        elif own:
            tally["starts in the ledger"] += 1
            record = Record(started, "ok" if row.outcome == "ok" else "error", row.reason or "")
            if row.outcome is None or not _agrees(job, record, own[0]):
                wrong.append(f"{what}wrote: {own[0]}.")
        elif not any((fault.kills or fault.fills) and fault.begun - STARTING_S <= started <= fault.done + STARTING_S
                     for fault in job.faults):
            wrong.append(f"{what}did not start.")
    return wrong
