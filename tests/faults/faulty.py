"""The commands, each in a process to which something happens, and what is true after it and one sync."""

import json
import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.files import StateFileError
from hermes_oscron.schedulers.protocol import Plan, SchedulerError
from tests.fuzz.records import record
from tests.fuzz.world import Ledger, World

Command = Callable[[World], tuple[int, Any]]


def sync(world: World) -> tuple[int, Any]:
    """As `hermes-oscron sync`."""
    try:
        return 200, world.sync()._asdict()
    except (SchedulerError, StateFileError, OSError) as error:
        return 503, {"error": str(error).removesuffix(".") + "."}


COMMANDS: dict[str, Command] = {
    "create": lambda world: world.post("create", {"prompt": "x", "schedule": "every 2h"}),
    "update": lambda world: world.post("update", {"job_id": "one", "schedule": "every 3h", "name": "new"}),
    "pause": lambda world: world.post("pause", {"job_id": "one"}),
    "resume": lambda world: world.post("resume", {"job_id": "three"}),
    "run": lambda world: world.post("run", {"job_id": "one"}),
    "delete": lambda world: world.post("delete", {"job_id": "one"}),
    "sync": sync,
    "list": lambda world: world.get(),
}
JOBS = [record("one"), record("two", schedule={"kind": "interval", "minutes": 90}),
        record("three", enabled=False, state="paused"), record("stale", next_run_at=None)]


class Timers(MutableMapping[str, Plan]):
    """Plans in files, as timers are: they outlive a process that is killed while it writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, instance: str) -> Plan:
        try:
            plan: Plan = pickle.loads((self._folder / instance).read_bytes())
        except FileNotFoundError:
            raise KeyError(instance) from None
        except (EOFError, pickle.UnpicklingError):
            return damaged_plan(instance)
        return plan

    def __setitem__(self, instance: str, plan: Plan) -> None:
        (self._folder / instance).write_bytes(pickle.dumps(plan))

    def __delitem__(self, instance: str) -> None:
        (self._folder / instance).unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(os.listdir(self._folder)))

    def __len__(self) -> int:
        return len(os.listdir(self._folder))


def damaged_plan(instance: str) -> Plan:
    """Return what a torn file holds: nothing that any job wants."""
    return Plan(instance, None, None, None)  # type: ignore[arg-type]


class Faulty:
    """A Hermes home at `root` with some jobs; what is armed is in `timers`, outside of it as /run is."""

    def __init__(self, root: Path, timers: Path, clock: Clock = CLOCK) -> None:
        self.root, self.timers = root, timers
        timers.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        self.world = World(root, Ledger(str(root), Timers(timers)), clock)
        self.world.put({"version": 2, "jobs": JOBS, "theirs": [1]})
        self.world.sync()

    def run_with_fault(self, command: str, fault: Callable[[], None]) -> tuple[int, Any] | None:
        """Return the status and the answer of `command` in a process that `fault` has met; None if that ended it."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                fault()
                os.write(writing, json.dumps(COMMANDS[command](self.world)).encode())
            except BaseException:
                os.write(writing, json.dumps([0, traceback.format_exc()]).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return tuple(json.loads(told)) if told else None  # type: ignore[return-value]

    def assert_one_sync_repairs_it(self, changed: Iterable[str] = ()) -> None:
        """No record but those `changed` is lost or torn, every job is armed, and nothing is left to do."""
        self.world.sync()
        stored = self.world.stored()
        for job in JOBS:
            if job["id"] not in changed:
                assert stored[job["id"]]["theirs"] == job["theirs"]
        assert self.world.document()["theirs"] == [1]
        assert dict(self.world.scheduler.armed) == self.world.plans()
        assert self.world.diagnose() == []
        again = self.world.sync()
        assert not again.armed and not again.disarmed and not again.problems


def assert_reported(answer: tuple[int, Any] | None) -> None:
    """The `answer` is what was requested, or a sentence that names what failed."""
    assert answer is not None
    status, said = answer
    assert status in (200, 503), said
    if status == 503:
        assert said["error"].endswith(".") and "Traceback" not in said["error"]
