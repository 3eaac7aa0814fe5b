"""The verbs, each in a process to which something happens, and what is true after it and one sync."""

import datetime
import json
import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from hermes_oscron.bridge import Bridge
from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.hermes.store import StoreError
from hermes_oscron.schedulers.plan import Plan, Report, SchedulerError, nothing, to_fire
from tests.fuzz.records import record
from tests.fuzz.world import Ledger, World

Verb = Callable[[World], tuple[int, Any]]


def sync(world: World) -> tuple[int, Any]:
    """As `hermes-oscron sync`."""
    try:
        return 200, world.bridge.sync()._asdict()
    except (SchedulerError, StoreError, OSError) as error:
        return 503, {"error": str(error).removesuffix(".") + "."}


VERBS: dict[str, Verb] = {
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
    """Plans in files, as timers are: they outlive the process that was killed as it wrote them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, instance: str) -> Plan:
        try:
            plan: Plan = pickle.loads((self._folder / instance).read_bytes())
        except FileNotFoundError:
            raise KeyError(instance) from None
        except (EOFError, pickle.UnpicklingError):
            return plan_of_nothing(instance)
        return plan

    def __setitem__(self, instance: str, plan: Plan) -> None:
        (self._folder / instance).write_bytes(pickle.dumps(plan))

    def __delitem__(self, instance: str) -> None:
        (self._folder / instance).unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(os.listdir(self._folder)))

    def __len__(self) -> int:
        return len(os.listdir(self._folder))


def plan_of_nothing(instance: str) -> Plan:
    """What a torn file says: nothing that anybody would want."""
    return Plan(instance, None, None, None)  # type: ignore[arg-type]


class FileLedger(Ledger):
    """Fires nothing, and keeps what it was told to fire in FOLDER."""

    def __init__(self, root: str, folder: Path) -> None:
        super().__init__(root)
        self.armed: MutableMapping[str, Plan] = Timers(folder)  # type: ignore[assignment]

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        wanted = {instance: plan for instance, plan in to_fire(plans).items() if not leave(instance)}
        stale = [instance for instance in self.armed if instance not in wanted and not leave(instance)]
        self.disarm(stale)
        changed = [instance for instance, plan in wanted.items() if self.armed.get(instance) != plan]
        for instance in changed:
            self.armed[instance] = wanted[instance]
        return Report(changed, stale, {}, unwatched=[])

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        wanted = to_fire(plans)
        return {instance: "differs" for instance in {*self.armed, *wanted}
                if self.armed.get(instance) != wanted.get(instance)}


class Faulty:
    """A Hermes home at ROOT with some jobs, and what fires them in TIMERS, outside of it as /run is."""

    def __init__(self, root: Path, timers: Path, clock: Clock = CLOCK) -> None:
        self.root, self.timers = root, timers
        timers.mkdir(exist_ok=True)
        self.world = World(root)
        self.world.scheduler = FileLedger(str(root), timers)
        self.world.use(Bridge(str(root), self.world.scheduler, clock))
        self.world.put({"version": 2, "jobs": JOBS, "theirs": [1]})
        self.world.bridge.sync()

    def suffer(self, verb: str, fault: Callable[[], None]) -> tuple[int, Any] | None:
        """The status and the answer of VERB in a process that has met FAULT; None where that was the end of it."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                fault()
                os.write(writing, json.dumps(VERBS[verb](self.world)).encode())
            except BaseException:
                os.write(writing, json.dumps([0, traceback.format_exc()]).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return tuple(json.loads(told)) if told else None  # type: ignore[return-value]

    def assert_one_sync_puts_it_right(self, changed: Iterable[str] = ()) -> None:
        """No record is lost or torn but those CHANGED, what fires is what jobs.json says, and nothing is left to do."""
        self.world.bridge.sync()
        stored = self.world.stored()
        for job in JOBS:
            if job["id"] not in changed:
                assert stored[job["id"]]["theirs"] == job["theirs"]
        assert self.world.document()["theirs"] == [1]
        wanted = to_fire(self.world.bridge.plans(datetime.datetime.now(datetime.UTC)))
        assert dict(self.world.scheduler.armed) == wanted
        assert self.world.bridge.faults() == []
        again = self.world.bridge.sync()
        assert not again.armed and not again.disarmed and not again.refused


def assert_told(answer: tuple[int, Any] | None) -> None:
    """ANSWER is what was asked for, or a sentence that names what failed."""
    assert answer is not None
    status, said = answer
    assert status in (200, 503), said
    if status == 503:
        assert said["error"].endswith(".") and "Traceback" not in said["error"]
