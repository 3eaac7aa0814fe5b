"""The ledger: what it adds to a run, and the answers of the API at a thousand and at a hundred thousand rows."""

import http.client
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.listing import call, serving
from bench.machine import programs
from bench.table import Row
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.runs import ledger

TITLE = "The ledger"
ROUNDS, CALLS = 60, 30
SIZES = (1000, 100_000)
JOBS = 20
RUNNER = """
import sys, types
entries, books = types.ModuleType("entries"), types.ModuleType("ledger")
entries.enter_begin = entries.enter_end = entries.was_resumed = lambda *_: None
entries.outcome_of, books.SKIPPED = lambda *_: "ok", "skipped"
if sys.argv.pop(1) == "without":
    sys.modules["hermes_oscron.runs.entries"], sys.modules["hermes_oscron.runs.ledger"] = entries, books
from hermes_oscron.runner.main import main
sys.exit(main())
"""
"""The runner, as it is or `without` the ledger: then nothing of it is imported."""


def rows() -> Iterator[Row]:
    yield from _of_a_run()
    yield from _of_the_api()


def _of_a_run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        bin_ = programs(place)
        (place / "hermes/scripts").mkdir(parents=True)
        (place / "hermes/scripts/stamp.sh").write_text("echo $EPOCHREALTIME\n")
        (place / "hermes/oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
        os.environ.update(HERMES_HOME=str(place / "hermes"), TZ="UTC")
        made = subprocess.run([bin_ / "hermes-oscron", "create", "0 9 * * *", "--no-agent", "--script", "stamp.sh"],
                              check=True, capture_output=True, text=True)
        instance = f"default:{made.stdout.split()[1]}"
        until, whole, cpu = ({kind: list[float]() for kind in ("with", "without")} for _ in range(3))
        for _ in range(ROUNDS):  # interleaved, so that both meet the same noise
            for kind in whole:
                began, clock, used = time.perf_counter(), time.time(), sum(os.times()[2:4])
                said = subprocess.run([bin_ / "python", "-c", RUNNER, kind, instance, "--trigger", "manual"],
                                      check=True, capture_output=True, text=True, cwd=place).stdout
                whole[kind].append(1000 * (time.perf_counter() - began))
                cpu[kind].append(1000 * (sum(os.times()[2:4]) - used))
                until[kind].append(1000 * (float(said.splitlines()[1]) - clock))  # after the line of the start
    for what, times, target in (("until the child begins", until, "5 ms more"), ("runner and child", whole, ""),
                                ("CPU of both", cpu, "")):
        ours, bare = (statistics.median(times[kind]) for kind in ("with", "without"))
        yield Row(what, f"{ours:.1f} ms", f"without a ledger: {bare:.1f} ms; {ours / bare:.2f} times", target)


def _of_the_api() -> Iterator[Row]:
    times: dict[str, list[float]] = {}
    for size in SIZES:
        with serving(JOBS) as (_, url):
            home = home_of(os.environ["HERMES_HOME"], "default")
            _fill(home, size)
            token = Path(home.state.folder, "token").read_text().strip()
            connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))

            def get(path: str, connection: http.client.HTTPConnection = connection, token: str = token) -> None:
                call(connection, token, "GET", f"/api/crons/{path}")

            with ledger.reading(home) as books:
                cursor = ledger.position(books)
            for path in ("runs", "runs?job_id=job7", "runs?outcome=stopped", f"recent?since={time.time()}",
                         f"recent?after={cursor}", "history?job_id=job7"):
                what = f"`GET /api/crons/{path.partition('=')[0]}`" if "?" in path else f"`GET /api/crons/{path}`"
                times.setdefault(what, []).append(_median_ms(lambda path=path: get(path)))  # type: ignore[misc]
            times.setdefault("begin and end of a run, on the disk", []).append(_median_ms(lambda home=home: _run(home)))  # type: ignore[misc]
            size_mb = os.path.getsize(home.state.ledger) / 1e6
    for what, (few, many) in times.items():
        yield Row(f"{what} at {SIZES[1]:,} rows", f"{many:.1f} ms", f"at {SIZES[0]:,} rows: {few:.1f} ms")
    yield Row(f"size at {SIZES[1]:,} rows", f"{size_mb:.0f} MB")


def _fill(home: Home, count: int) -> None:
    """Enter `count` runs of JOBS jobs, a minute apart, the last one now. The last 50 of job7 have an output."""
    now = time.time()
    folder = Path(home.output_dir, "job7")
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(7, count, JOBS)[-50:]:
        (folder / f"2027-03-15_09-00-00_{n}.md").write_text("# Cron Job: x\n\n**Duration:** 2.5s\n\n## Response\n\nx\n")
    with ledger.writing(home) as books:
        for n in range(count):
            due = now - 60 * (count - n)
            books.execute(
                "INSERT INTO runs (job, name, trigger, due, started, ended, outcome, exit_code, host, invocation, "
                "cpu_s, memory_bytes, usage, output, seq) VALUES (?, 'a name', 'schedule', ?, ?, ?, 'ok', 0, 'host', "
                "?, 0.5, 10000000, '{\"duration_seconds\": 2.5}', ?, ?)",
                (f"job{n % JOBS}", due, due + 0.1, due + 2.6, "0123456789abcdef" * 2, f"2027-03-15_09-00-00_{n}.md",
                 n + 1))


def _run(home: Home) -> None:
    now = time.time()
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, "job7", "a name", "manual", now, now)
    with ledger.writing(home, durable=True) as books:
        ledger.end_row(books, row, ledger.End(now, "ok"))


def _median_ms(use: Callable[[], object]) -> float:
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        use()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
