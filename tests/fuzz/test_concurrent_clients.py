"""Clients of two servers, and a terminal, at once on one home: nothing is lost, doubled or torn."""

import datetime
import fcntl
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.schedulers.protocol import Changes, Report
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler
from tests.conftest import Api, start_server, stored
from tests.fuzz.world import Ledger, World

STEPS, SEEDS = 30, (1, 2, 3)
VERBS = ["create"] * 4 + ["update"] * 3 + ["pause", "resume", "delete", "list", "status", "output", "bad"]


class Client:
    """Does what a seeded program says, and remembers what it was answered."""

    def __init__(self, seed: str, shared: list[str]) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.shared = shared
        self.made: dict[str, str] = {}
        self.deleted: list[str] = []
        self.answers: list[tuple[str, int, Any]] = []

    def step(self, number: int) -> None:
        verb = self.random.choice(VERBS)
        job_id = self.random.choice(self.shared) if self.shared else "nobody"
        if verb == "create":
            self.create(f"{self.seed}-{number}")
            return
        status, answer = self.do(verb, job_id)
        self.answers.append((verb, status, answer))
        if verb == "delete" and status == 200:
            self.deleted.append(job_id)

    def create(self, name: str) -> None:
        raise NotImplementedError

    def do(self, verb: str, job_id: str) -> tuple[int, Any]:
        raise NotImplementedError

    def schedule(self) -> str:
        return self.random.choice(["0 9 * * *", "every 2h", "weekdays at 9:30", "2040-01-01T09:00"])

    def keep(self, job_id: str, name: str) -> None:
        self.made[job_id] = name
        self.shared.append(job_id)


class HttpClient(Client):
    """One that calls a server."""

    def __init__(self, seed: str, shared: list[str], api: Api) -> None:
        super().__init__(seed, shared)
        self.api = api

    def create(self, name: str) -> None:
        status, answer = self.api.call("POST", "/api/crons/create",
                                       {"prompt": name, "name": name, "schedule": self.schedule()})
        self.answers.append(("create", status, answer))
        if status == 200:
            self.keep(answer["job"]["id"], name)

    def do(self, verb: str, job_id: str) -> tuple[int, Any]:
        if verb == "list":
            return self.api.call("GET", "/api/crons")
        if verb in ("status", "output"):
            return self.api.call("GET", f"/api/crons/{verb}?job_id={job_id}")
        body: dict[str, Any] = {"job_id": job_id}
        if verb == "update":
            body |= self.random.choice([{"schedule": self.schedule()}, {"deliver": "x"}, {"enabled": False}])
        if verb == "bad":
            verb, body["nobody"] = "update", 1
        return self.api.call("POST", f"/api/crons/{verb}", body)


class TerminalClient(Client):
    """One that types commands."""

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([sys.executable, "-m", "hermes_oscron.cli", *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def create(self, name: str) -> None:
        done = self.run("create", self.schedule(), name, "--name", name, "--json")
        assert done.returncode == 0, done.stderr
        self.keep(json.loads(done.stdout)["id"], name)

    def do(self, verb: str, job_id: str) -> tuple[int, Any]:
        arguments = {"list": ["list", "--json"], "status": ["sync"], "output": ["runs", job_id],
                     "update": ["update", job_id, "--schedule", self.schedule()],
                     "bad": ["update", job_id, "--schedule", "x"]}.get(verb, [verb, job_id])
        done = self.run(*arguments)
        assert done.returncode in (0, 1) and (done.returncode == 0) == ("Error: " not in done.stderr), done
        return (404 if "There is no job" in done.stderr else 400) if done.returncode else 200, done.stderr


class AgentClient(Client):
    """The agent: it reads and replaces the file itself, under the lock on which all agree."""

    def __init__(self, seed: str, shared: list[str], root: Path) -> None:
        super().__init__(seed, shared)
        self.cron = root / "cron"

    def step(self, number: int) -> None:
        self.create(f"{self.seed}-{number}")
        time.sleep(0.02)

    def create(self, name: str) -> None:
        job_id = os.urandom(6).hex()
        with (self.cron / ".jobs.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.cron / "jobs.json"
            jobs = json.loads(path.read_text())["jobs"] if path.exists() else []
            time.sleep(0.005)
            unfinished = path.with_name("theirs.json")
            unfinished.write_text(json.dumps({"jobs": [*jobs, {
                "id": job_id, "name": name, "prompt": name, "schedule": {"kind": "cron", "expr": "0 9 * * *"}}]}))
            unfinished.rename(path)
        self.keep(job_id, name)


@pytest.fixture
def apis(root: Path, tmp_path: Path) -> Iterator[list[Api]]:
    """Clients of two servers on one home, of which one fires."""
    (root / "oscron.toml").write_text('[scheduler]\nkind = "foreground"\n')
    started = [start_server("--scheduler", "foreground", log=tmp_path / "first.log")]
    token = (root / "cron" / "oscron" / "token").read_text().strip()
    second = tmp_path / "second.py"
    second.write_text(SECOND)
    port_file = tmp_path / "port"
    other = subprocess.Popen([sys.executable, str(second), str(root), str(port_file)])
    try:
        while not port_file.exists() or not port_file.read_text():
            assert other.poll() is None
        yield [Api(started[0][1], token), Api(f"http://127.0.0.1:{port_file.read_text()}", token)]
    finally:
        for process in (other, started[0][0]):
            process.terminate()
            process.wait(10)


SECOND = """
import sys, waitress
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.web.app import make_app
from hermes_oscron.web.authentication import Authenticator
root, port_file = sys.argv[1:]
selection = Selection(root, Foreground(root))
app = make_app(selection, JobService(selection), Authenticator(root))
server = waitress.create_server(app, port=0, host="127.0.0.1", threads=8)
with open(port_file, "w") as file:
    file.write(str(server.effective_port))
server.run()
"""
"""A second server, which fires nothing."""


def watch(path: Path, ended: threading.Event, seen: list[int]) -> None:
    """Read the file as often as can be: it is whole at any moment."""
    while not ended.is_set():
        if path.exists():
            seen.append(len(json.loads(path.read_bytes())["jobs"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_concurrent_clients_lose_no_change_and_end_in_a_correct_state(apis: list[Api], root: Path, seed: int) -> None:
    (root / "oscron.toml").write_text('[exec]\ncommand = ["cat"]\n')  # without an agent, commands print a note
    shared: list[str] = []
    clients: list[Client] = [HttpClient(f"{seed}-{n}", shared, Api(apis[n % 2].url, apis[0].token)) for n in range(6)]
    clients += [TerminalClient(f"{seed}-terminal", shared), AgentClient(f"{seed}-agent", shared, root)]
    ended, seen = threading.Event(), list[int]()
    with ThreadPoolExecutor(len(clients) + 1) as pool:
        watcher = pool.submit(watch, root / "cron" / "jobs.json", ended, seen)
        try:
            work = [pool.submit(lambda client: [client.step(number) for number in range(
                STEPS // 4 if isinstance(client, TerminalClient) else STEPS)], client) for client in clients]
            for each in work:
                each.result()
        finally:
            ended.set()
        watcher.result()
    for client in clients:
        for verb, status, answer in client.answers:
            assert status in ALLOWED[verb], (verb, status, answer)
    made = {job_id: name for client in clients for job_id, name in client.made.items()}
    deleted = [job_id for client in clients for job_id in client.deleted]
    assert len(made) == sum(len(client.made) for client in clients) and len(deleted) == len(set(deleted))
    records = stored(root)
    assert len(records) == len({record["id"] for record in records})
    assert {record["id"]: record["name"] for record in records} == {
        job_id: name for job_id, name in made.items() if job_id not in deleted}
    assert seen and not list((root / "cron").glob(".*.tmp"))
    for api in apis:
        assert {job["id"] for job in api.get("/api/crons")["jobs"]} == {record["id"] for record in records}
    assert_enabled_jobs_are_armed(root)


ALLOWED = {"create": {200}, "list": {200}, "status": {200}, "output": {200, 404}, "bad": {400, 404},
           "update": {200, 400, 404}, "pause": {200, 404}, "resume": {200, 404}, "delete": {200, 404}}


def assert_enabled_jobs_are_armed(root: Path) -> None:
    """One sync, and what is armed is what is enabled, by the schedule it has."""
    ledger = Ledger(str(root))
    selection = Selection(str(root), ledger)
    assert not Reconciler(selection).sync().problems
    jobs = JobService(selection).list_jobs()["jobs"]
    wanted = {f"default:{job['id']}": job["schedule"] for job in jobs if job["enabled"]}
    assert {instance: plan.schedule._asdict() for instance, plan in ledger.armed.items()} == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_concurrent_threads_of_one_server_arm_the_last_change_written(root: Path, seed: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sync: the last one written is the one armed."""
    (root / "scripts").rmdir()
    world = World(root)
    apply = world.scheduler.apply

    def apply_slowly(changes: Changes, now: datetime.datetime) -> Report:
        time.sleep(random.random() / 200)
        return apply(changes, now)

    monkeypatch.setattr(world.scheduler, "apply", apply_slowly)
    job_id = world.post("create", {"prompt": "x", "schedule": "0 9 * * *"})[1]["job"]["id"]
    chosen = random.Random(seed)

    def work(hours: int) -> None:
        verb = chosen.choice(["pause", "resume", "update", "update"])
        body = {"job_id": job_id, **({"schedule": f"every {hours}h"} if verb == "update" else {})}
        assert world.post(verb, body)[0] == 200

    with ThreadPoolExecutor(4) as pool:
        for _ in range(25):
            list(pool.map(work, range(1, 5)))
            job = world.jobs()[job_id]
            armed = [plan.schedule._asdict() for plan in world.scheduler.armed.values()]
            assert armed == ([job["schedule"]] if job["enabled"] else [])
