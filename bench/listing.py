"""Requests a second for GET /api/crons at 1,000 jobs, beside /health of the same server, over kept connections."""

import http.client
import os
import tempfile
import threading
import time
from pathlib import Path

from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from tests.conftest import start_server

JOBS, SECONDS, CLIENTS = 1000, 5.0, 4


def rate(port: int, path: str, token: str) -> tuple[float, int]:
    """Return the answers per second at `path`, and the size of one."""
    counts, size = [0] * CLIENTS, 0
    until = time.monotonic() + SECONDS

    def client(number: int) -> None:
        nonlocal size
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < until:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            size = len(response.read())
            assert response.status == 200
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS, size


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HERMES_HOME"] = folder
        service = JobService(Selection(folder, Foreground(folder)))
        for number in range(JOBS):
            service.create({"prompt": "say hello", "schedule": "30 8 * * 1,3", "name": f"job {number}"})
        process, url = start_server("--scheduler", "foreground", log=Path(folder, "log"))
        try:
            token = Path(folder, "cron/oscron/token").read_text().strip()
            port = int(url.rpartition(":")[2])
            listed, size = rate(port, "/api/crons", token)
            health, _ = rate(port, "/health", token)
            print(f"GET /api/crons at {JOBS} jobs, {size // 1024} KiB: {listed:.0f} a second")
            print(f"GET /health:                             {health:.0f} a second   ratio {listed / health:.2f}")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
