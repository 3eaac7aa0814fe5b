"""The plugin in the real agent's own Python."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes import plugin
from tests.agent.conftest import AGENT
from tests.conftest import wait_for

RESOLVED = "from cron.scheduler_provider import resolve_cron_scheduler as it; print(it().name)"


@pytest.fixture
def program(hermes: Path, tmp_path: Path) -> Path:
    """A substitute for hermes-oscron that logs each of its calls, and takes a while."""
    path = tmp_path / "hermes-oscron"
    path.write_text(f"#!/bin/sh\necho \"$HERMES_HOME $*\" >>{tmp_path}/begun\n"
                    f"cat {hermes}/cron/jobs.json >{tmp_path}/seen\nsleep 0.3\n")
    path.chmod(0o755)
    plugin.install(str(hermes), str(path), {})
    return path


def agent(hermes: Path, code: str) -> str:
    """Return the output of `code` in the agent's own Python."""
    run = subprocess.run([f"{AGENT}/python", "-c", code], env={**os.environ, "HERMES_HOME": str(hermes)},
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def calls(program: Path) -> list[str]:
    begun = program.with_name("begun")
    return begun.read_text().splitlines() if begun.exists() else []


def test_the_agent_uses_the_plugin_while_hermes_oscron_is_installed(hermes: Path, program: Path) -> None:
    assert agent(hermes, RESOLVED) == "oscron"
    program.unlink()
    assert agent(hermes, RESOLVED) == "builtin"
    plugin.remove(str(hermes))
    assert agent(hermes, RESOLVED) == "builtin"


def test_the_gateway_s_scheduler_thread_requests_a_sync_and_ends_at_once(hermes: Path, program: Path) -> None:
    began = time.monotonic()
    agent(hermes, "import threading\nfrom cron.scheduler_provider import resolve_cron_scheduler\n"
                  "provider = resolve_cron_scheduler()\nstop = threading.Event()\n"
                  "thread = threading.Thread(target=provider.start, args=(stop,), kwargs={'adapters': {}})\n"
                  "thread.start(); thread.join(5); assert not thread.is_alive(); provider.stop()")
    assert calls(program) == [f"{hermes} sync"] and time.monotonic() - began < 10
    assert not (hermes / "cron" / "ticker_heartbeat").exists()


def test_a_job_created_by_the_agent_s_command_is_synced_at_once(hermes: Path, program: Path) -> None:
    env = {**os.environ, "HERMES_HOME": str(hermes)}
    subprocess.run([f"{AGENT}/hermes", "cron", "create", "0 9 * * *", "Say ping.", "--name", "pinger"], env=env,
                   check=True, capture_output=True)
    wait_for(lambda: calls(program))
    assert "pinger" in program.with_name("seen").read_text()


def test_a_burst_of_changes_causes_few_syncs_and_includes_the_last_change(hermes: Path, program: Path) -> None:
    agent(hermes, "from cron.jobs import create_job\n"
                  "from cron.scheduler import _notify_provider_jobs_changed as notify\n"
                  "for i in range(30):\n    create_job(f'say {i}', '0 9 * * *'); notify()\n")
    assert 2 <= len(calls(program)) <= 10
    assert "say 29" in program.with_name("seen").read_text()


def test_a_failed_sync_is_only_a_warning_in_the_agent(hermes: Path, program: Path) -> None:
    program.write_text("#!/bin/sh\necho no systemd here >&2\nexit 1\n")
    said = agent(hermes, "import logging, sys\nlogging.basicConfig(stream=sys.stdout)\n"
                         "from cron.scheduler import _notify_provider_jobs_changed as notify\nnotify()")
    assert "WARNING" in said and "no systemd here" in said
