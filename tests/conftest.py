"""A Hermes home of its own for every test, and a real server on it."""

import datetime
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.hermes import homes
from hermes_oscron.hermes.homes import Home

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or be another account")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hermes root with nothing in it, in UTC."""
    path = tmp_path / "hermes"
    (path / "scripts").mkdir(parents=True)
    monkeypatch.setenv("HERMES_HOME", str(path))
    monkeypatch.setenv("HERMES_TIMEZONE", "UTC")
    return path


@pytest.fixture
def home(root: Path) -> Home:
    """The home of the profile `default`."""
    return homes.home(str(root), "default")


def write_script(root: Path, name: str, text: str) -> str:
    """Put a script into ROOT's scripts folder; its name."""
    (root / "scripts" / name).write_text(text)
    return name


def write_waiting_script(root: Path) -> str:
    """A script that says `waited` and ends once `let_go` is called, or by itself after ten seconds; its name."""
    return write_script(root, "waiting.sh", f'for i in $(seq 500); do [ -e "{root}/go" ] && break; sleep 0.02; done\n'
                                            "echo waited\n")


def let_go(root: Path) -> None:
    """Let the waiting script in ROOT end."""
    (root / "go").touch()


def write_jobs(root: Path, *records: dict[str, Any], **others: Any) -> Path:
    """Put RECORDS, and OTHERS beside them, into ROOT's jobs.json as the agent might; its path."""
    path = root / "cron" / "jobs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name("jobs.json.new")
    unfinished.write_text(json.dumps({"jobs": list(records), **others}))
    return unfinished.rename(path)


def stored(root: Path) -> list[Any]:
    """The records in ROOT's jobs.json."""
    path = root / "cron" / "jobs.json"
    jobs: list[Any] = json.loads(path.read_text())["jobs"] if path.exists() else []
    return jobs


def in_seconds(seconds: float) -> str:
    """The ISO time SECONDS from now, in UTC."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


def sleep_past(schedule: dict[str, str]) -> None:
    """Sleep until a moment after the one-shot SCHEDULE is due, in which a job that fires would have been seen."""
    due = datetime.datetime.fromisoformat(schedule["expression"])
    time.sleep(max(0.0, due.timestamp() - time.time()) + 0.7)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer of CONDITION; an AssertionError when SECONDS go by without one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"it did not come true in {seconds} s")


class Api:
    """A client of a server: every call is the status and the JSON that came back."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None,
             headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """METHOD PATH with BODY as JSON, or RAW as it is; HEADERS replace the usual ones."""
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        sent.update(headers or {})
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                self.headers = response.headers
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                self.headers = error.headers
                return error.code, json.load(error)

    def get(self, path: str) -> Any:
        """The JSON at PATH; the call must succeed."""
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any) -> Any:
        """The answer to BODY at PATH; the call must succeed."""
        status, answer = self.call("POST", path, body)
        assert status == 200, answer
        return answer

    def create(self, **fields: Any) -> Any:
        """Make a job, daily and with a prompt unless FIELDS say otherwise; the job."""
        return self.post("/api/crons/create", {"prompt": "say hello", "schedule": "0 9 * * *", **fields})["job"]

    def job(self, job_id: str) -> Any:
        """The job JOB_ID of the list, or None."""
        return next((job for job in self.get("/api/crons")["jobs"] if job["id"] == job_id), None)


    def refused(self, path: str, body: Any) -> tuple[int, str]:
        """The status and the sentence with which BODY at PATH is refused; the call must fail."""
        status, answer = self.call("POST", path, body)
        assert set(answer) == {"error"}, answer
        return status, answer["error"]

    def run_to_end(self, job_id: str) -> Any:
        """Run JOB_ID and wait until the run is recorded; the job then."""
        completed = self.job(job_id)["repeat"]["completed"]
        assert self.post("/api/crons/run", {"job_id": job_id})["ok"]
        wait_for(lambda: self.job(job_id)["repeat"]["completed"] > completed and not self.running())
        return self.job(job_id)

    def start_run(self, job_id: str) -> None:
        """Run JOB_ID and wait until it is running."""
        assert self.post("/api/crons/run", {"job_id": job_id})["ok"]
        wait_for(lambda: job_id in self.running())

    def running(self) -> Any:
        """The running jobs and for how long they have been."""
        return self.get("/api/crons/status")["running"]

    def outputs(self, job_id: str) -> list[str]:
        """The contents of the outputs of JOB_ID, newest first."""
        return [output["content"] for output in self.get(f"/api/crons/output?job_id={job_id}")["outputs"]]


def start_server(*arguments: str, log: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """A real `hermes-oscron serve` with ARGUMENTS on a free port; its process and its URL."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "hermes_oscron.cli", "serve", "--port", "0", *arguments],
                                   stdout=file, stderr=file, env=os.environ)

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        said = log.read_text().partition("Listening on ")[2]
        return said.partition(";")[0].partition(" ")[0] if ";" in said else None

    return process, wait_for(address)


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a server on ROOT whose foreground scheduler fires."""
    process, url = start_server("--scheduler", "foreground", log=tmp_path / "serve.log")
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def api(server: str, root: Path) -> Api:
    """A client of SERVER that has the token."""
    return Api(server, (root / "cron" / "oscron" / "token").read_text().strip())
