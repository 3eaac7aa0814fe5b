"""The fault injector: jobs on a machine, what is done to them and to what runs them, and what is seen of it.

What it decides comes from a seed alone: step N of a seed is always the same kind of step with the same dice. What it
has done and seen is the evidence for the judge, model.py.
"""

import contextlib
import datetime
import fcntl
import http.client
import json
import math
import os
import random
import re
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import wait_at_most, wait_for
from tests.machine.box import Box
from tests.machine.model import STARTING_S, Call, Change, Evidence, Fault, Record, Row, Run, Schedule
from tests.machine.sites import CrontabSite, Site, helper_works

LOG = "/var/log/chaos/runs"
"""The output of the scripts, on another disk than the homes."""
SCRIPT = f"""\
read -r _ seconds code lines <<<"$HERMES_JOB_NAME"
token=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
echo "start $(date +%s.%N) $token $HERMES_JOB_ID $seconds $code $lines $$" >>{LOG}
for ((i = 0; i < lines; i++)); do echo "line $i of $token"; done
sleep "$seconds"
echo "end $(date +%s.%N) $token" >>{LOG}
exit "$code"
"""
CRON_PERIODS_S = {"* * * * *": 60, "*/2 * * * *": 120}
RECURRING = [*CRON_PERIODS_S, "* * * * *", "every 1m", "every 1m", "every 2m"]
LATE_S = 20.0
"""A job starts within this time after it is due, also if the test machine is crowded."""
EDIT_S = 5.0
"""An edit of jobs.json by hand is armed within this time."""
SAMPLE_S = 0.2
DOCTOR_S = 3.0
RUNNER, SCRIPT_OF_JOB = b"hermes-cron-exec", b"work.sh"
CRON = b"/CRON\0"
"""A process of cron(8) for one job."""
SERVER, SYNC, HELPER = b"hermes-oscron\0serve", b"hermes-oscron\0sync", b"hermes_oscron.privileged"
SPOILT = b"# spoilt by hand\n"
TORN = (b"", b'{"jobs": [', None)
"""The contents of a torn jobs.json; None is its first half."""


@dataclass
class Job:
    """A job, and everything that happened to it."""

    id: str
    site: Site
    name: str
    changes: list[Change] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    alive: bool = True
    busy_until: float = 0.0
    """Until then something else may be armed than jobs.json says, or the other way round."""

    @property
    def unit(self) -> str:
        return f"hermes-job@default:{self.id}"


@dataclass
class Incident:
    """A fault, which goes on while `done` is infinite; of all jobs of its sites where `jobs` is None."""

    begun: float
    what: str
    sites: list[Site]
    jobs: list[Job] | None
    kinds: dict[str, bool]
    done: float = math.inf

    def hits(self, job: Job) -> bool:
        return job.site in self.sites and (self.jobs is None or job in self.jobs)


class State(NamedTuple):
    """The state of a site at `at`: its records by id, None if jobs.json cannot be read, the jobs that are armed,
    those whose timer was damaged, and those whose run was cut off and is not recorded yet."""

    at: float
    records: dict[str, Any] | None
    armed: set[str]
    spoilt: set[str]
    cut_off: set[str]


class Process(NamedTuple):
    pid: int
    words: bytes
    uid: int


class Chaos:
    """One fault injection on `box`."""

    def __init__(self, box: Box, sites: list[Site], seed: str) -> None:
        self.box, self.sites, self.seed = box, sites, seed
        self.jobs: list[Job] = []
        self.incidents: list[Incident] = []
        self.wrong: list[str] = []
        """Problems that were seen while it happened."""
        self.steps: list[str] = []
        self.doctors = 0
        self._stopped = threading.Event()
        self._on = threading.Event()
        self._unresolved: list[tuple[Job, float, bool]] = []
        self._made = 0
        self._uids = {site: int(box.run(f"id -u {site.user}").stdout) for site in sites}

    # The whole of it

    def prepare(self, jobs: int) -> None:
        """Make so many jobs, a one-shot at each site among them."""
        self.box.run(f"mkdir -m 1777 {LOG.rpartition('/')[0]} && touch {LOG} && chmod 666 {LOG}")
        for site in self.sites:
            site.script("work.sh", SCRIPT)
        dice = random.Random(self.seed)
        for nth in range(jobs - len(self.sites)):
            self._create(self.sites[nth % len(self.sites)], dice, dice.choice(RECURRING))
        for site in self.sites:
            self._create(site, dice, site.soon(20))

    def inject(self, seconds: float) -> None:
        """Inject faults for so long, a reboot and a power cut among them, while doctor and jobs.json are watched."""
        self._on.set()
        watchers = [threading.Thread(target=watch) for watch in (self._watch_records, self._watch_doctor)]
        for watcher in watchers:
            watcher.start()
        begun = time.time()
        machine_wide = [(0.35, self._reboot), (0.65, self._cut_power)]
        deck: list[Callable[[Site, random.Random], None]] = []
        nth = 0
        try:
            while (passed := (time.time() - begun) / seconds) < 1:
                dice = random.Random(f"{self.seed} {nth}")
                if not deck:  # every kind has its turn before any comes again
                    deck = [step for step, weight in self._kinds().items() for _ in range(weight)]
                    dice.shuffle(deck)
                step, site = deck.pop(), dice.choice(self.sites)
                if machine_wide and passed > machine_wide[0][0]:
                    step = machine_wide.pop(0)[1]
                self.steps.append(f"{time.time():.2f} step {nth}: {step.__name__} {site.user}")
                step(site, dice)
                self._resolve()
                time.sleep(dice.uniform(0, 2))
                nth += 1
            self._settle()
        finally:
            self._stopped.set()
            for watcher in watchers:
                watcher.join()

    def _settle(self) -> None:
        """Wait until everything rests, check that doctor is content after one sync, and stop all firing."""
        time.sleep(LATE_S)
        for site in self.sites:
            self._sync(site)
        time.sleep(2)
        for site in self.sites:
            status, told = site.doctor()
            if status == 2:
                self.wrong.append(f"{site.user}: after the last sync doctor still says: {told}")
            if told := site.audit():
                self.wrong.append(f"{site.user}: after the last sync the audit finds: {told}")
        self.until = time.time()
        self._on.clear()  # for doctor would see what is stopped here
        self.box.run("systemctl stop cron")
        for site in self.sites:
            site.unwatch()  # a sync, which every run requests when it ends, would start the timers again
        self.box.run("systemctl stop 'hermes-job@*.timer'")
        wait_for(self._is_at_rest, 90)
        for site in self.sites:
            if told := site.audit():
                self.wrong.append(f"{site.user}: in the end the audit finds: {told}")
        time.sleep(5 * SAMPLE_S)  # for the last records to be taken down

    def _is_at_rest(self) -> bool:
        """Return True if nothing runs, or is about to run, that belongs to a job or may start one.

        At one look cron, a runner or a sync may be between two processes.
        """
        for _ in range(2):
            units = self.box.run("systemctl list-units --plain --no-legend --state=activating,active,deactivating "
                                 "'hermes-job@*.service'; systemctl list-jobs --no-legend 'hermes-job@*'").stdout
            if (units.strip() or any(self._processes(words) for words in (CRON, RUNNER, SYNC))
                    or helper_works(self.box)):
                return False
            time.sleep(SAMPLE_S)
        return True

    def _kinds(self) -> dict[Callable[[Site, random.Random], None], int]:
        """The kinds of steps, with their weights."""
        return {
            self._kill_runner: 1, self._kill_script: 1, self._kill_runner_at_start: 2, self._kill_server: 1,
            self._kill_server_at_work: 1, self._kill_sync: 1, self._kill_helper: 1, self._stop_run: 1,
            self._disarm: 2, self._stop_socket: 1, self._tear: 2, self._fill: 2, self._edit: 2, self._verb: 2,
            self._one_shot: 2, self._run: 4, self._restart_cron: 1,
        }

    # Faults

    @contextlib.contextmanager
    def _fault(self, what: str, sites: list[Site], jobs: list[Job] | None = None, **kinds: bool) -> Iterator[None]:
        incident = Incident(time.time(), what, sites, jobs, kinds)
        self.incidents.append(incident)
        try:
            yield
        finally:
            incident.done = time.time()

    def _kill_runner(self, site: Site, dice: random.Random) -> None:
        self._kill_of_job(site, dice, RUNNER, "kill -9 of the runner")

    def _kill_script(self, site: Site, dice: random.Random) -> None:
        self._kill_of_job(site, dice, SCRIPT_OF_JOB, "kill -9 of the script")

    def _kill_of_job(self, site: Site, dice: random.Random, words: bytes, what: str) -> None:
        """Kill a process of a job that runs, or of one that is started for it."""
        victim = next(iter(self._processes(words, site)), None)
        if not victim:
            self._run(site, dice)
            with contextlib.suppress(AssertionError):
                victim = wait_at_most(lambda: next(iter(self._processes(words, site)), None), 3)
        if victim and (job := self._job_of(victim)):
            time.sleep(dice.uniform(0, 0.5))
            with self._fault(what, [site], [job], kills=True):
                self._kill(victim)

    def _kill_runner_at_start(self, site: Site, dice: random.Random) -> None:
        """Kill the runners that start at the next minute if that is near, else one of a one-shot or a run by hand."""
        to_minute, delay = 60 - time.time() % 60, dice.choice((0, dice.uniform(0, 0.4)))
        if to_minute < 15:
            time.sleep(max(0.0, to_minute - 0.3))
            killed = self._kill_new(RUNNER, site, lambda: None, delay, 2)
        elif isinstance(site, CrontabSite):
            killed = self._kill_new(RUNNER, site, lambda: self._run(site, dice), delay, 1)
        else:
            killed = self._kill_new(RUNNER, site, lambda: self._create(site, dice, site.soon(3)), delay, 1)
        hit = [(begun, job) for begun, victim in killed if (job := self._job_of(victim))]
        for begun, job in hit:
            what, done = "kill -9 of the runner at its start", time.time()
            self.incidents.append(Incident(begun, what, [site], [job], {"kills": True}, done))
            # Cron does not notice, and of a unit the second to be killed was --settle of its ExecStopPost=. The next
            # occurrence or sync makes up for it.
            if isinstance(site, CrontabSite) or [each for _, each in hit].count(job) > 1:
                self.incidents.append(Incident(begun, what, [site], [job], {"delays": True}, done + 130))

    def _kill_server(self, site: Site, _dice: random.Random) -> None:
        for victim in self._processes(SERVER, site):
            self._kill(victim)

    def _kill_server_at_work(self, site: Site, dice: random.Random) -> None:
        """Kill the server while it does a verb; what it leaves half done is put right by a sync."""
        job = self._random_job(site, dice)
        with self._fault("kill -9 of the API during a verb", [site], [job] if job else None, delays=True):
            self._kill_new(SERVER, site, lambda: self._verb(site, dice), dice.uniform(0, 0.5), 1, running=True)
            self._resolve()
            self._sync(site)

    def _kill_sync(self, site: Site, dice: random.Random) -> None:
        with self._fault("kill -9 of a sync", [site], delays=True):
            self._kill_new(SYNC, site, lambda: self._sync(site, is_killed=True), dice.uniform(0, 0.6), 1)
            self._sync(site)

    def _kill_helper(self, site: Site, dice: random.Random) -> None:
        site = self.sites[0]
        with self._fault("kill -9 of root's helper", [site], delays=True):
            self._kill_new(HELPER, None, lambda: self._verb(site, dice), dice.uniform(0, 0.3), 1, running=True)
            self._resolve()
            self._sync(site)

    def _stop_run(self, site: Site, dice: random.Random) -> None:
        site = self.sites[0]
        victim = next(iter(self._processes(RUNNER, site)), None)
        if victim and (job := self._job_of(victim)):
            with self._fault("systemctl stop of the run", [site], [job], kills=True):
                site.systemctl(f"stop {job.unit}.service")

    def _disarm(self, site: Site, dice: random.Random) -> None:
        """Stop, delete or spoil some timers, or delete some lines of the crontab; later a sync puts them back."""
        jobs = dice.sample(alive := self._alive(site), min(3, len(alive)))
        how = dice.choice(("stop", "delete", "stop and delete", "spoil"))
        with self._fault(f"timers disarmed by hand ({how})", [site], jobs, delays=True):
            if isinstance(site, CrontabSite):
                site.run("crontab -l | grep -v -e nothing" + "".join(f" -e {job.id}" for job in jobs) + " | crontab -")
            else:
                for job in jobs:
                    path = f"{site.unit_dir}/{job.unit}.timer"
                    if "stop" in how:
                        site.systemctl(f"stop {job.unit}.timer", check=False)
                    if "delete" in how:
                        self.box.run(f"rm -f {path}")
                    if how == "spoil":
                        self.box.run(f"[ ! -e {path} ] || echo '{SPOILT.decode().strip()}' >>{path}")
            time.sleep(dice.uniform(1, 6))
            self._sync(site)

    def _stop_socket(self, site: Site, dice: random.Random) -> None:
        """Stop the API's socket, or root's helper's, for some seconds; armed jobs go on."""
        site = self.sites[0]
        unit = dice.choice(("hermes-oscron.socket", "hermes-oscron-root.socket"))
        with self._fault(f"systemctl stop {unit}", [site], delays=True):
            site.systemctl(f"stop {unit}")
            self._verb(site, dice)
            time.sleep(dice.uniform(1, 4))
            site.start_server()
            site.systemctl(f"start {unit}")
            self._resolve()
            self._sync(site)

    def _tear(self, site: Site, dice: random.Random) -> None:
        """Tear jobs.json, and restore it some seconds later as an administrator does."""
        path, torn = self._jobs_file(site), dice.choice(TORN)
        self._wait_for_minute(dice.uniform(-2, 4))
        with self._locked(site):
            content = path.read_bytes()
            torn = content[:len(content) // 2] if torn is None else torn
            fault = self._fault("jobs.json was torn", [site], delays=True, fills=True)
            fault.__enter__()
            self._replace(site, torn)
        self._verb(site, dice)
        time.sleep(dice.uniform(2, 8))
        with self._locked(site):
            if path.read_bytes() != torn:
                self.wrong.append(f"{site.user}: a jobs.json that could not be read was written over.")
            else:
                self._replace(site, content)
        time.sleep(1)
        self._resolve()
        self._sync(site)
        fault.__exit__(None, None, None)

    def _fill(self, site: Site, dice: random.Random) -> None:
        """Fill the disk of the home, and free it some seconds later."""
        filler = self._inside(f"{site.home}/filler")
        self._wait_for_minute(dice.uniform(-2, 4))
        with self._fault("the disk was full", [site], delays=True, fills=True):
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                for size in (1 << 20, 4096):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"x" * size)
            self._verb(site, dice)
            time.sleep(dice.uniform(2, 10))
            filler.unlink()
            self._resolve()
            self._sync(site)

    def _wait_for_minute(self, offset: float) -> None:
        """Wait until `offset` seconds from the next turn of a minute, when most jobs are due, if that is near."""
        wait = 60 - time.time() % 60 + offset
        if wait < 20:
            time.sleep(max(0.0, wait))

    def _restart_cron(self, _site: Site, dice: random.Random) -> None:
        site = self.sites[1]
        with self._fault("restart of cron", [site], delays=True):
            self.box.run("systemctl restart cron")
            time.sleep(1)
            self._sync(site)

    def _reboot(self, _site: Site, dice: random.Random) -> None:
        self._power_off(self.box.power_off, "a reboot", dice)

    def _cut_power(self, _site: Site, dice: random.Random) -> None:
        self._power_off(self.box.cut_power, "a power cut", dice)

    def _power_off(self, how: Callable[[], None], what: str, dice: random.Random) -> None:
        """Switch the machine off and on again; a power cut makes the jobs late that are due at the turn of a minute."""
        self._on.clear()
        with self._fault(what, self.sites, delays=True, kills=True):
            time.sleep(0.5)
            how()
            time.sleep(dice.uniform(1, 5) if how == self.box.power_off else 60 - time.time() % 60 + STARTING_S + 2)
            self.box.boot()
            wait_for(lambda: all(self._boot_synced(site) for site in self.sites), 60)
            for site in self.sites:
                site.start_server()
        self._on.set()

    def _boot_synced(self, site: Site) -> bool:
        """Tell whether the sync that comes with every boot has ended."""
        if isinstance(site, CrontabSite):
            return site._answers() and not self._processes(SYNC, site)
        ended = site.systemctl("show -P ExecMainExitTimestampMonotonic hermes-oscron-sync.service").strip()
        return ended not in ("0", "")

    # Verbs and edits

    def _create(self, site: Site, dice: random.Random, schedule: str) -> None:
        begun, self._made = time.time(), self._made + 1
        name = (f"j{self._made:02} {dice.choice((0, 0, 0.3, 1, 2, 4, 7))} {dice.choice((0, 0, 0, 1, 3, 77))} "
                f"{dice.choice((1, 1, 2, 9))}")
        status, answer = self._post(site, "create", name=name, schedule=schedule, prompt="", no_agent=True,
                                    script="work.sh")
        if status == 200:
            made = answer["job"]
            job = Job(made["id"], site, name.split()[0])
            job.changes.append(Change(begun, time.time(), schedule_of(made)))
            self.jobs.append(job)
        elif status == 0:  # it may have been made before the server was killed: it is known by its name
            time.sleep(1)
            for record in (self._records(site) or {}).values():
                if record["name"] == name:
                    job = Job(record["id"], site, name.split()[0])
                    job.changes.append(Change(begun, time.time(), schedule_of(record)))
                    self.jobs.append(job)

    def _one_shot(self, site: Site, dice: random.Random) -> None:
        self._create(site, dice, site.soon(dice.choice((3, 5, 10, 30))))

    def _run(self, site: Site, dice: random.Random) -> None:
        fired = [job for job in self._alive(site) if job.records and job.changes[-1].schedule]
        if job := dice.choice(fired) if fired else self._random_job(site, dice):
            begun = time.time()
            status, answer = self._post(site, "run", job_id=job.id)
            if status == 200 and answer["ok"]:
                job.calls.append(Call(begun, time.time()))
            elif status == 0:
                self.incidents.append(Incident(begun, "an unanswered run by hand", [site], [job], {}, time.time()))
                job.calls.append(Call(begun, time.time()))

    def _verb(self, site: Site, dice: random.Random) -> None:
        """Do a verb on some job."""
        job = self._random_job(site, dice)
        if not job:
            return
        verb = dice.choices(("pause", "resume", "update", "delete"), (2, 6, 4, 1))[0]
        is_once = not (job.changes[-1].schedule or Schedule(0, 0)).period_s
        fields = {"schedule": dice.choice(RECURRING)} if verb == "update" and not is_once else {}
        job.alive = verb != "delete"
        job.busy_until, begun = math.inf, time.time()
        status, answer = self._post(site, verb, job_id=job.id, **fields)
        done = time.time()
        job.busy_until = done + EDIT_S
        if status == 200:
            job.changes.append(Change(begun, done, None if verb == "delete" else schedule_of(answer["job"])))
        else:
            job.alive = False  # until that is known
            self._unresolved.append((job, begun, status != 0))

    def _resolve(self) -> None:
        """Find out what became of verbs that were not answered, or refused; what was refused has changed nothing."""
        for job, begun, refused in self._unresolved:
            records = wait_for(lambda job=job: self._records(job.site), 10)
            record = records.get(job.id)
            before = job.changes[-1].schedule
            now = record and schedule_of(record)
            job.alive = record is not None
            if refused and (not record or _differ(before, now)):
                self.wrong.append(f"{job.name}: a verb was refused at {begun:.2f}, and yet jobs.json has {record}.")
            job.changes.append(Change(begun, time.time(), now))
            job.busy_until = time.time() + EDIT_S
        self._unresolved.clear()

    def _edit(self, site: Site, dice: random.Random) -> None:
        """Edit a record by hand, as the agent and careful people do: under the lock, and by a rename."""
        job = self._random_job(site, dice)
        if not job:
            return
        how = dice.choices(("pause", "resume", "schedule", "rename", "delete"), (2, 3, 3, 2, 1))[0]
        expression = dice.choice([*CRON_PERIODS_S])
        job.busy_until, begun = math.inf, time.time()
        with self._locked(site):
            jobs = json.loads(self._jobs_file(site).read_bytes())
            record = next(each for each in jobs["jobs"] if each["id"] == job.id)
            if record["schedule"]["kind"] == "once" and how in ("resume", "schedule"):
                how = "rename"
            if how == "rename":
                record["name"] = re.sub(r" \S+", f" {dice.choice((0, 1, 3))}", record["name"], count=1)
            elif how == "delete":
                jobs["jobs"].remove(record)
                job.alive = False
            elif how == "pause":
                if record["state"] == "scheduled":
                    record.update(enabled=False, state="paused", next_run_at=None)
            else:
                record.update(enabled=True, state="scheduled", paused_at=None,  # with which it counts as paused
                              schedule={"kind": "cron", "expr": expression, "display": expression})
                period = CRON_PERIODS_S[expression]
                due = datetime.datetime.fromtimestamp((time.time() // period + 1) * period, datetime.UTC)
                record["next_run_at"] = due.isoformat()
            self._replace(site, json.dumps(jobs, indent=2).encode())
        if how != "rename":
            job.changes.append(Change(begun, time.time() + EDIT_S, None if how == "delete" else schedule_of(record)))
        job.busy_until = time.time() + EDIT_S

    def _sync(self, site: Site, is_killed: bool = False) -> None:
        synced = site.run(f"{site.bin}/hermes-oscron sync", check=False)
        if synced.returncode and not is_killed:
            self.wrong.append(f"{site.user}: a sync at {time.time():.2f} did not put all right: {synced.stderr}")

    def _post(self, site: Site, verb: str, **body: Any) -> tuple[int, Any]:
        """The status and the answer; 0 if no answer came."""
        try:
            return site.api.call("POST", f"/api/crons/{verb}", body)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def _alive(self, site: Site) -> list[Job]:
        return [job for job in self.jobs if job.site is site and job.alive]

    def _random_job(self, site: Site, dice: random.Random) -> Job | None:
        return dice.choice(alive) if (alive := self._alive(site)) else None

    # Files and processes of the machine

    def _inside(self, path: str) -> Path:
        return Path(f"/proc/{self.box.leader}/root{path}")

    def _jobs_file(self, site: Site) -> Path:
        return self._inside(f"{site.hermes}/cron/jobs.json")

    @contextlib.contextmanager
    def _locked(self, site: Site) -> Iterator[None]:
        """Hold the agent's lock on the jobs of `site`."""
        with self._inside(f"{site.hermes}/cron/.jobs.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace(self, site: Site, content: bytes) -> None:
        """Put `content` into jobs.json by a rename."""
        path = self._jobs_file(site)
        unfinished = path.with_name("jobs.json.by-hand")
        unfinished.write_bytes(content)
        os.chown(unfinished, self._uids[site], self._uids[site])
        unfinished.chmod(0o600)
        unfinished.rename(path)

    def _records(self, site: Site) -> dict[str, Any] | None:
        """The records of jobs.json by id; None if it cannot be read."""
        try:
            return {record["id"]: record for record in json.loads(self._jobs_file(site).read_bytes())["jobs"]}
        except (OSError, ValueError):
            return None

    def _processes(self, words: bytes, site: Site | None = None) -> list[Process]:
        """The processes of the machine, or of the account of `site`, whose command line contains `words`."""
        return [found for name in os.listdir("/proc") if name.isdecimal() and (found := self._process(int(name)))
                and words in found.words and (site is None or found.uid == self._uids[site])]

    def _process(self, pid: int) -> Process | None:
        """The process `pid` if it is one of this machine's."""
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.box.leader}/ns/pid"):
                return Process(pid, Path(f"/proc/{pid}/cmdline").read_bytes(), os.stat(f"/proc/{pid}").st_uid)
        except OSError:
            pass
        return None

    def _kill(self, victim: Process) -> None:
        """Kill `victim`, and no other process that has its number by now."""
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(victim.pid)
            try:
                if self._process(victim.pid) == victim:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)

    def _kill_new(self, words: bytes, site: Site | None, trigger: Callable[[], None], delay: float, most: int,
                  running: bool = False) -> list[tuple[float, Process]]:
        """Kill up to `most` processes that start when `trigger` is done, each `delay` seconds after it is seen.

        One that is `running` already will do too. Returns what was killed, and from when on.
        """
        seen = set() if running else {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        begun = time.time()
        killed: list[tuple[float, Process]] = []
        worker = threading.Thread(target=trigger)
        worker.start()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and len(killed) < most:
            for pid in {int(name) for name in os.listdir("/proc") if name.isdecimal()} - seen:
                found = self._process(pid)
                if found and words in found.words and (site is None or found.uid == self._uids[site]):
                    time.sleep(delay)
                    self._kill(found)
                    killed.append((begun, found))
                    if len(killed) == most:
                        break
                if not found or b"hermes" in found.words or time.time() > begun + 1:
                    seen.add(pid)  # others may still be about to become what is looked for (execve(2))
            time.sleep(0.002)
        worker.join()
        return killed

    def _job_of(self, process: Process) -> Job | None:
        """The job that `process` runs."""
        named = re.search(rb"default:([0-9a-f]{12})", process.words)
        if not named:
            with contextlib.suppress(OSError):
                named = re.search(rb"\0HERMES_JOB_ID=(\w+)", b"\0" + Path(f"/proc/{process.pid}/environ").read_bytes())
        return next((job for job in self.jobs if named and job.id == named[1].decode()), None)

    # Watchers

    def _watch_records(self) -> None:
        """Record every state of jobs.json, and report when a job is missing in it."""
        known: dict[Site, tuple[int, ...]] = {}
        while not self._stopped.wait(SAMPLE_S):
            for site in self.sites:
                here = {job.id: job for job in self.jobs if job.site is site}
                alive = [job for job in here.values() if job.alive and job.busy_until < time.time()]
                try:
                    status = self._jobs_file(site).stat()
                except OSError:
                    continue
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                records = None if known.get(site) == signature else self._records(site)
                if records is None:
                    continue
                known[site] = signature
                for job in alive:
                    if job.id not in records and job.alive:
                        self.wrong.append(f"{job.name}: it is gone from jobs.json, and nobody deleted it.")
                        job.alive = False
                for job_id in here.keys() & records.keys():
                    self._take_down(here[job_id], records[job_id])

    def _take_down(self, job: Job, record: Any) -> None:
        if record["last_run_at"]:
            at = datetime.datetime.fromisoformat(record["last_run_at"]).timestamp()
            seen = Record(at, record["last_status"], record["last_error"] or "")
            if job.records[-1:] != [seen]:
                job.records.append(seen)

    def _watch_doctor(self) -> None:
        nth = 0
        while not self._stopped.wait(DOCTOR_S):
            site, nth = self.sites[nth % len(self.sites)], nth + 1
            if not self._on.is_set():
                continue
            try:
                before = self._state_of(site)
                status, told = site.doctor()
                after = self._state_of(site)
            except (AssertionError, OSError):
                if self._on.is_set():
                    self.wrong.append(f"{site.user}: doctor: {traceback.format_exc()}")
                continue
            if self._on.is_set() and not self._happens(["a reboot", "a power cut"], site, before, after):
                self._judge_doctor(site, before, status, told, after)

    def _state_of(self, site: Site) -> State:
        at, records = time.time(), self._records(site)
        if isinstance(site, CrontabSite):
            lines = [line for line in site.crontab().decode().splitlines() if not line.startswith("#")]
            armed = set(re.findall(r"default:([0-9a-f]{12}) ", "\n".join(lines)))
            return State(at, records, armed, set(), self._cut_off(site))
        armed = {unit.partition(":")[2].removesuffix(".timer") for unit in site.armed_timers()}
        folder = self._inside(site.unit_dir)
        spoilt = {job_id for job_id in armed if not (path := folder / f"hermes-job@default:{job_id}.timer").exists()
                  or SPOILT in path.read_bytes()}
        return State(at, records, armed, spoilt, self._cut_off(site))

    def _cut_off(self, site: Site) -> set[str]:
        """The jobs that have a run on disk and no runner."""
        with contextlib.suppress(OSError):
            begun = set(os.listdir(self._inside(f"{site.hermes}/cron/oscron/runs")))
            return begun - {job.id for each in self._processes(RUNNER, site) if (job := self._job_of(each))}
        return set()

    def _judge_doctor(self, site: Site, before: State, status: int, told: str, after: State) -> None:
        """Say which sentence of doctor was false between two looks."""
        self.doctors += 1
        sentences = [line for line in told.splitlines() if line.startswith("WRONG")]
        false = [sentence for sentence in sentences if not self._is_justified(site, sentence, before, after)]
        if status == 2 and not sentences:
            false.append(f"exit status {status} without a reason")
        if status < 2 and (missed := self._steady_trouble(site, before, after)):
            false.append(f"nothing is wrong, and yet {missed}")
        self.wrong += [f"{site.user}: between {before.at:.2f} and {after.at:.2f} doctor said what was false: {sentence}"
                       for sentence in false]

    def _is_justified(self, site: Site, sentence: str, before: State, after: State) -> bool:
        if named := re.search(r"default:([0-9a-f]{12})", sentence):
            job = next((job for job in self.jobs if job.id == named[1]), None)
            if job is None or job.busy_until > before.at - 1 or self._happens(None, site, before, after, job):
                return True
            if job.id in before.cut_off | after.cut_off:
                return True
            return any(_trouble_of(look, job.id) for look in (before, after)) and not self._is_running(job, before.at)
        if unit := re.search(r"hermes-oscron[\w@.-]*\.(?:socket|path|timer)", sentence):
            has_failed = site.systemctl(f"is-failed {unit[0]}", check=False).strip() == "failed"
            return has_failed or self._happens([f"systemctl stop {unit[0]}"], site, before, after)
        if unit := re.search(r"hermes-oscron[\w@.-]*\.service", sentence):  # one that was killed starts when needed
            return site.systemctl(f"show -P Result {unit[0]}").strip() != "signal"
        if "jobs.json" in sentence:
            return before.records is None or after.records is None or self._happens(
                ["jobs.json was torn"], site, before, after)
        return self._happens(["jobs.json was torn", "the disk was full", "restart of cron"], site, before, after)

    def _happens(self, what: list[str] | None, site: Site, before: State, after: State, job: Job | None = None) -> bool:
        """Tell whether a fault of `site`, or of `job`, was going on between two looks or shortly before."""
        return any(each.begun <= after.at and each.done >= before.at - (EDIT_S if job else 1)
                   and (each.what in what if what is not None else True) and site in each.sites
                   and (job is None or each.hits(job)) for each in list(self.incidents))

    def _is_running(self, job: Job, at: float) -> bool:
        """Tell whether a one-shot was due and began less than some seconds before `at`, or has not ended."""
        runs = self._runs().get(job.id, [])
        return any(run.start <= at and (run.end is None or run.end > at) for run in runs)

    def _steady_trouble(self, site: Site, before: State, after: State) -> str:
        """Problems at both looks that no process was about to solve. Doctor leaves out a job that runs."""
        if before.records is None and after.records is None:
            return "jobs.json cannot be read"
        runs = self._runs()
        for job in self._alive(site):
            ran = any(run.start <= after.at + 1 and (run.end or run.start + run.seconds) >= before.at - 1
                      for run in runs.get(job.id, []))
            if job.busy_until < before.at - 1 and _is_recurring(before, job.id) and not ran:
                troubles = {_trouble_of(before, job.id), _trouble_of(after, job.id)}
                if "" not in troubles and len(troubles) == 1:
                    return f"{job.id} {troubles.pop()}"
        return ""

    # Evidence

    def _runs(self) -> dict[str, list[Run]]:
        """The output of the scripts, by job."""
        runs: dict[str, list[Run]] = {}
        places: dict[str, tuple[str, int]] = {}
        for line in self._inside(LOG).read_text().splitlines():
            what, at, token, *others = line.split()
            if what == "start":
                job_id, seconds, code, lines, _pid = others
                found = runs.setdefault(job_id, [])
                places[token] = job_id, len(found)
                found.append(Run(token, float(at), None, int(code), int(lines), float(seconds)))
            else:
                job_id, nth = places[token]
                runs[job_id][nth] = runs[job_id][nth]._replace(end=float(at))
        return runs

    def _rows(self, site: Site) -> dict[str, list[Row]]:
        """The ledger of `site`, by job."""
        rows: dict[str, list[Row]] = {}
        with contextlib.closing(sqlite3.connect(":memory:")) as ledger:  # SQLite would resolve the link in the path
            ledger.deserialize(self._inside(f"{site.hermes}/cron/oscron/runs.db").read_bytes())
            for job_id, *row in ledger.execute("SELECT job, due, started, outcome, reason FROM runs"):
                rows.setdefault(job_id, []).append(Row(*row))
        return rows

    def evidence(self) -> dict[str, Evidence]:
        """Everything known of each job, by its id."""
        runs = self._runs()
        rows = {site: self._rows(site) for site in self.sites}
        return {job.id: Evidence(
            job.name, LATE_S, job.changes, not job.alive,
            [Fault(each.begun, each.done, each.what, **each.kinds) for each in self.incidents if each.hits(job)],
            job.calls, sorted(runs.get(job.id, []), key=lambda run: run.start), job.records,
            [path.read_text(errors="replace")
             for path in self._inside(f"{job.site.hermes}/cron/output/{job.id}").glob("*.md")],
            rows[job.site].get(job.id, []),
        ) for job in self.jobs}

    def story(self, evidence: Evidence, job_id: str) -> str:
        """A description of a job, for people."""
        job = next(each for each in self.jobs if each.id == job_id)
        journal = self.box.run(f"journalctl --no-pager -o short-unix -n 60 _SYSTEMD_UNIT={job.unit}.service + "
                               f"UNIT={job.unit}.service + SYSLOG_IDENTIFIER=hermes-job@{job_id}", check=False).stdout
        parts = {"changes": evidence.changes, "calls": evidence.calls, "runs": evidence.runs,
                 "records": evidence.records, "rows": evidence.rows or [], "faults": evidence.faults,
                 "journal": journal.splitlines()}
        return f"{job.name} = {job_id} of {job.site.user}\n" + "\n".join(
            f"  {name}:\n" + "\n".join(f"    {each}" for each in found) for name, found in parts.items())


def schedule_of(record: Any) -> Schedule | None:
    """When a job is due, by its record or by the API's word; None where it is not."""
    if record["state"] != "scheduled" or not record["next_run_at"]:
        return None
    schedule = record["schedule"]
    due = datetime.datetime.fromisoformat(record["next_run_at"]).timestamp()
    if schedule["kind"] == "cron":
        return Schedule(0, CRON_PERIODS_S[schedule.get("expr") or schedule["expression"]])
    if schedule["kind"] == "interval":
        minutes = schedule.get("minutes") or re.sub(r"\D", "", schedule["expression"])
        return Schedule(due, int(minutes) * 60)
    return Schedule(due, 0)


def _differ(before: Schedule | None, now: Schedule | None) -> bool:
    """Tell whether two schedules of a job are not the same; one-shots may have run since."""
    if before is None or now is None:
        return before != now and bool((before or now or Schedule(0, 0)).period_s)
    if not now.period_s or before.period_s != now.period_s:
        return before != now
    return (now.first - before.first) % now.period_s != 0


def _is_recurring(look: State, job_id: str) -> bool:
    record = (look.records or {}).get(job_id)
    return record is not None and record["schedule"]["kind"] != "once"


def _trouble_of(look: State, job_id: str) -> str:
    """Return what is wrong with the arming of a job at a look; "" if nothing is, or if that cannot be judged."""
    if look.records is None:
        return ""
    record = look.records.get(job_id)
    scheduled = record is not None and record["state"] == "scheduled" and record["enabled"]
    if scheduled and job_id not in look.armed:
        return "is not armed"
    if not scheduled and job_id in look.armed:
        return "is armed and should not be"
    return "has a timer that was spoilt or deleted" if job_id in look.spoilt else ""
