"""Our timers and all programs of the agent, on the same jobs of two profiles: each occurrence runs once.

Scripts and the model note each run, model.py judges. OSCRON_RACE_S races for longer than a minute.
"""

import contextlib
import datetime
import json
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.agent.model import Call, Model
from tests.conftest import wait_for
from tests.machine.agents import AGENT, PATH, agent
from tests.machine.box import INSIDE, Box
from tests.machine.model import RECORDING_S, Change, Evidence, Record, Run, Schedule, judge
from tests.machine.model import Call as ByHand
from tests.machine.sites import Site, add_account, free_port
from tests.machine.test_gateway import gateway

SECONDS = float(os.environ.get("OSCRON_RACE_S") or 60)
"""The time from the first occurrence of each job to its last."""
QUIET_S = 40.0
"""After the last occurrence. Then the jobs are paused."""
LATE_S = {"script": 15.0, "prompt": 45.0}
"""The agent takes seconds to start a prompt, and here several start at once."""
TICK_TIMEOUT_S = 15.0
SAMPLE_S = 0.3
DISCARDED = re.compile("stale result was discarded|ownership lost before terminal completion")
"""The end of a run in the agent's ledger whose result is lost."""
SCRIPT = """\
token=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
echo "start $(date +%s.%N) {name} $token $(tr '\\0' ' ' </proc/$PPID/cmdline)" >>~/race
sleep {seconds}
echo "answer $token"
echo "end $(date +%s.%N) {name} $token" >>~/race
"""
CONFIG = """\
cron:
  misfire_grace_minutes: 0.05
gateway:
  multiplex_profiles: true
"""


@dataclass
class Job:
    """A job that is due every minute, runs for `seconds`, and is also run by hand at `by_hand_at` of a minute."""

    name: str
    profile: str
    kind: str
    seconds: float = 0.2
    by_hand_at: int | None = None
    id: str = ""
    runs: list[Run] = field(default_factory=list)
    calls: list[ByHand] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def jobs_to_race(claims_runs: bool) -> list[Job]:
    """Return the jobs. Two run across a minute, which an agent without claims on runs does twice by itself."""
    across = [Job("across-prompt", "default", "prompt", 9, by_hand_at=52), Job("across-script", "work", "script", 65)]
    return [
        Job("script", "default", "script"), Job("prompt", "default", "prompt"),
        Job("by-hand-script", "default", "script", by_hand_at=20),
        Job("work-script", "work", "script"), Job("work-prompt", "work", "prompt", by_hand_at=25),
        *(across if claims_runs else []),
    ]


class Race:
    """Jobs in two profiles of `site`, and all that is noted of them."""

    def __init__(self, site: Site, model: Model) -> None:
        self.site, self.model = site, model
        self.homes = {"default": site.hermes, "work": f"{site.hermes}/profiles/work"}
        claims_runs = agent(site, "import cron.jobs\nanswer = hasattr(cron.jobs, 'heartbeat_fire_claim')")
        self.jobs = jobs_to_race(claims_runs)
        self.wrong: list[str] = []
        self.refused = 0
        model.answer = self._answer

    def create(self) -> None:
        """Create the jobs with the agent, early in a minute."""
        for job in self.jobs:
            if job.kind == "script":
                self.site.put(f"{self.homes[job.profile]}/scripts/{job.name}.sh",
                              SCRIPT.format(name=job.name, seconds=job.seconds))
        time.sleep((2 - time.time()) % 60 if time.time() % 60 > 30 else 0)
        self.begun = time.time()
        for profile, home in self.homes.items():
            made = agent(self.site, f"""
answer = {{}}
for name, kind in {[(job.name, job.kind) for job in self.jobs if job.profile == profile]!r}:
    work = {{'script': name + '.sh', 'no_agent': True}} if kind == 'script' else {{}}
    answer[name] = create_job('' if work else 'Prompt of ' + name + '.', '* * * * *', name=name, **work)['id']
""", home)
            for job in self.jobs:
                job.id = made.get(job.name, job.id)
        self.created = time.time()
        self.first = self.created // 60 * 60 + 60
        self.last = self.first + SECONDS // 60 * 60

    def run(self) -> None:
        """Race until the jobs have been paused and their last runs are recorded."""
        stopped = threading.Event()
        watcher = threading.Thread(target=self._watch_records, args=(stopped,))
        watcher.start()
        try:
            for profile, home in self.homes.items():
                by_hand = " ".join(f"{job.by_hand_at}:{job.id}" for job in self.jobs
                                   if job.profile == profile and job.by_hand_at)
                self.site.run(f"systemd-run --user --unit=crowd-{profile} --collect --setenv=HERMES_HOME={home} "
                              f"--setenv=PATH=$PATH -p StandardOutput=file:{self.site.home}/crowd-{profile} "
                              f"-p WorkingDirectory={self.site.home} {AGENT}/python {INSIDE}/tests/machine/crowd.py "
                              f"{self.last + QUIET_S - time.time():.0f} {by_hand}")
            time.sleep(self.last + QUIET_S - time.time())
            self.ended = time.time()
            for profile, home in self.homes.items():
                ids = [job.id for job in self.jobs if job.profile == profile]
                agent(self.site, f"answer = [bool(pause_job(job_id)) for job_id in {ids!r}]", home)
            self.paused = time.time()
            with contextlib.suppress(AssertionError):  # a script that was killed never ends, and is reported
                wait_for(self._have_all_ended, 120)
            time.sleep(RECORDING_S)
        finally:
            stopped.set()
            watcher.join()
        self._read_scripts()
        self._read_calls()

    def judge(self) -> Counter[str]:
        """Append to `wrong` what was lost, doubled or discarded, and return what was judged."""
        tally: Counter[str] = Counter()
        for job in self.jobs:
            outputs = [path.read_text() for path in self._inside(f"{self.homes[job.profile]}/cron/output/{job.id}")
                       .glob("*.md")]
            changes = [Change(self.begun, self.created, Schedule(self.first, 60)),
                       Change(self.ended, self.paused, None)]
            evidence = Evidence(job.name, LATE_S[job.kind], changes, calls=job.calls, records=job.records,
                                runs=sorted(job.runs, key=lambda run: run.start), outputs=outputs)
            if found := judge(evidence, self.paused, tally):
                self.wrong += [*found, self._story(evidence, job)]
            print(f"{job.name}: {len(job.runs)} runs, {len(job.calls)} by hand, {len(outputs)} outputs")
        for profile, home in self.homes.items():
            rows = agent(self.site, "from cron.executions import list_executions\nanswer = list_executions(limit=500)",
                         home)
            print(f"{profile}: the agent's ledger: {dict(Counter((row['source'], row['status']) for row in rows))}")
            self.wrong += [f"{profile}: a run of the agent was discarded: {row}" for row in rows
                           if DISCARDED.search(str(row["error"]))]
        return tally

    def runners(self) -> Counter[str]:
        """Return how many scripts each kind of program has run."""
        found: Counter[str] = Counter()
        for line in self._notes():
            if line.startswith("start"):
                parent = line.split(" ", 4)[4]
                found[next((name for word, name in (("hermes_oscron", "timer"), ("hermes-cron-exec", "timer"),
                                                    ("gateway", "gateway"), ("crowd", "crowd")) if word in parent),
                           parent)] += 1
        return found

    def _answer(self, call: Call) -> str:
        job = next((job for job in self.jobs if f"Prompt of {job.name}." in call.text), None)
        if not job:
            return "The model was here."
        token = secrets.token_hex(8)
        run = Run(token, call.at, None, 0, 1, job.seconds)
        job.runs.append(run)
        time.sleep(job.seconds)
        job.runs[job.runs.index(run)] = run._replace(end=time.time())
        return f"answer {token}"

    def _read_scripts(self) -> None:
        ends: dict[str, float] = {}
        for line in reversed(self._notes()):
            what, at, name, token = line.split()[:4]
            if what == "end":
                ends[token] = float(at)
            else:
                job = next(job for job in self.jobs if job.name == name)
                job.runs.append(Run(token, float(at), ends.get(token), 0, 1, job.seconds))

    def _read_calls(self) -> None:
        """Read the output of each `hermes cron run`. A call that was refused because the job runs does not count."""
        for profile in self.homes:
            for line in self._inside(f"{self.site.home}/crowd-{profile}").read_text().splitlines():
                if not line.startswith("{"):
                    continue
                call = json.loads(line)
                job = next(job for job in self.jobs if job.id == call["job_id"])
                if "Ran now: succeeded" in call["said"] or "next scheduler tick" in call["said"]:
                    job.calls.append(ByHand(call["begun"], call["done"]))
                elif "not run again" in call["said"] or "not started again" in call["said"]:
                    self.refused += 1
                else:
                    self.wrong.append(f"{job.name}: 'hermes cron run' at {call['begun']:.2f} said: {call['said']}")

    def _have_all_ended(self) -> bool:
        """Return True if no run is in progress, by whichever program."""
        events = Counter(line.split()[0] for line in self._notes())
        return (events["start"] == events["end"] and all(run.end for job in self.jobs for run in job.runs)
                and not self._is_active("'crowd-*.service'") and not self._is_active("'hermes-job@*.service'"))

    def _watch_records(self, stopped: threading.Event) -> None:
        while not stopped.wait(SAMPLE_S):
            for home in self.homes.values():
                with contextlib.suppress(OSError, ValueError):
                    for record in json.loads(self._inside(f"{home}/cron/jobs.json").read_bytes())["jobs"]:
                        self._note_record(record)

    def _note_record(self, record: dict[str, str]) -> None:
        job = next((job for job in self.jobs if job.id == record["id"]), None)
        if job and record["last_run_at"]:
            at = datetime.datetime.fromisoformat(record["last_run_at"]).timestamp()
            seen = Record(at, record["last_status"], record["last_error"] or "")
            if job.records[-1:] != [seen]:
                job.records.append(seen)

    def _story(self, evidence: Evidence, job: Job) -> str:
        journal = self.site.journal_of(f"hermes-job@{job.profile}:{job.id}.service").splitlines()[-40:]
        parts = {"calls": evidence.calls, "runs": evidence.runs, "records": evidence.records, "journal": journal}
        return f"{job.name}, due from {self.first:.0f} to {self.last:.0f}\n" + "\n".join(
            f"  {name}:\n" + "\n".join(f"    {each}" for each in found) for name, found in parts.items())

    def _notes(self) -> list[str]:
        return self._inside(f"{self.site.home}/race").read_text().splitlines()

    def _is_active(self, unit: str) -> bool:
        listed = self.site.systemctl(f"list-units --plain --no-legend --state=active,activating,deactivating {unit}")
        return bool(listed.strip())

    def _inside(self, path: str) -> Path:
        return Path(f"/proc/{self.site.box.leader}/root{path}")


def first_tick_s(site: Site) -> float:
    """Return the time from the start of the gateway to its first tick; from there it ticks once a minute.

    With the plugin it may never tick; then it does not matter.
    """
    begun = time.time()
    with gateway(site), contextlib.suppress(AssertionError):
        return float(wait_for(lambda: site.run(f"stat -c %.Y {site.hermes}/cron/ticker_heartbeat", check=False).stdout,
                              TICK_TIMEOUT_S)) - begun
    return 0


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.close()


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("plugin", [False, True], ids=["ticker", "plugin"])
def test_each_occurrence_runs_once_beside_all_programs_of_the_agent(machine: Box, model: Model, plugin: bool) -> None:
    account = "rita" if plugin else "rolf"
    add_account(machine, account)
    site = Site(machine, account, free_port(), PATH=PATH)
    for home in (site.hermes, f"{site.hermes}/profiles/work"):
        site.put(f"{home}/config.yaml", model.config + CONFIG)
    site.install()
    if plugin:
        site.oscron("plugin install")
    race = Race(site, model)
    to_first_tick = first_tick_s(site)
    race.create()
    time.sleep(max(0.0, race.first - to_first_tick - time.time()))
    with gateway(site):
        race.run()
    tally = race.judge()
    tick = site.run(f"stat -c %y {site.hermes}/cron/ticker_heartbeat", check=False).stdout[17:22]
    print(f"last tick of the gateway at second {tick or 'none'}")
    print(f"{len(race.jobs)} jobs, occurrences: {dict(tally)}, refused by hand: {race.refused}, "
          f"scripts run by {dict(race.runners())}")
    assert not race.wrong, "\n".join(race.wrong)
    assert tally["punctual"] + tally["late"] >= len(race.jobs)
