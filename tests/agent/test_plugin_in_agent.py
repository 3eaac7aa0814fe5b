"""The plugin in the real agent's own Python."""

import os
import subprocess
from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.hermes import plugin
from hermes_oscron.hermes.home import home_of
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


def test_the_gateway_s_scheduler_thread_requests_a_sync_and_waits_for_the_stop(hermes: Path, program: Path) -> None:
    agent(hermes, "import threading\nfrom cron.scheduler_provider import resolve_cron_scheduler\n"
                  "provider = resolve_cron_scheduler()\nstop = threading.Event()\n"
                  "thread = threading.Thread(target=provider.start, args=(stop,), kwargs={'adapters': {}})\n"
                  "thread.start(); thread.join(1); assert thread.is_alive()\n"
                  "stop.set(); thread.join(5); assert not thread.is_alive(); provider.stop()")
    assert calls(program) == [f"{hermes} sync"]
    assert not (hermes / "cron" / "ticker_heartbeat").exists()


def test_the_gateway_keeps_the_plugin_with_several_profiles(hermes: Path, program: Path) -> None:
    assert agent(hermes, "from cron import scheduler_provider as it\nprovider = it.resolve_cron_scheduler()\n"
                         "choose = getattr(it, 'scheduler_for_profile_mode', lambda it, **_: it)\n"
                         "print(choose(provider, multiplex_profiles=True).name)") == "oscron"


def test_only_profiles_without_the_plugin_are_reported_if_the_agent_uses_it(hermes: Path, program: Path) -> None:
    work = hermes / "profiles" / "work"
    work.mkdir(parents=True)
    [missing] = plugin.problems(str(hermes), config.load(str(hermes)))
    assert missing.startswith("work: the plugin is not installed in this profile")
    plugin.install(str(hermes), str(program), {})
    assert plugin.problems(str(hermes), config.load(str(hermes))) == []


def test_a_plugin_that_the_agent_does_not_use_is_reported_with_the_reason(hermes: Path, program: Path) -> None:
    provider = Path(plugin.folder(home_of(str(hermes), "default")), "__init__.py")
    provider.write_text("import nosuch_module\n" + provider.read_text())
    [unused] = plugin.problems(str(hermes), config.load(str(hermes)))
    assert unused.startswith("default: the agent does not use the plugin")
    assert "oscron" in unused.partition("reason:")[2]
    plugin.remove(str(hermes))
    assert plugin.problems(str(hermes), config.load(str(hermes))) == []


def test_an_agent_that_refuses_every_provider_with_several_profiles_is_reported(hermes: Path, program: Path) -> None:
    (hermes / "profiles" / "work").mkdir(parents=True)
    plugin.install(str(hermes), str(program), {})
    provider = Path(plugin.folder(home_of(str(hermes), "default")), "__init__.py")
    provider.write_text(provider.read_text().replace("import InProcessCronScheduler as", "import nosuch as"))
    found = plugin.problems(str(hermes), config.load(str(hermes)))
    has_gate = "import cron.scheduler_provider as it; print(hasattr(it, 'scheduler_for_profile_mode'))"
    if agent(hermes, has_gate) == "True":
        [sentence] = found
        assert sentence.startswith("default: the agent does not use the plugin")
        assert "does not support multiplex_profiles" in sentence
    else:
        assert found == []


REGISTER = ("from cron.scheduler_provider import resolve_cron_scheduler as it\ntry:\n"
            "    it().register_job({'id': 'ours'})\n    print('armed')\nexcept RuntimeError as error:\n"
            "    print(error)")


@pytest.mark.parametrize(("said", "outcome"), [
    ("exit 0", "armed"),
    ("echo 'Error: No systemd here.' >&2; exit 1", "the sync failed: Error: No systemd here."),
    ("echo 'Error: default:ours: no such zone' >&2; exit 78", "the sync failed: Error: default:ours: no such zone"),
    ("echo 'Error: default:other: no such zone' >&2; exit 78", "armed"),
    ("echo 'Error: default: jobs.json cannot be read' >&2; exit 1",
     "the sync failed: Error: default: jobs.json cannot be read"),
    ("echo 'Error: work: jobs.json cannot be read' >&2; exit 1", "armed"),
    ("exit 1", "the sync failed: 1"),
])
def test_a_new_job_is_registered_only_if_the_sync_can_arm_it(hermes: Path, program: Path, said: str,
                                                             outcome: str) -> None:
    (hermes / "profiles" / "work").mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{said}\n")
    assert agent(hermes, REGISTER) == outcome


def test_a_new_job_is_not_registered_without_the_command(hermes: Path, program: Path) -> None:
    code = REGISTER.replace("try:", f"provider = it()\nit = lambda: provider\nimport os; os.unlink('{program}')\ntry:")
    assert "could not be started" in agent(hermes, code)


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
