"""Installations of hermes-oscron, one class for each scheduler that fires their jobs."""

import contextlib
import datetime
import fcntl
import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cronsim import CronSim

from tests.conftest import Api, start_server, wait_for
from tests.machine.box import INSIDE, SOURCE, Box

CRON_HEADER_LINES = 3
"""The lines that Debian's crontab(1) writes above the content."""
HOURLY_SYNC_S = 17 * 60
"""The time in each hour at which a line of the crontab starts a sync."""
ENDED = ("inactive", "failed")
BUILT = ".pytest_cache/environments"
"""The folder in the checkout of what the first machine has built for SHARED: install.sh finds it intact on the next."""
SHARED = {"/usr/local/lib/hermes-oscron": "system", "/home/ada/.local/share/hermes-oscron": "ada",
          "/home/cora/.local/share/hermes-oscron": "cora", "/home/uma/.local/share/hermes-oscron": "uma"}
"""The names of environments by their folder, which is in the first line of each of their programs."""


def nap(seconds: float) -> str:
    """Return a sleep(1) that no other test runs: pgrep(1) of a foreground site sees the processes of all machines."""
    return f"sleep {seconds + secrets.randbelow(10**7) / 10**9:.9f}"


class Site:
    """An installation of hermes-oscron in a box, whose jobs systemd fires."""

    options = ""
    """The options of install.sh."""
    late = 1.0
    """The latest start of a job after it is due, in seconds."""
    manager = "--user"
    unit_dir = "$XDG_RUNTIME_DIR/systemd/user"
    settings_dir = "~/.config/systemd/user"
    journal_fields = ("_SYSTEMD_USER_UNIT", "USER_UNIT")

    def __init__(self, box: Box, user: str, port: int, **environment: str) -> None:
        """The installation of `user`, whose shells have `environment`."""
        self.box = box
        self.user = user
        self.port = port
        self.home = box.run(f"getent passwd {user} | cut -d: -f6").stdout.rstrip("\n")
        self.hermes = environment.get("HERMES_HOME", f"{self.home}/.hermes")
        self.bin = f"{self.home}/.local/bin"
        self.api = Api(f"http://127.0.0.1:{port}", None)
        self._exports = "".join(f"export {key}={shlex.quote(value)}; " for key, value in environment.items())

    def install(self, source: str = INSIDE) -> str:
        """Install from the folder `source` of the box, and return what install.sh printed."""
        shared = SHARED.get(self.prefix) if source == INSIDE else None
        with self._shared_environment(shared) if shared else contextlib.nullcontext():
            said = self.administer(f"PORT={self.port} {source}/install.sh {self.options}").stdout
            if shared and "Building" in said:
                self._keep_environment(shared)
        self.api.token = self.oscron("token").strip()
        self.find_home()
        configured = f"ls {shlex.quote(self.config)} {shlex.quote(self.hermes)}/config.yaml"
        if not self.run(configured, check=False).stdout:  # with a config.yaml, the agent runs the prompts
            self.run_prompts()
        return str(said)

    @contextlib.contextmanager
    def _shared_environment(self, name: str) -> Iterator[None]:
        """Unpack the environment that another machine has built. If none has, one builds it, and the others wait."""
        folder = SOURCE / BUILT
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"{name}.tar"
        with (folder / f"{name}.lock").open("ab") as lock:
            if not archive.exists():
                fcntl.flock(lock, fcntl.LOCK_EX)
                if archive.exists():
                    fcntl.flock(lock, fcntl.LOCK_UN)
            inside = f"{INSIDE}/{BUILT}/{archive.name}"
            self.administer(f"[ -e {self.prefix} ] || [ ! -e {inside} ] || "
                            f"{{ mkdir -p {self.prefix} && tar -C {self.prefix} -xpf {inside}; }}")
            yield

    def _keep_environment(self, name: str) -> None:
        used = Path(self.administer(f"readlink {self.prefix}/current").stdout.strip())
        new = SOURCE / BUILT / f"{name}.{os.getpid()}"
        subprocess.run(["tar", "-C", f"/proc/{self.box.leader}/root{self.prefix}", "-cf", new, used, "current"],
                       check=True)
        new.rename(new.with_name(f"{name}.tar"))

    @property
    def prefix(self) -> str:
        """Return the folder of the environments."""
        return f"{self.home}/.local/share/hermes-oscron"

    def find_home(self) -> None:
        """Set the folders of an account that the installer has created."""

    @property
    def config(self) -> str:
        """Return the path of oscron.toml."""
        return f"{self.hermes}/oscron.toml"

    def run_prompts(self) -> None:
        """Write an oscron.toml by which a program runs the prompts; without one, doctor reports jobs that have one."""
        self.put(self.config, '[exec]\ncommand = ["cat"]\n')

    def administer(self, command: str, check: bool = True) -> Any:
        """Run `command` as the account that may change this installation and its units."""
        return self.run(command, check)

    def run(self, command: str, check: bool = True) -> Any:
        return self.box.run(self._exports + command, user=self.user, check=check)

    def oscron(self, arguments: str) -> str:
        """Return what `hermes-oscron` with `arguments` prints."""
        return str(self.run(f"{shlex.quote(self.bin)}/hermes-oscron {arguments}").stdout)

    def doctor(self) -> tuple[int, str]:
        """Return the exit status and the output of `hermes-oscron doctor`."""
        told = self.run(f"{shlex.quote(self.bin)}/hermes-oscron doctor", check=False)
        return told.returncode, told.stdout

    def audit(self) -> str:
        """Return what `hermes-oscron audit` prints if it finds something, else an empty text."""
        told = self.run(f"{shlex.quote(self.bin)}/hermes-oscron audit", check=False)
        return "" if told.returncode == 0 else f"{told.stdout}{told.stderr}"

    def put(self, path: str, content: str) -> None:
        """Write `content` to `path`, as the account."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p \"$(dirname {quoted})\" && printf %s {shlex.quote(content)} >{quoted}")

    def script(self, name: str, text: str) -> str:
        """Write a script into the home's scripts folder, and return its name."""
        self.put(f"{self.hermes}/scripts/{name}", text)
        return name

    def create(self, script: str = "echo done", **fields: Any) -> Any:
        """Create a job over HTTP that runs `script`, and return the job."""
        name = self.script(f"s{abs(hash(script)) % 10**8}.sh", script)
        return self.api.create(prompt="", no_agent=True, script=name, **fields)

    def verb(self, verb: str, job_id: str, **fields: Any) -> Any:
        """Call `/api/crons/` + `verb` for `job_id` over HTTP, and return the answer."""
        return self.api.post(f"/api/crons/{verb}", {"job_id": job_id, **fields})

    def runner(self, job_id: str) -> int | None:
        """Return the process that runs `job_id`, without asking a server."""
        run = self.run(f"head -c 4096 {shlex.quote(self.hermes)}/cron/oscron/runs/{job_id}", check=False).stdout
        return json.loads(run)["pid"] if run else None

    def stored_jobs(self) -> list[Any]:
        """Return the jobs as they are in jobs.json."""
        content = self.run(f"cat {shlex.quote(self.hermes)}/cron/jobs.json").stdout
        jobs: list[Any] = json.loads(content)["jobs"]
        return jobs

    def outputs(self, job_id: str) -> str:
        """Return all outputs of `job_id`, without asking a server."""
        return str(self.run(f"cat {shlex.quote(self.hermes)}/cron/output/{job_id}/*.md", check=False).stdout)

    @contextlib.contextmanager
    def before_each_runner(self, command: str) -> Iterator[None]:
        """Run the shell `command` at the start of every hermes-cron-exec; `$2` is its first option."""
        program = self.run(f"readlink -f {shlex.quote(self.bin)}/hermes-cron-exec").stdout.strip()
        self.administer(f"mv '{program}' '{program}.real'")
        self.administer(f"printf %s {shlex.quote(f'#!/bin/sh{chr(10)}{command}{chr(10)}')} >'{program}' && "
                        f"echo 'exec {program}.real \"$@\"' >>'{program}' && chmod 755 '{program}'")
        try:
            yield
        finally:
            self.administer(f"mv '{program}.real' '{program}'")

    @contextlib.contextmanager
    def full_folder(self, path: str) -> Iterator[None]:
        """Fill the disk of the folder `path`, in which there is nothing else."""
        self.run(f"mkdir -p '{path}'")
        ids = self.run("echo uid=$(id -u),gid=$(id -g)").stdout.strip()
        self.box.run(f"mount -t tmpfs -o nr_inodes=1,mode=700,{ids} tmpfs '{path}'")
        try:
            yield
        finally:
            self.box.run(f"umount '{path}'")

    def clear(self) -> None:
        """Delete all jobs."""
        for job in self.api.get("/api/crons")["jobs"]:
            self.verb("delete", job["id"])

    # What differs from one scheduler to another

    def soon(self, seconds: float = 2) -> str:
        """Return the nearest time, at least `seconds` ahead, at which a job can fire."""
        return soon(seconds)

    def armed(self, job_id: str) -> bool:
        return self.timer(job_id, "ActiveState") == "active"

    def next_fire(self, job_id: str) -> datetime.datetime | None:
        """Return when `job_id` fires next, as its scheduler says."""
        shown = self.timer(job_id, "NextElapseUSecRealtime")
        if not shown:
            return None
        return datetime.datetime.strptime(shown, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=datetime.UTC)

    def traces(self, job_id: str) -> str:
        """Return what the scheduler and the Hermes home have of `job_id`."""
        return str(self.run(f"find {self.unit_dir} {shlex.quote(self.hermes)}/cron -name '*{job_id}*'; "
                            f"grep -o {job_id} {shlex.quote(self.hermes)}/cron/jobs.json; "
                            f"systemctl {self.manager} list-units --all --plain --no-legend '*{job_id}*'",
                            check=False).stdout)

    def disarm_by_hand(self, job_id: str) -> None:
        """Disarm `job_id` without hermes-oscron."""
        self.systemctl(f"stop hermes-job@default:{job_id}.timer")

    def repair(self) -> None:
        """Do what arms again the jobs that `disarm_by_hand` disarmed."""
        self.oscron("sync")

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """Only the test requests syncs, and none is in progress at the start."""
        self.unwatch()
        try:
            yield
        finally:
            self.systemctl("start hermes-oscron-changed.path hermes-oscron-sync.timer hermes-oscron-sync.socket")

    def unwatch(self) -> None:
        """Stop everything but the test that requests syncs, and wait until none is in progress."""
        self.systemctl("stop hermes-oscron-changed.path hermes-oscron-sync.timer")
        self.wait_for_syncs()  # stopping the socket would stop a sync, but not root's helper
        self.systemctl("stop hermes-oscron-sync.socket")
        self.wait_for_syncs()

    @contextlib.contextmanager
    def starts_of_syncs_logged(self) -> Iterator[None]:
        """Make the journal contain the starts of syncs within the block, which the unit leaves out."""
        folder = f"{self.settings_dir}/hermes-oscron-sync.service.d"
        self.administer(f"mkdir -p {folder} && printf '[Service]\\nLogLevelMax=info\\n' >{folder}/log.conf")
        self.systemctl("daemon-reload")
        try:
            yield
        finally:
            self.administer(f"rm {folder}/log.conf; rmdir --ignore-fail-on-non-empty {folder}")
            self.systemctl("daemon-reload")

    def wait_for_syncs(self) -> None:
        """Wait until no sync is in progress or requested. A single look could fall between two of the services."""
        wait_for(lambda: not self._is_syncing() and not self._is_syncing(), 45)

    def _is_syncing(self) -> bool:
        """Return True if a service or another process syncs or is about to, or root's helper works."""
        states = self.systemctl("show -P ActiveState hermes-oscron-changed.service hermes-oscron-sync.service").split()
        processes = self.box.run("pgrep -f 'hermes-oscron [s]ync'", check=False).stdout
        return bool(set(states) - set(ENDED) or processes or helper_works(self.box))

    @contextlib.contextmanager
    def blackout(self) -> Iterator[None]:
        """Nothing fires during the block; after it comes the sync that follows every boot."""
        with self.unwatched():
            self.systemctl("stop 'hermes-job@*.timer'")
            yield
        self.oscron("sync")

    def stop_server(self) -> None:
        """Stop the API server as an administrator does."""
        self.systemctl("stop hermes-oscron.service")

    def kill_server(self) -> None:
        self.systemctl("kill --kill-whom=main -s KILL hermes-oscron.service", check=False)

    def start_server(self) -> None:
        """Start the API server if it does not run, and wait until it answers."""
        self.systemctl("reset-failed hermes-oscron.service hermes-oscron.socket", check=False)
        self.systemctl("start hermes-oscron.socket")
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            return self.api.call("GET", "/health")[0] == 200
        except OSError:
            return False

    # systemd alone

    def systemctl(self, arguments: str, check: bool = True) -> str:
        return str(self.administer(f"TZ=UTC systemctl {self.manager} {arguments}", check=check).stdout)

    def journal(self, job_id: str) -> str:
        """Return all that the journal has of the service of `job_id`."""
        return self.journal_of(f"hermes-job@default:{job_id}.service")

    def journal_of(self, unit: str) -> str:
        """Return all that the journal has of `unit`."""
        said, told = self.journal_fields
        return str(self.box.run(f"journalctl --no-pager -o cat {said}={unit} + {told}={unit}").stdout)

    def timer(self, job_id: str, prop: str) -> str:
        """Return the property `prop` of the timer of `job_id`."""
        return self.systemctl(f"show -P {prop} hermes-job@default:{job_id}.timer").strip()

    def armed_timers(self) -> set[str]:
        listed = self.systemctl("list-units --type=timer --state=active --plain --no-legend --full 'hermes-job@*'")
        return {line.split()[0] for line in listed.splitlines()}


class SystemSite(Site):
    """An installation in a box by root, whose jobs are an ordinary account's and the system's manager fires."""

    manager = "--system"
    unit_dir = "/run/systemd/system"
    settings_dir = "/etc/systemd/system"
    journal_fields = ("_SYSTEMD_UNIT", "UNIT")
    prefix = "/usr/local/lib/hermes-oscron"

    def __init__(self, box: Box, user: str, port: int, **environment: str) -> None:
        super().__init__(box, user, port, **environment)
        self.bin = "/usr/local/bin"

    def find_home(self) -> None:
        self.home = self.box.run(f"getent passwd {self.user} | cut -d: -f6").stdout.rstrip("\n")
        self.hermes = f"{self.home}/.hermes"

    def administer(self, command: str, check: bool = True) -> Any:
        return self.box.run(self._exports + command, check=check)


class CrontabSite(Site):
    """An installation in a box whose jobs a real cron fires, from the account's crontab."""

    options = "--scheduler crontab"
    late = 3.0

    @property
    def spool(self) -> Path:
        """Return the path, on this machine, of the file that cron(8) reads."""
        return Path(f"/proc/{self.box.leader}/root/var/spool/cron/crontabs/{self.user}")

    def crontab(self) -> bytes:
        """Return the installed crontab without the header of crontab(1)."""
        if not self.spool.exists():
            return b""
        return b"".join(self.spool.read_bytes().splitlines(keepends=True)[CRON_HEADER_LINES:])

    def install_crontab(self, content: bytes) -> None:
        """Install `content` with crontab(1)."""
        self.box.put_bytes("/run/crontab.new", content)
        self.run("crontab - </run/crontab.new")

    def lines(self, job_id: str) -> list[bytes]:
        """Return the lines of the crontab that name `job_id`."""
        return [line for line in self.crontab().split(b"\n") if f"default:{job_id} ".encode() in line]

    def soon(self, seconds: float = 2) -> str:
        now = time.time() + max(3, seconds)
        return datetime.datetime.fromtimestamp(now - now % 60 + 60, datetime.UTC).isoformat(timespec="seconds")

    def armed(self, job_id: str) -> bool:
        return any(not line.startswith(b"#") for line in self.lines(job_id))

    def next_fire(self, job_id: str) -> datetime.datetime | None:
        """As above. A line may start its runner more often than the job is due; the runner ignores the rest."""
        active = [line.decode() for line in self.lines(job_id) if not line.startswith(b"#")]
        if not active:
            return None
        assert len(active) == 1, active
        written = next(job["next_run_at"] for job in self.stored_jobs() if job["id"] == job_id)
        due = max(datetime.datetime.fromisoformat(written), datetime.datetime.now(datetime.UTC))
        due = due.astimezone(datetime.UTC)  # the zone of the machine
        return next(CronSim(" ".join(active[0].split()[:5]), due - datetime.timedelta(seconds=1)))

    def traces(self, job_id: str) -> str:
        return b"\n".join(self.lines(job_id)).decode() + super().traces(job_id)

    def disarm_by_hand(self, job_id: str) -> None:
        self.run(f"crontab -l | grep -v {job_id} | crontab -")

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """Only the test requests syncs. The block does not begin shortly before the hourly one of cron."""
        to_sync = (HOURLY_SYNC_S - time.time()) % 3600
        if to_sync < 45 or to_sync > 3590:
            time.sleep((to_sync + 10) % 3600)
        with super().unwatched():
            yield

    @contextlib.contextmanager
    def blackout(self) -> Iterator[None]:
        with self.unwatched():
            self.box.run("systemctl stop cron")
            try:
                yield
            finally:
                self.box.run("systemctl start cron")
        self.oscron("sync")

    def syslog(self, job_id: str) -> str:
        """Return what the syslog has of `job_id`."""
        return str(self.box.run(f"journalctl --no-pager -o cat -t hermes-job@{job_id}", check=False).stdout)


def helper_works(box: Box) -> bool:
    """Return True if root's helper, which stays for a while after a request, runs systemctl."""
    return bool(box.run("pgrep -P \"$(pgrep -d, -f 'hermes_oscron.[p]rivileged')\"", check=False).stdout)


class ForegroundSite(Site):
    """A foreground `hermes-oscron serve` in the folder `place`, on the machine that runs the tests."""

    def __init__(self, place: Path) -> None:
        self.home = str(place)
        self.hermes = f"{place}/hermes"
        self.bin = f"{sys.prefix}/bin"
        self.api = Api("", None)
        self._environment = {"HERMES_HOME": self.hermes, "HERMES_TIMEZONE": "UTC"}
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, command: str, check: bool = True) -> Any:
        result = subprocess.run(["sh", "-c", command], cwd=self.home, env={**os.environ, **self._environment},
                                capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        assert not check or result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result

    def start_server(self) -> None:
        if self._server:
            return
        if not Path(self.config).exists():
            self.run_prompts()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment.items():
                patch.setenv(name, value)
            log = Path(self.home) / "serve.log"
            self._server, self.api.url = start_server("--scheduler", "foreground", log=log)
        self.api.token = self.oscron("token").strip()

    def stop_server(self) -> None:
        self._end_server(15)

    def kill_server(self) -> None:
        self._end_server(9)

    def _end_server(self, number: int) -> None:
        if self._server:
            self._server.send_signal(number)
            self._server.wait(10)
        self._server = None

    def armed(self, job_id: str) -> bool:
        return self.next_fire(job_id) is not None

    def next_fire(self, job_id: str) -> datetime.datetime | None:
        """Return what jobs.json says: the server uses nothing else."""
        due = next((job["next_run_at"] for job in self.stored_jobs() if job["id"] == job_id), None)
        return datetime.datetime.fromisoformat(due) if due and self._server else None

    def traces(self, job_id: str) -> str:
        return str(self.run(f"grep -ro {job_id} hermes/cron; find hermes -name '*{job_id}*'", check=False).stdout)

    def disarm_by_hand(self, job_id: str) -> None:
        self.kill_server()

    def repair(self) -> None:
        self.start_server()

    unwatched = staticmethod(contextlib.nullcontext)

    @contextlib.contextmanager
    def blackout(self) -> Iterator[None]:
        self.stop_server()
        yield
        self.start_server()


def add_account(box: Box, name: str, options: str = "", linger: bool = True) -> None:
    """Create the account `name`; if `linger`, with a running systemd manager of its own."""
    box.run(f"useradd --create-home --shell /bin/bash {options} {name}")
    if linger:
        box.run(f"loginctl enable-linger {name}")
        wait_for(lambda: re.search("running|degraded", box.run("systemctl --user is-system-running", user=name,
                                                               check=False).stdout))


def free_port() -> int:
    """Return a port that is free on both loopback addresses; the machine shares the host's."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe, contextlib.suppress(OSError):
            port: int = probe.getsockname()[1]
            socket.create_server(("::1", port), family=socket.AF_INET6).close()
            return port


def soon(seconds: float) -> str:
    """Return the time `seconds` ahead, for a schedule."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat(timespec="seconds")


def sleep_until(iso: str, later: float = 0) -> None:
    """Sleep until `later` seconds after the time `iso`."""
    time.sleep(max(0.0, datetime.datetime.fromisoformat(iso).timestamp() + later - time.time()))
