"""The metrics of a Hermes root, from its ledgers, its jobs and its state. docs/metrics.md describes each."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from .. import __version__
from ..errors import OscronError
from ..files import StateFileError
from ..hermes import job_store
from ..hermes.emergency_stop import paused
from ..hermes.home import Home, homes_of
from ..jobs.model import Job
from ..notify import outbox
from ..notify.events import FAILED
from ..runs import ledger, lock
from ..runs.ledger import NOT_RUN, OK, LedgerError
from ..runs.model import Run
from ..runs.totals import DURATION_BUCKETS_S, LATENESS_BUCKETS_S, Totals, totals
from ..schedulers.active import active_scheduler, disarmed_since, last_sync

PREFIX = "hermes_oscron_"
OF_PROFILE = ("profile",)
OF_JOB = ("profile", "job")
BUCKETS = {"duration": DURATION_BUCKETS_S, "lateness": LATENESS_BUCKETS_S}
COUNTS = {"duration": "durations", "lateness": "latenesses"}


class _History(NamedTuple):
    """The content of the ledger of a home: sums, occurrences without a run, and by job ends, streak and last node."""

    totals: list[Totals]
    not_run: list[tuple[str, str, int]]
    succeeded: dict[str, float]
    failed: dict[str, float]
    streaks: dict[str, int]
    nodes: dict[str, str]


class _Profile(NamedTuple):
    """The state of a home; `jobs` and `history` are None if they cannot be read."""

    home: Home
    jobs: list[Job] | None
    history: _History | None
    running: list[Run]
    unentered: int


def families(root: str) -> Iterator[Metric]:
    """Yield the metrics of `root`."""
    yield _gauge("build_info", "The version of hermes-oscron.", ("version",),
                 [((__version__,), 1)])
    yield _gauge("scheduler_info", "The scheduler that fires the jobs.", ("kind",),
                 [((active_scheduler(root) or "none",), 1)])
    yield _gauge("disarmed", "1 while the jobs are disarmed.", (), [((), disarmed_since(root) is not None)])
    yield _gauge("last_sync_timestamp_seconds", "The end of the last sync that succeeded.", (), [((), last_sync(root))])
    profiles = [_profile(home) for home in homes_of(root)]
    yield from _of_profiles(profiles)
    yield from _of_jobs(profiles)
    yield from _of_runs([each for each in profiles if each.history])
    yield from _of_alerts(root)


def _of_profiles(profiles: list[_Profile]) -> Iterator[Metric]:
    def gauge(name: str, text: str, values: Iterable[float]) -> Metric:
        return _gauge(name, text, OF_PROFILE,
                      [((each.home.profile,), value) for each, value in zip(profiles, values, strict=True)])

    yield gauge("paused", "1 while Hermes is paused, and no job starts.", (bool(paused(p.home)) for p in profiles))
    yield gauge("jobs_readable", "0 if jobs.json cannot be read.", (p.jobs is not None for p in profiles))
    yield gauge("ledger_readable", "0 if the ledger cannot be read.", (p.history is not None for p in profiles))
    yield gauge("unentered_runs", "Runs that could not be entered in the ledger yet.", (p.unentered for p in profiles))
    yield gauge("running_runs", "Runs in progress.", (sum(not run.queued for run in p.running) for p in profiles))
    yield gauge("queued_runs", "Runs that wait for a turn.", (sum(run.queued for run in p.running) for p in profiles))
    yield _gauge("running_run_info", "The place of a run in progress.", (*OF_JOB, "node", "cluster_job"),
                 [((each.home.profile, run.job_id, run.node, run.slurm_job), 1)
                  for each in profiles for run in each.running if not run.queued])
    states: dict[tuple[str, ...], float] = {}
    for each in profiles:
        for job in each.jobs or ():
            states[each.home.profile, job.state] = states.get((each.home.profile, job.state), 0) + 1
    yield _gauge("jobs", "Jobs by state.", ("profile", "state"), states.items())


def _of_jobs(profiles: list[_Profile]) -> Iterator[Metric]:
    jobs = [(each, job) for each in profiles for job in each.jobs or ()]
    yield _gauge("job_info", "The name of a job.", (*OF_JOB, "name"),
                 [((each.home.profile, job.id, " ".join(str(job.record.get("name") or "").split())), 1)
                  for each, job in jobs])
    yield _gauge("job_next_run_timestamp_seconds", "The time at which a job is due next.", OF_JOB,
                 [((each.home.profile, job.id), job.next_run_at.timestamp())
                  for each, job in jobs if job.is_scheduled and job.next_run_at])
    for name, text, field in (
            ("job_last_success_timestamp_seconds", "The end of the last run that succeeded.", "succeeded"),
            ("job_last_failure_timestamp_seconds", "The end of the last run that failed.", "failed"),
            ("job_failures_in_a_row", "The number of failed runs since the last one that succeeded.", "streaks")):
        yield _gauge(name, text, OF_JOB, [((each.home.profile, job), value) for each in profiles if each.history
                                          for job, value in getattr(each.history, field).items()])
    yield _gauge("job_last_run_info", "The node of the last run of a job, if it was on a cluster.", (*OF_JOB, "node"),
                 [((each.home.profile, job, node), 1) for each in profiles if each.history
                  for job, node in each.history.nodes.items()])


def _of_runs(profiles: list[_Profile]) -> Iterator[Metric]:
    found = [(each.home.profile, total) for each in profiles for total in (each.history.totals if each.history else ())]
    yield _counter("runs", "Runs that have ended.", (*OF_JOB, "outcome", "trigger"),
                   [((profile, each.job, each.outcome, each.trigger), each.sums["runs"]) for profile, each in found])
    tokens: dict[tuple[str, ...], float] = {}
    cost: dict[tuple[str, ...], float] = {}
    for profile, each in found:
        for direction in ("input", "output"):
            _add(tokens, (profile, each.job, direction), each.sums[f"{direction}_tokens"])
        _add(cost, (profile, each.job), each.sums["cost_usd"])
    yield _counter("tokens", "Tokens that runs have used.", (*OF_JOB, "direction"), tokens.items())
    yield _counter("cost_dollars", "The estimated cost of runs.", OF_JOB, cost.items())
    yield _gauge("occurrences_not_run", "Times in the ledger at which a job was due and did not run.",
                 (*OF_JOB, "outcome"), [((each.home.profile, job, outcome), count) for each in profiles
                                        for job, outcome, count in (each.history.not_run if each.history else ())])
    for name, kind, text in (("run_duration_seconds", "duration", "The duration of runs."),
                             ("start_lateness_seconds", "lateness", "The time from due to start of scheduled runs.")):
        family = HistogramMetricFamily(PREFIX + name, text, labels=OF_PROFILE)
        for profile in (each.home.profile for each in profiles):
            sums = [each.sums for of, each in found if of == profile]
            buckets = [(str(limit), sum(each[f"{kind}_{number}"] for each in sums))
                       for number, limit in enumerate(BUCKETS[kind])]
            family.add_metric((profile,), [*buckets, ("+Inf", sum(each[COUNTS[kind]] for each in sums))],
                              sum(each[f"{kind}_s"] for each in sums))
        yield family


def _of_alerts(root: str) -> Iterator[Metric]:
    found: list[outbox.Undelivered] = []
    with contextlib.suppress(StateFileError, OSError):  # doctor reports it
        if outbox.exists(root):
            with outbox.writing(root) as box:
                found = outbox.undelivered(box)
    yield _gauge("alerts_waiting", "Alerts that a receiver has not accepted yet.", ("receiver",),
                 [((each.target,), each.waiting) for each in found])
    yield _gauge("alerts_given_up", "Alerts of the last week that a receiver has never accepted.", ("receiver",),
                 [((each.target,), each.given_up) for each in found])


def _profile(home: Home) -> _Profile:
    jobs = history = None
    with contextlib.suppress(OscronError, OSError):
        jobs = job_store.read(home)
    with contextlib.suppress(LedgerError, OSError):
        history = _history(home)
    return _Profile(home, jobs, history, list(lock.running(home).values()), len(lock.unentered(home)))


def _history(home: Home) -> _History:
    """Return the history of `home`. Each query is short, because a runner that ends waits for it."""
    with ledger.reading(home) as books:
        not_run = books.execute(f"SELECT job, outcome, count(*) FROM runs WHERE outcome IN {NOT_RUN} "
                                "GROUP BY job, outcome").fetchall()
        succeeded = {row[0]: row[1:] for row in books.execute(
            "SELECT job, max(ended), max(seq) FROM runs WHERE outcome = ? GROUP BY job", (OK,))}
        failed = dict(books.execute(
            f"SELECT job, max(ended) FROM runs WHERE outcome IN {FAILED} GROUP BY job").fetchall())
        streaks = {job: int(books.execute(
            f"SELECT count(*) FROM runs WHERE job = ? AND outcome IN {FAILED} AND seq > ?",
            (job, succeeded.get(job, (0, 0))[1])).fetchone()[0]) for job in {*succeeded, *failed}}
        sums = totals(books)
        last = "SELECT node FROM runs WHERE job = ? AND started IS NOT NULL ORDER BY started DESC LIMIT 1"
        nodes = {job: node for job in {each.job for each in sums} for (node,) in books.execute(last, (job,)) if node}
        return _History(sums, not_run, {job: ended for job, (ended, _) in succeeded.items()}, failed, streaks, nodes)


def _add(sums: dict[tuple[str, ...], float], labels: tuple[str, ...], value: float) -> None:
    if value:
        sums[labels] = sums.get(labels, 0.0) + value


def _gauge(name: str, text: str, labels: tuple[str, ...],
           values: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, float(value))
    return family


def _counter(name: str, text: str, labels: tuple[str, ...],
             values: Iterable[tuple[tuple[str, ...], float]]) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, float(value))
    return family
