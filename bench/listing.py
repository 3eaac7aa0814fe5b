"""The list and the status: answers a second while nothing changes; the first list after a change.

Beside them is waitress with an application that answers as many bytes, always the same. It is the limit of any
application that waitress serves.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.table import Row
from tests.conftest import start_server

TITLE = "Reading over HTTP"
SECONDS, CLIENTS, CHANGES = 5.0, 4, 15


def rows() -> Iterator[Row]:
    for jobs, first_target, list_target, status_target in ((1000, "5 ms", "1,500 a second", ""),
                                                           (5000, "20 ms", "", "3,000 a second")):
        with serving(jobs) as (_, url):
            token = Path(os.environ["HERMES_HOME"], "cron/oscron/token").read_text().strip()
            port = int(url.rpartition(":")[2])
            for path, headers, name, target in (
                ("/api/crons", None, f"`GET /api/crons` at {jobs:,} jobs, {{:,}} KiB, unchanged", list_target),
                ("/api/crons", {"If-None-Match": "*"}, f"the same with `If-None-Match`, {jobs:,} jobs", ""),
                ("/api/crons/status", None, f"`GET /api/crons/status` at {jobs:,} jobs", status_target),
                ("/health", None, "`GET /health`", ""),
            ):
                answers, size = rate(port, path, token, headers)
                with constant(size) as bare:
                    bare_answers, _ = rate(bare, "/", token)
                yield Row(name.format(size // 1024), f"{answers:,.0f} a second",
                          f"waitress alone: {bare_answers:,.0f} a second", target)
            changed, unchanged = first_list_ms(port, token)
            yield Row(f"the first list after a change, {jobs:,} jobs", f"{changed:.1f} ms",
                      f"the next one: {unchanged:.1f} ms", first_target)


@contextmanager
def serving(jobs: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield a foreground server of a new home with that many `jobs`, and its URL."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HERMES_HOME"] = folder
        _write_jobs(folder, jobs)
        process, url = start_server("--scheduler", "foreground", log=Path(folder, "log"))
        try:
            yield process, url
        finally:
            process.terminate()
            process.wait()


@contextmanager
def constant(size: int) -> Iterator[int]:
    """Yield the port of waitress with an application that answers `size` bytes, always the same."""
    program = f"""import waitress
content = b"x" * {size}
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "{size}")])
    return [content]
server = waitress.create_server(app, host="127.0.0.1", port=0, threads=8, ident=None)
print(server.effective_port, flush=True)
server.run()"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def _write_jobs(folder: str, count: int) -> None:
    """Write a jobs.json with `count` jobs, as the agent writes it."""
    records = [{"id": f"job{n}", "name": f"job {n}", "prompt": "say hello", "deliver": "local", "enabled": True,
                "state": "scheduled", "schedule": {"kind": "cron", "expr": "30 8 29 2 1", "display": "x"}}
               for n in range(count)]
    os.mkdir(f"{folder}/cron")
    Path(folder, "cron/jobs.json").write_text(json.dumps({"jobs": records}, indent=2))


def rate(port: int, path: str, token: str, headers: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Return the answers per second at `path`, over kept connections, and the size of one."""
    counts, size = [0] * CLIENTS, 0
    until = time.monotonic() + SECONDS

    def client(number: int) -> None:
        nonlocal size
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < until:
            size = len(call(connection, token, "GET", path, headers=headers))
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS, size


def first_list_ms(port: int, token: str) -> tuple[float, float]:
    """Return the median times, in ms, of the first list after a job was renamed, and of the one after that."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    changed, unchanged = [], []
    for n in range(CHANGES):
        call(connection, token, "POST", "/api/crons/update", {"job_id": "job7", "name": f"name {n}"})
        for times in (changed, unchanged):
            began = time.perf_counter()
            call(connection, token, "GET", "/api/crons")
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(changed), statistics.median(unchanged)


def call(connection: http.client.HTTPConnection, token: str, method: str, path: str, body: Any = None,
         headers: Mapping[str, str] | None = None) -> bytes:
    """Return the answer, which must be 200, or 304 to a client that sends If-None-Match in `headers`."""
    connection.request(method, path, json.dumps(body) if body else None,
                       {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    content = response.read()
    assert response.status == (304 if headers else 200), content
    return content
