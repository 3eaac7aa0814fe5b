"""A Hermes home of its own, the API on it without a socket, and a scheduler that only writes down what is armed."""

import datetime
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import pytest

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.hermes.home import home_of, split_instance
from hermes_oscron.runs import requests
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.plan import without_paused
from hermes_oscron.schedulers.protocol import NO_LIMITS, Availability, Changes, Drift, EndOfStart, Limits, Plan, Report
from hermes_oscron.service.doctor import Doctor
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.preview import Preview, preview
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler, SyncReport
from hermes_oscron.web.app import make_app
from hermes_oscron.web.authentication import Authenticator
from tests import wsgi


class Ledger(Foreground):
    """Fires nothing: `armed` has the plans that were applied, `ran` the instances that were started."""

    def __init__(self, root: str, armed: MutableMapping[str, Plan] | None = None) -> None:
        super().__init__(root)
        self._root = root
        self.armed: MutableMapping[str, Plan] = {} if armed is None else armed
        self.ran: list[str] = []

    def availability(self) -> Availability:
        return Availability(True)

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        wanted = without_paused(plans)
        return Drift({instance: "it differs." for instance in {**wanted, **self.armed}
                      if wanted.get(instance) != self.armed.get(instance)}, {})

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        wanted = without_paused(changes.arm)
        stale = [instance for instance in {*changes.disarm, *changes.deleted, *changes.arm}
                 if instance in self.armed and instance not in wanted]
        for instance in stale:
            del self.armed[instance]
        for instance, plan in wanted.items():
            self.armed[instance] = plan
        return Report(sorted(wanted), sorted(stale), [])

    def remove_all(self) -> None:
        self.armed.clear()

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        self.ran.append(instance)
        profile, job_id = split_instance(instance)
        requests.take(home_of(self._root, profile), job_id).answer(begun=True)
        return lambda: None


class OpenAuthenticator(Authenticator):
    """An authenticator that accepts every caller."""

    auth_disabled = True


class World:
    """One home under `root`, and every command on it."""

    def __init__(self, root: Path, scheduler: Ledger | None = None, clock: Clock = CLOCK) -> None:
        self.root = root
        self.jobs_file = root / "cron" / "jobs.json"
        self.jobs_file.parent.mkdir(parents=True)
        (root / "scripts").mkdir()
        (root / "oscron.toml").write_text('[exec]\ncommand = ["cat"]\n')
        self.scheduler = scheduler or Ledger(str(root))
        self._selection = Selection(str(root), self.scheduler)
        self._clock = clock
        self._reconciler = Reconciler(self._selection, clock)
        self.service = JobService(self._selection, clock)
        self._app = make_app(self._selection, self.service, OpenAuthenticator(str(root)))

    def sync(self) -> SyncReport:
        return self._reconciler.sync()

    def plans(self) -> dict[str, Plan]:
        """Return what should be armed now."""
        return without_paused(self._reconciler.plans(self._clock.now()))

    def diagnose(self) -> list[str]:
        """Return what `hermes-oscron doctor` finds."""
        return [each.sentence for each in Doctor(self._selection, self._clock).diagnose()]

    def preview(self) -> list[Preview]:
        """Return what `hermes-oscron adopt --dry-run` prints."""
        return preview(self._selection, self._clock)

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None,
             **query: str) -> tuple[int, Any]:
        """Return the status and the answer to a request; the answer must be JSON as every client reads it."""
        sent = raw if raw is not None else json.dumps(body).encode()
        headers = {"Host": "localhost", "Content-Type": "application/json"}
        target = f"{quote(path)}?{urlencode(query)}"
        status, _, answer = wsgi.call(self._app, method, target, sent, headers, "127.0.0.1")
        return status, json.loads(answer, parse_constant=not_json)

    def post(self, verb: str, body: Any) -> tuple[int, Any]:
        return self.call("POST", f"/api/crons/{verb}", body)

    def get(self, path: str = "", **query: str) -> tuple[int, Any]:
        return self.call("GET", f"/api/crons{path}", **query)

    def jobs(self) -> dict[str, Any]:
        """Return the jobs that are listed, by id."""
        status, answer = self.get()
        assert status == 200, answer
        return {job["id"]: job for job in answer["jobs"]}

    def document(self) -> Any:
        """Return what is in jobs.json."""
        return json.loads(self.jobs_file.read_bytes()) if self.jobs_file.exists() else {"jobs": []}

    def stored(self) -> dict[str, Any]:
        """Return the records of jobs.json, by id."""
        return {record["id"]: record for record in self.document()["jobs"]}

    def put(self, content: Any) -> None:
        """Replace jobs.json by `content`, bytes or a value to be written as JSON, as an editor does."""
        unfinished = self.jobs_file.with_name("jobs.json.new")
        unfinished.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        unfinished.rename(self.jobs_file)


def not_json(word: str) -> NoReturn:
    raise AssertionError(f"{word} is not JSON")


@contextmanager
def new_world(zone: str = "UTC") -> Iterator[World]:
    """Make a world in `zone`, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_HOME", f"{folder}/hermes")
        patch.setenv("HERMES_TIMEZONE", zone)
        os.mkdir(f"{folder}/hermes")
        yield World(Path(folder) / "hermes")
