"""A Hermes home of its own for every test, and the API on it: in this process, or as a real server."""

import contextlib
import copy
import datetime
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hermes_oscron.clock import CLOCK, Clock
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import EndOfStart
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler
from hermes_oscron.web import token
from hermes_oscron.web.app import make_app
from hermes_oscron.web.authentication import Authenticator
from hermes_oscron.web.server import DEFAULT_HOST as HOST
from hermes_oscron.web.server import DEFAULT_PORT as PORT

from . import wsgi
from .manual_clock import ManualClock

# The same tree gives the same result. To look for new examples: ./tests/run --hypothesis-profile=search tests/schedule
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.register_profile("search", derandomize=False)
hypothesis.settings.load_profile("fixed")

NOBODY = 65534
PATIENCE = 3
"""A machine that also runs other tests is slower. A wait that comes true takes no longer because of it."""
LONG = """
    machine/test_fault_injection machine/test_installer_kills machine/test_policies_systemd
    machine/test_policies_crontab machine/test_policies_foreground machine/test_installer machine/test_upgrade
    machine/test_ends machine/test_alerts machine/test_agent_race machine/test_gateway machine/test_attacker
    machine/test_minutes machine/test_failover systemd/test_calendar crontab/test_expression web/test_openapi
    cluster/test_end runner/test_policy agent/test_policy crontab/test_busybox fuzz/test_verbs agent/test_fire
    cli/test_every_command agent/test_agent_worker tests/test_install cli/test_completion browser/test_connection
    browser/test_look browser/test_hostile browser/test_story
""".split()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or be another account")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process works on one of them alone at the end."""
    order = {name: nth for nth, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(f"{item.path.parent.name}/{item.path.stem}", len(LONG)))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """The process has the permissions of an ordinary account, and has them already if root does not test."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def nobodys_root() -> Iterator[Path]:
    """A folder that an ordinary account can reach; give it away with `chown_to_nobody`."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def chown_to_nobody(folder: Path) -> None:
    """Give `folder` and all in it to the account of `as_nobody`."""
    for path in (folder, *folder.rglob("*")) if os.geteuid() == 0 else ():
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hermes root with nothing in it, in UTC."""
    path = tmp_path / "hermes"
    (path / "scripts").mkdir(parents=True)
    monkeypatch.setenv("HERMES_HOME", str(path))
    monkeypatch.setenv("HERMES_TIMEZONE", "UTC")
    return path


@pytest.fixture
def without_systemd_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner of a test finds no variable that systemd sets for a service (systemd.exec(5)), if it runs in one."""
    for name in ("INVOCATION_ID", "TRIGGER_UNIT", "SERVICE_RESULT", "EXIT_STATUS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(root: Path) -> Home:
    """The home of the profile `default`."""
    return home_of(str(root), "default")


def write_script(root: Path, name: str, text: str) -> str:
    """Put a script into `root`'s scripts folder; its name."""
    (root / "scripts" / name).write_text(text)
    return name


def write_waiting_script(root: Path) -> str:
    """A script that says `waited` and ends after `release_script`, or by itself after ten seconds; its name."""
    return write_script(root, "waiting.sh", f'for i in $(seq 500); do [ -e "{root}/go" ] && break; sleep 0.02; done\n'
                                            "echo waited\n")


def release_script(root: Path) -> None:
    """End the waiting script in `root`."""
    (root / "go").touch()


def write_jobs(root: Path, *records: dict[str, Any], **others: Any) -> Path:
    """Put `records`, and `others` beside them, into `root`'s jobs.json as the agent might; its path."""
    path = root / "cron" / "jobs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name("jobs.json.new")
    unfinished.write_text(json.dumps({"jobs": list(records), **others}))
    return unfinished.rename(path)


def stored(root: Path) -> list[Any]:
    """The records in `root`'s jobs.json."""
    path = root / "cron" / "jobs.json"
    jobs: list[Any] = json.loads(path.read_text())["jobs"] if path.exists() else []
    return jobs


def in_seconds(seconds: float) -> str:
    """The ISO time `seconds` from now, in UTC."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer of `condition`; an AssertionError when PATIENCE times `seconds` go by without one."""
    return wait_at_most(condition, PATIENCE * seconds)


def wait_at_most(condition: Callable[[], Any], seconds: float) -> Any:
    """The same, with a bound that is itself a part of what is tested.

    A `condition` that starts processes uses at most a quarter of the time, for other tests run beside this one.
    """
    deadline = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if answer := condition():
            return answer
        now = time.monotonic()
        if now >= deadline:
            raise AssertionError(f"it did not come true in {seconds} s")
        time.sleep(min(max(0.02, 3 * (now - begun)), 0.5, deadline - now))


class Api:
    """A client of the server at `url`: every call is the status and the JSON, or plain text, that came back."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token

    def with_token(self, token: str | None) -> "Api":
        """A client of the same server that shows `token`, or none."""
        other = copy.copy(self)
        other.token = token
        return other

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None,
             headers: dict[str, str] | None = None, address: str | None = None) -> tuple[int, Any]:
        """Send `body` as JSON, or the bytes `raw`, from `address` if given; `headers` replace the usual ones."""
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        sent.update(headers or {})
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        status, self.headers, content = self.send(method, path, data, sent, address)
        is_text = self.headers.get_content_type() == "text/plain"
        return status, content.decode() if is_text else json.loads(content)

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str],
             address: str | None) -> tuple[int, Message, bytes]:
        """Send one request; the status, the headers and the body of its answer."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30,
                                                source_address=(address, 0) if address else None)
        with contextlib.closing(connection):
            connection.request(method, path, data, {"Connection": "close", **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def get(self, path: str) -> Any:
        """The JSON at `path`; the call must succeed."""
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any) -> Any:
        """The answer to `body` at `path`; the call must succeed."""
        status, answer = self.call("POST", path, body)
        assert status == 200, answer
        return answer

    def create(self, **fields: Any) -> Any:
        """Make a job, daily and with a prompt unless `fields` say otherwise; the job."""
        return self.post("/api/crons/create", {"prompt": "say hello", "schedule": "0 9 * * *", **fields})["job"]

    def job(self, job_id: str) -> Any:
        """The job `job_id` of the list, or None."""
        return next((job for job in self.get("/api/crons")["jobs"] if job["id"] == job_id), None)

    def refused(self, path: str, body: Any) -> tuple[int, str]:
        """The status and the sentence with which `body` at `path` is refused; the call must fail."""
        status, answer = self.call("POST", path, body)
        assert set(answer) == {"error"}, answer
        return status, answer["error"]

    def run_to_end(self, job_id: str) -> Any:
        """Run `job_id` and wait until the run is recorded; the job then."""
        completed = self.job(job_id)["repeat"]["completed"]
        assert self.post("/api/crons/run", {"job_id": job_id})["ok"]
        wait_for(lambda: self.job(job_id)["repeat"]["completed"] > completed and not self.running())
        return self.job(job_id)

    def start_run(self, job_id: str) -> None:
        """Run `job_id` and wait until it is running."""
        assert self.post("/api/crons/run", {"job_id": job_id})["ok"]
        wait_for(lambda: job_id in self.running())

    def running(self) -> Any:
        """The running jobs and for how long they have been."""
        return self.get("/api/crons/status")["running"]

    def outputs(self, job_id: str) -> list[str]:
        """The contents of the outputs of `job_id`, newest first."""
        return [output["content"] for output in self.get(f"/api/crons/output?job_id={job_id}")["outputs"]]


class InProcessApi(Api):
    """A client of the WSGI application `app`, which runs in this process."""

    def __init__(self, app: Callable[..., Any], token: str) -> None:
        super().__init__(f"http://{HOST}:{PORT}", token)
        self._app = app

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str],
             address: str | None) -> tuple[int, Message, bytes]:
        return wsgi.call(self._app, method, path, data, {"Host": f"{HOST}:{PORT}", **headers}, address or HOST)


class TimedApi(InProcessApi):
    """An API whose time passes by `advance` alone, and whose foreground scheduler writes down what it starts."""

    def __init__(self, app: Callable[..., Any], token: str, scheduler: "StartLog", clock: ManualClock) -> None:
        super().__init__(app, token)
        self.started = scheduler.started
        self.clock = clock
        self.advance = clock.advance

    def in_seconds(self, seconds: float) -> str:
        """The ISO time `seconds` from the clock's."""
        return (self.clock.now() + datetime.timedelta(seconds=seconds)).isoformat()


class StartLog(Foreground):
    """Fires as `serve` does, but starts no process for a job that is due: `started` has its id instead."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.started: list[str] = []

    def start_runner(self, instance: str) -> EndOfStart:
        self.started.append(instance.partition(":")[2])
        return lambda: None


def start_server(*arguments: str, log: Path, environment: Mapping[str, str] | None = None,
                 ) -> tuple["subprocess.Popen[bytes]", str]:
    """A real `hermes-oscron serve` with `arguments` on a free port; its process and its URL."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "hermes_oscron.cli", "serve", "--port", "0", *arguments],
                                   stdout=file, stderr=file, env={**os.environ, **(environment or {})})

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        said = log.read_text().partition("Listening on ")[2]
        return said.partition(";")[0].partition(" ")[0] if ";" in said else None

    return process, wait_for(address)


@contextlib.contextmanager
def serving(*arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server as `start_server` does until the block ends; yield its URL."""
    process, url = start_server(*arguments, log=log, environment=environment)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)


def read_token(root: Path) -> str:
    """The token of the installation in `root`."""
    return (root / "cron" / "oscron" / "token").read_text().strip()


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a server on `root`, a process of its own, whose foreground scheduler fires."""
    with serving("--scheduler", "foreground", log=tmp_path / "serve.log") as url:
        yield url


@pytest.fixture
def http_api(server: str, root: Path) -> Api:
    """A client of `server` that has the token; for what `api` cannot show: sockets, and the process itself."""
    return Api(server, read_token(root))


@pytest.fixture
def idle_api(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A client of a server that should fire by systemd timers where no systemd can be reached."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nobody-runs-here"))
    if os.geteuid() == 0:  # root's manager is found under /run
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\nexec unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec \"$@\"' sh "
                          f"{sys.executable} \"$@\"\n")
        python.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(python))
    with serving("--scheduler", "systemd", log=tmp_path / "serve.log") as url:
        yield Api(url, read_token(root))


@pytest.fixture(scope="module")
def module_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """As `http_api`, on a home of its own; for tests of one module that leave no trace on each other."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "hermes").mkdir()
    with serving("--scheduler", "foreground", log=folder / "serve.log",
                 environment={"HERMES_HOME": str(folder / "hermes"), "HERMES_TIMEZONE": "UTC"}) as url:
        yield Api(url, read_token(folder / "hermes"))


@pytest.fixture
def api(root: Path) -> Iterator[Api]:
    """A client that has the token, of the application on `root` in this process. What it fires is a real run."""
    scheduler = Foreground(str(root))
    with _serving_in_process(root, scheduler) as app:
        yield InProcessApi(app, token.get_or_create(str(root)))


@pytest.fixture
def timed_api(root: Path) -> Iterator[TimedApi]:
    """As `api`, but time stands still until the test moves it, and jobs that fire are written down and not run."""
    scheduler, clock = StartLog(str(root)), ManualClock()
    with _serving_in_process(root, scheduler, clock) as app:
        yield TimedApi(app, token.get_or_create(str(root)), scheduler, clock)


@contextlib.contextmanager
def _serving_in_process(root: Path, scheduler: Foreground, clock: Clock = CLOCK) -> Iterator[Callable[..., Any]]:
    """Fire the jobs of `root` with `scheduler` and `clock` within the block; yield the application."""
    selection = Selection(str(root), scheduler)
    reconciler = Reconciler(selection, clock)
    with scheduler.firing(reconciler.record_and_plan, reconciler.watched_folders, clock):
        reconciler.sync()
        yield make_app(selection, JobService(selection, clock), Authenticator(str(root)))
