"""`./install.sh --try`: a temporary installation that runs one job, shows it, and is removed again."""

import contextlib
import datetime
import json
import os
import pwd
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from . import checks, environment, layout, sandbox, settings, target
from .install import install_units
from .manager import Manager
from .processes import Account, account_of, run, started
from .report import say
from .settings import InstallError, Settings
from .target import Target
from .uninstall import remove_units

UNPRIVILEGED = "nobody"
"""The account of root's demonstration: the API and the jobs must not run as root, not even for a minute."""
RUN_TIMEOUT_S = 30.0
MAX_LOG_CHARACTERS = 1 << 16
SCRIPT = 'echo "Hello from $HERMES_JOB_NAME, at $(date +%T)."\n'


def demonstrate(source: str, wheels: str | None, name: str | None) -> None:
    """Install temporarily, run a job of the account `name` by a systemd timer or else the server, and remove all.

    Raises InstallError, OSError.
    """
    account = account_of(name or UNPRIVILEGED) if os.geteuid() == 0 else None
    permanent = target.own_layout(os.environ)
    with place(account) as folder:
        say(f"Building a temporary installation in {folder} …")
        places = layout.temporary(permanent, folder)
        environment.use(places, environment.build(places, source, environment.python_for(account), wheels))
        hermes = f"{folder}/hermes"
        os.makedirs(f"{hermes}/scripts")
        with open(f"{hermes}/scripts/hello.sh", "w", encoding="utf-8") as file:
            file.write(SCRIPT)
        if account:
            for path in (hermes, f"{hermes}/scripts", f"{hermes}/scripts/hello.sh"):
                shutil.chown(path, account.uid, pwd.getpwuid(account.uid).pw_gid)
        chosen = Settings(account.name if account else "", hermes, os.environ.get("HERMES_TIMEZONE", ""),
                          checks.free_port(), path=account.path if account else os.environ.get("PATH", os.defpath))
        wanted = Target(places, chosen, account, None)
        manager = Manager(places)
        if manager.runs() and not manager.has("hermes-job@.service"):
            if account:
                sandbox.refuse_machine_without(places, chosen)
            served = _by_systemd(wanted)
        else:
            served = _by_server(wanted)
        with served as url:
            _run_job(wanted, url)
    say("It works. ./install.sh installs it permanently.")


@contextlib.contextmanager
def place(account: Account | None) -> Iterator[str]:
    """Make a folder from which programs can be started, and remove it in the end."""
    candidates = ["/var/lib"] if account else [tempfile.gettempdir(), os.path.expanduser("~")]
    for parent in candidates:  # /tmp may be mounted noexec, and root's helper has a /tmp of its own
        folder = tempfile.mkdtemp(prefix="hermes-oscron-try.", dir=parent)
        try:
            if parent == candidates[-1] or _may_execute(folder):
                os.chmod(folder, 0o755 if account else 0o700)
                yield folder
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _may_execute(folder: str) -> bool:
    path = f"{folder}/probe"
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n")
    os.chmod(path, 0o700)
    return run([path]).returncode == 0


@contextlib.contextmanager
def _by_systemd(wanted: Target) -> Iterator[str]:
    """Install units that fire the job and serve the API, until the block ends; yield the URL."""
    try:
        settings.save(wanted.layout, wanted.settings)
        install_units(wanted)
        say(f"The API is on {wanted.settings.address}; a systemd timer will fire.")
        yield wanted.settings.address
    finally:
        remove_units(wanted.layout, wanted.manager)
        wanted.manager.attempt("daemon-reload")


@contextlib.contextmanager
def _by_server(wanted: Target) -> Iterator[str]:
    """Run a server that fires the job, until the block ends; yield the URL."""
    account, place = wanted.account, wanted.layout.prefix
    # without an account in the settings, the commands do not expect root's helper
    settings.save(wanted.layout, replace(wanted.settings, account=""))
    command = [f"{wanted.layout.programs}/hermes-oscron", "serve", "--port", "0", "--scheduler", "foreground"]
    environ = {**os.environ, "HERMES_HOME": wanted.settings.home}
    if account:
        command, environ = account.command(command, 600), account.environment(HERMES_HOME=wanted.settings.home)
    with (open(f"{place}/serve.log", "w+", encoding="utf-8") as log,
          started(command, stdout=log, stderr=log, env=environ) as server):
        url = ""
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while not url:
            if server.poll() is not None or time.monotonic() > deadline:
                raise InstallError(f"The server did not start: {_content(log.name)}")
            time.sleep(0.1)
            said = _content(log.name).partition("Listening on ")[2]
            url = said.partition(";")[0].partition(" ")[0].strip() if ";" in said else ""
        say(f"The API is on {url}; its server will fire.")
        yield url
        server.terminate()
        server.wait()


def _run_job(wanted: Target, url: str) -> None:
    """Create a job over HTTP, wait until it has run, and print its output."""
    home = wanted.settings.home
    command = [f"{wanted.layout.programs}/hermes-oscron", "token"]
    done = (wanted.account.run(command, HERMES_HOME=home) if wanted.account
            else run(command, environment={**os.environ, "HERMES_HOME": home}))
    api = _Api(url, done.stdout.strip())
    due = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    say(f"POST /api/crons/create: a script, once, at {due}")
    job_id = api.call("create", {"name": "the first job", "no_agent": True, "script": "hello.sh", "schedule": due}
                      )["job"]["id"]
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while (job := api.call("")["jobs"][0])["state"] != "completed" and time.monotonic() < deadline:
        time.sleep(0.1)
    say(f"\nGET /api/crons/output?job_id={job_id}")
    outputs = api.call(f"output?job_id={job_id}")["outputs"]
    say(outputs[0]["content"] if outputs else "(no output)")
    say(f"GET /api/crons: state {job['state']}, last_status {job['last_status']}")
    api.call("delete", {"job_id": job_id})
    if job["last_status"] != "ok":
        raise InstallError(f"The job did not run: {job['last_error']}")


class _Api:
    """The HTTP API at `url`."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback has no proxy

    def call(self, path: str, body: Any = None) -> Any:
        """Return the answer to GET, or with `body` to POST, of `/api/crons/` + `path`."""
        request = urllib.request.Request(
            f"{self._url}/api/crons{'/' if path and not path.startswith('?') else ''}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise InstallError(f"The API did not answer {path or 'the list'}: {error}") from error


def _content(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(MAX_LOG_CHARACTERS)
