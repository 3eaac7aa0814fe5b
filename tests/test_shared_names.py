"""Names and numbers that Python shares with units/, docs/ and the agent's Python agree."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from hermes_oscron.cli.admin import serve
from hermes_oscron.cli.group import LastingFailure
from hermes_oscron.hermes import agent
from hermes_oscron.hermes.home import home_of
from hermes_oscron.in_agent import fire_due, worker
from hermes_oscron.install import settings, uninstall, units
from hermes_oscron.privileged import client, protocol, server
from hermes_oscron.runner import agent_worker, start_agent_worker
from hermes_oscron.runner import main as runner
from hermes_oscron.runs.model import RUN_VARIABLE
from hermes_oscron.schedulers.crontab import launchers
from hermes_oscron.schedulers.systemd import path_watch
from hermes_oscron.schedulers.systemd.scheduler import SERVICE, TIMER, service_of, unit_of
from hermes_oscron.schedulers.systemd.systemctl import SYSTEMCTL_TIMEOUT_S, Systemctl
from hermes_oscron.state import State
from hermes_oscron.web.server import DEFAULT_PORT

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "units"
INSTANCE = "default:4f2a9c1d07be"


def values(unit: str, setting: str) -> list[str]:
    """Return the values of `setting` in the file `unit` of units/."""
    return re.findall(rf"^{setting}=(.+)$", (UNITS / unit).read_text(), re.MULTILINE)


def test_the_installer_installs_every_unit() -> None:
    assert sorted(units.UNITS) == sorted(path.name for path in UNITS.iterdir() if path.is_file())
    assert set(units.ENABLED) <= set(units.UNITS)


def test_the_unit_of_a_job_is_an_instance_of_the_installed_template() -> None:
    assert service_of(INSTANCE).replace(INSTANCE, "") in units.UNITS
    assert SERVICE.fullmatch(service_of(INSTANCE)) and TIMER.fullmatch(unit_of(INSTANCE))
    assert unit_of(INSTANCE).removesuffix(".timer") == service_of(INSTANCE).removesuffix(".service"), (
        "a timer starts the service of its own name (systemd.timer(5))")
    assert unit_of(INSTANCE).replace(INSTANCE, "*") == uninstall.TIMERS


def test_the_watcher_names_installed_units() -> None:
    watch = "hermes-oscron-watch@work.path"
    assert path_watch.WATCH_UNIT.fullmatch(watch)
    for unit in (path_watch.CHANGED_PATH, path_watch.SYNC_SERVICE, path_watch.CHANGED_SERVICE,
                 *path_watch.TRIGGER_UNITS, watch.replace("work", "")):
        assert (UNITS / unit).is_file() and unit in units.UNITS
    for unit in (path_watch.CHANGED_PATH, watch.replace("work", "")):
        assert values(unit, "Unit") == [path_watch.CHANGED_SERVICE]


@pytest.mark.parametrize(("unit", "profile"), [("hermes-oscron-changed.path", "default"),
                                               ("hermes-oscron-watch@.path", "work")])
def test_the_path_units_watch_the_files_that_the_program_reads(unit: str, profile: str, tmp_path: Path) -> None:
    (tmp_path / "profiles" / "work").mkdir(parents=True)
    settings, socket = values(unit, "Wants")[0].replace("%i", "").split()
    watched = [value.replace("@ROOT@", str(tmp_path)).replace("%i", profile)
               for each in (unit, settings) for value in values(each, "PathChanged")]
    home = home_of(str(tmp_path), profile)
    assert {home.jobs_file, f"{home.path}/config.yaml"} <= set(watched)
    assert values(unit, "PathChanged") == values(unit, "PathChanged")[:1], "events at another path would hide some"
    assert values(settings, "PartOf")[0].replace("%i", "") == unit and settings in units.UNITS
    assert unit in values("hermes-oscron-agent@.socket", "PartOf")[0].replace("%i", "").split()
    assert socket.replace("default", "") == "hermes-oscron-agent@.socket"


def test_the_runner_connects_to_the_socket_of_the_agent_worker() -> None:
    assert values("hermes-oscron-agent@.socket", "ListenSequentialPacket") == [agent_worker.socket_path("%t", "%i")]
    assert agent_worker.UNIT.fullmatch(service_of(INSTANCE))
    [command] = values("hermes-oscron-agent@.service", "ExecStart")
    assert command.split()[1:] == ["-I", "-m", start_agent_worker.__name__, "%i"]
    assert agent_worker.OWN_DROP_IN.lstrip("/") in units.ACCOUNT_DROP_INS
    assert start_agent_worker.LISTEN_FD == worker.LISTEN_FD


def test_a_sync_is_requested_through_the_pipe_of_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    [fifo] = values("hermes-oscron-sync.socket", "ListenFIFO")
    os.mkfifo(fifo.replace("%t", str(tmp_path)))
    reader = os.open(fifo.replace("%t", str(tmp_path)), os.O_RDONLY | os.O_NONBLOCK)
    Systemctl(user=True).request_sync()
    assert os.read(reader, 100)
    os.close(reader)
    [command] = values(path_watch.CHANGED_SERVICE, "ExecStart")
    assert f"of={fifo} " in command


def test_a_sync_that_fails_until_an_edit_is_not_repeated() -> None:
    assert values(path_watch.SYNC_SERVICE, "RestartPreventExitStatus") == [str(LastingFailure.exit_code)]


def test_units_and_crontab_lines_start_commands_of_this_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {launchers.RUNNER, launchers.CLI} == set(scripts)
    started = set()
    for unit in UNITS.rglob("*.service"):
        started |= set(re.findall(r'"@BIN@/([^"]+)"', unit.read_text()))
    assert started == {*scripts, "python"}


def test_the_unit_of_a_job_uses_options_that_the_runner_has() -> None:
    [command] = values("hermes-job@.service", "ExecStopPost")
    options = re.findall(r"--[a-z-]+", re.sub("systemd-cat [^;]*;", "", command))
    assert options and all(option in runner.HELP for option in options)


def test_the_api_has_one_port() -> None:
    [host_port] = [option for option in serve.params if option.name == "port"]
    assert f"default: {DEFAULT_PORT}]" in (getattr(host_port, "help", None) or "")
    assert settings.DEFAULT_PORT == DEFAULT_PORT
    for file in (ROOT / "docs/api.md", ROOT / "docs/man/hermes-oscron.1"):
        named = set(re.findall(r"\b(?:localhost|127\.0\.0\.1):(\d+)", file.read_text()))
        assert named <= {str(DEFAULT_PORT)}, file
        assert named or file.suffix != ".md"


def test_uninstalling_removes_files_that_the_state_has() -> None:
    state = State("")
    names = {Path(getattr(state, name)).name for name, value in vars(State).items() if isinstance(value, property)}
    assert set(uninstall.REMOVED_STATE) - {"sync-wanted"} <= names, "sync-wanted is a file of earlier versions"
    assert {Path(state.scheduler).name, Path(state.synced).name} <= set(uninstall.REMOVED_STATE), (
        "no scheduler is active after a removal")


def test_roots_helper_listens_where_the_account_asks() -> None:
    assert values("system/hermes-oscron-root.socket", "ListenStream") == [protocol.SOCKET_PATH]
    [command] = values("system/hermes-oscron-root.service", "ExecStart")
    assert f"-m {protocol.__name__.rpartition('.')[0]} " in command


def test_the_time_limits_of_roots_helper_are_in_order() -> None:
    """A call of systemctl ends before its request, and the account waits longer than either."""
    assert SYSTEMCTL_TIMEOUT_S < server.REQUEST_TIMEOUT_S < client.ANSWER_TIMEOUT_S


def test_the_agents_python_and_the_runner_use_the_same_exit_codes() -> None:
    assert (agent.EXIT_UNSUPPORTED, agent.EXIT_CLAIMED_ELSEWHERE) == (
        fire_due.EXIT_UNSUPPORTED, fire_due.EXIT_CLAIMED_ELSEWHERE) == (os.EX_UNAVAILABLE, os.EX_TEMPFAIL)
    assert fire_due.RUN_VARIABLE == RUN_VARIABLE
    for code in (fire_due.EXIT_UNSUPPORTED, fire_due.EXIT_CLAIMED_ELSEWHERE):
        assert re.search(rf"\b{code} if", fire_due.__doc__ or "")
