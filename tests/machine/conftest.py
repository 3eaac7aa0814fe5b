"""One booted machine with hermes-oscron installed twice: for root, and for the ordinary account `ada`."""

import datetime
import json
import shlex
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Api
from tests.machine.box import INSIDE, Box


class Site:
    """An installation of hermes-oscron in a box."""

    def __init__(self, box: Box, user: str, port: int) -> None:
        self.box = box
        self.user = user
        self.port = port
        self.manager = "--system" if user == "root" else "--user"
        self.home = "/root" if user == "root" else f"/home/{user}"
        self.hermes = f"{self.home}/.hermes"
        self.bin = "/usr/local/bin" if user == "root" else f"{self.home}/.local/bin"
        self.unit_dir = "/run/systemd/system" if user == "root" else "$XDG_RUNTIME_DIR/systemd/user"
        self.api = Api(f"http://127.0.0.1:{port}", None)

    def install(self) -> str:
        """Install from the checkout; what install.sh said."""
        said = self.run(f"PORT={self.port} {INSIDE}/install.sh").stdout
        self.api.token = self.oscron("token").strip()
        return said

    def run(self, command: str, check: bool = True) -> Any:
        return self.box.run(command, user=self.user, check=check)

    def oscron(self, arguments: str) -> str:
        """What `hermes-oscron ARGUMENTS` prints."""
        return str(self.run(f"{self.bin}/hermes-oscron {arguments}").stdout)

    def systemctl(self, arguments: str, check: bool = True) -> str:
        return str(self.run(f"systemctl {self.manager} {arguments}", check=check).stdout)

    def journal(self, job_id: str) -> str:
        """All that the journal has of JOB_ID's service."""
        field = "_SYSTEMD_UNIT" if self.user == "root" else "_SYSTEMD_USER_UNIT"
        unit = f"hermes-job@default:{job_id}.service"
        own = "UNIT" if self.user == "root" else "USER_UNIT"
        return str(self.box.run(f"journalctl --no-pager -o cat {field}={unit} + {own}={unit}").stdout)

    def script(self, name: str, text: str) -> str:
        """A script in the home's scripts folder; its name."""
        self.box.put(f"{self.hermes}/scripts/{name}", text, self.user)
        return name

    def create(self, script: str = "echo done", **fields: Any) -> Any:
        """Make a job over HTTP that runs SCRIPT; the job."""
        name = self.script(f"s{abs(hash(script)) % 10**8}.sh", script)
        return self.api.create(prompt="", no_agent=True, script=name, **fields)

    def timer(self, job_id: str, prop: str) -> str:
        """A property of JOB_ID's timer."""
        return self.systemctl(f"show -P {prop} hermes-job@default:{job_id}.timer").strip()

    def armed(self, job_id: str) -> bool:
        return self.timer(job_id, "ActiveState") == "active"

    def next_elapse(self, job_id: str) -> datetime.datetime | None:
        """When systemd says that JOB_ID's timer elapses next."""
        shown = self.timer(job_id, "NextElapseUSecRealtime")
        if not shown:
            return None
        return datetime.datetime.strptime(shown, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=datetime.UTC)

    def armed_timers(self) -> set[str]:
        listed = self.systemctl("list-units --type=timer --state=active --plain --no-legend --full 'hermes-job@*'")
        return {line.split()[0] for line in listed.splitlines()}

    def stored_jobs(self) -> list[Any]:
        """The jobs as jobs.json has them."""
        content = self.run(f"cat {shlex.quote(self.hermes)}/cron/jobs.json").stdout
        jobs: list[Any] = json.loads(content)["jobs"]
        return jobs

    def clear(self) -> None:
        """Delete all jobs."""
        for job in self.api.get("/api/crons")["jobs"]:
            self.api.post("/api/crons/delete", {"job_id": job["id"]})


def free_port() -> int:
    """A port that nothing listens on; the machine shares the host's."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def soon(seconds: float) -> str:
    """An absolute time SECONDS ahead, for a schedule."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture(scope="session")
def machine() -> Iterator[Box]:
    box = Box()
    try:
        box.boot()
        box.run("useradd --create-home --shell /bin/bash ada && loginctl enable-linger ada")
        yield box
    finally:
        box.close()


@pytest.fixture(scope="session")
def sites(machine: Box) -> dict[str, Site]:
    """The installations, by account."""
    both = {user: Site(machine, user, free_port()) for user in ("root", "ada")}
    for site in both.values():
        site.install()
    return both


@pytest.fixture(params=["root", "ada"])
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Iterator[Site]:
    """Each installation in turn; no job outlives the test."""
    chosen = sites[request.param]
    yield chosen
    chosen.clear()
