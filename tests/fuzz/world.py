"""A Hermes home of its own, the API on it without a socket, and a scheduler that only writes down what is armed."""

import datetime
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import pytest

from hermes_oscron.bridge import Bridge
from hermes_oscron.hermes import homes, requests
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.plan import Plan, Report, nothing, to_fire
from hermes_oscron.web.app import make_app
from hermes_oscron.web.credentials import Door
from tests import wsgi


class Ledger(Foreground):
    """Fires nothing: `armed` is what it was told to fire, `ran` what it was told to run."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._root = root
        self.armed: dict[str, Plan] = {}
        self.ran: list[str] = []

    def unavailable(self) -> str | None:
        return None

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        self.armed.pop(plan.instance, None)
        if not plan.paused:
            self.armed[plan.instance] = plan

    def disarm(self, instances: Iterable[str]) -> None:
        for instance in instances:
            self.armed.pop(instance, None)

    def forget(self, instance: str) -> None:
        self.disarm([instance])

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        wanted = {**{known: plan for known, plan in self.armed.items() if leave(known)},
                  **{known: plan for known, plan in to_fire(plans).items() if not leave(known)}}
        before, self.armed = self.armed, wanted
        return Report(sorted(wanted.keys() - before), sorted(before.keys() - wanted), {}, unwatched=[])

    def catch_up(self, instance: str) -> None:
        self.ran.append(instance)

    def run(self, instance: str) -> Callable[[], str | None]:
        self.ran.append(instance)
        profile, job_id = homes.split_instance(instance)
        requests.take(homes.home(self._root, profile), job_id).answer(begun=True)
        return lambda: None


class OpenDoor(Door):
    """Lets everyone in."""

    is_open = True


class World:
    """One home under ROOT."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs_file = root / "cron" / "jobs.json"
        self.jobs_file.parent.mkdir(parents=True)
        (root / "scripts").mkdir()
        self.scheduler = Ledger(str(root))
        self.use(Bridge(str(root), self.scheduler))

    def use(self, bridge: Bridge) -> None:
        """Have BRIDGE asked from here on."""
        self.bridge = bridge
        self._app = make_app(bridge, OpenDoor(str(self.root)))

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None,
             **query: str) -> tuple[int, Any]:
        """The status and the answer, which must be JSON as every client reads it, to METHOD PATH."""
        sent = raw if raw is not None else json.dumps(body).encode()
        headers = {"Host": "localhost", "Content-Type": "application/json"}
        target = f"{quote(path)}?{urlencode(query)}"
        status, _, answer = wsgi.call(self._app, method, target, sent, headers, "127.0.0.1")
        return status, json.loads(answer, parse_constant=no_json)

    def post(self, verb: str, body: Any) -> tuple[int, Any]:
        return self.call("POST", f"/api/crons/{verb}", body)

    def get(self, path: str = "", **query: str) -> tuple[int, Any]:
        return self.call("GET", f"/api/crons{path}", **query)

    def jobs(self) -> dict[str, Any]:
        """The jobs that are listed, by id."""
        status, answer = self.get()
        assert status == 200, answer
        return {job["id"]: job for job in answer["jobs"]}

    def document(self) -> Any:
        """What is in jobs.json."""
        return json.loads(self.jobs_file.read_bytes()) if self.jobs_file.exists() else {"jobs": []}

    def stored(self) -> dict[str, Any]:
        """The records of jobs.json, by id."""
        return {record["id"]: record for record in self.document()["jobs"]}

    def put(self, content: Any) -> None:
        """Replace jobs.json, by bytes or by something as JSON, as an editor does."""
        unfinished = self.jobs_file.with_name("jobs.json.new")
        unfinished.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        unfinished.rename(self.jobs_file)


def no_json(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")


@contextmanager
def new_world(zone: str = "UTC") -> Iterator[World]:
    """A world in ZONE that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_HOME", f"{folder}/hermes")
        patch.setenv("HERMES_TIMEZONE", zone)
        os.mkdir(f"{folder}/hermes")
        yield World(Path(folder) / "hermes")
