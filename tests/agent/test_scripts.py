"""A script that hermes-cron-exec runs itself gets what the agent gives it, and its output is kept as the agent does."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import AGENT
from tests.agent.model import Model
from tests.agent.test_fire import agent
from tests.conftest import wait_for, write_script
from tests.runner.jobs import MANUAL, change_record, fire, firing, make, make_script, page, record, section

ENVIRONMENT = ("import json, os, sys\njson.dump({'argv0': sys.argv[0], 'executable': sys.executable, "
               "'cwd': os.getcwd(), 'environment': dict(os.environ)}, open(os.environ['WRITE_TO'], 'w'))\n")
TOKEN = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def env_file(hermes: Path) -> Path:
    (hermes / ".env").write_text("OPENAI_API_KEY=of-the-agent\nSHOP_TOKEN='of the script'\nexport EDITOR=${BASE}/ed\n"
                                 "AUXILIARY_VISION_API_KEY=internal\n")
    return hermes


def seen(file: Path) -> Any:
    return json.loads(file.read_text())


def test_a_script_gets_the_environment_python_and_folder_that_the_agent_gives_it(
        env_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hermes, ours, theirs = env_file, tmp_path / "ours", tmp_path / "theirs"
    monkeypatch.setenv("BASE", "/base")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of the shell")
    job_id = make_script(hermes, ENVIRONMENT, "seen.py")
    monkeypatch.setenv("WRITE_TO", str(ours))
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0, ended.stderr
    monkeypatch.setenv("WRITE_TO", str(theirs))
    agent(hermes, "from hermes_cli.env_loader import load_hermes_dotenv; load_hermes_dotenv()\n"
                  "try:\n    from cron.scheduler_script import _run_job_script\n"
                  "except ImportError:\n    from cron.scheduler import _run_job_script  # 0.19\n"
                  "answer = _run_job_script('seen.py')")
    ours_seen, theirs_seen = seen(ours), seen(theirs)
    for each in (ours_seen["environment"], theirs_seen["environment"]):
        for name in ("WRITE_TO", "HERMES_JOB_ID", "HERMES_JOB_NAME", "HERMES_JOB_RUN", "_", "PYTEST_CURRENT_TEST"):
            each.pop(name, None)
        for name in [name for name in each if name.startswith("TERMINAL_")]:
            del each[name]  # 0.22 copies its terminal settings there, for its own tools
        each["PATH"] = [os.path.realpath(folder) for folder in each["PATH"].split(":")]
    assert ours_seen["environment"]["SHOP_TOKEN"] == "of the script"
    assert ours_seen["environment"]["EDITOR"] == "/base/ed"
    assert "OPENAI_API_KEY" not in ours_seen["environment"]
    assert os.path.realpath(ours_seen.pop("executable")) == os.path.realpath(theirs_seen.pop("executable"))
    assert ours_seen == theirs_seen


def test_a_script_imports_what_the_agent_s_python_has(hermes: Path) -> None:
    job_id = make_script(hermes, "import dotenv, sys; print(sys.prefix)\n", "job.py")
    assert os.path.realpath(fire(job_id, *MANUAL).stdout.strip()) == os.path.realpath(AGENT.parent)


def test_the_agent_is_asked_once_and_again_when_names_or_the_configuration_change(
        hermes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = make_script(hermes, "env | grep -c . >/dev/null\n")
    known = hermes / "cron" / "oscron" / "agent.json"
    fire(job_id, *MANUAL)
    first = known.stat().st_mtime_ns
    assert known.stat().st_mode & 0o777 == 0o600
    fire(job_id, *MANUAL)
    assert known.stat().st_mtime_ns == first
    (hermes / ".env").write_text("NEWLY=there\n")
    fire(job_id, *MANUAL)
    second = known.stat().st_mtime_ns
    assert second > first
    with (hermes / "config.yaml").open("a") as file:
        file.write("terminal:\n  env_passthrough: [NEWLY]\n")
    fire(job_id, *MANUAL)
    assert known.stat().st_mtime_ns > second
    assert "there" not in known.read_text()  # no values


def test_secrets_are_removed_from_output_log_and_record(hermes: Path) -> None:
    job_id = make_script(hermes, f"echo 'key {TOKEN} end'\necho '{KEY}'\necho 'bad {TOKEN}' >&2\n"
                                 f"printf 'last {TOKEN}'\nexit 3\n")
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 1
    stored = page(hermes, job_id) + json.dumps(record(hermes, job_id)) + ended.stdout + ended.stderr
    assert TOKEN not in stored and "MIIEowIBAAKCAQEA7" not in stored
    theirs = agent(hermes, "from agent.redact import redact_sensitive_text\n"
                           f"answer = redact_sensitive_text('''key {TOKEN} end\n{KEY}\nlast {TOKEN}''')")
    assert ended.stdout == theirs + "\n"
    assert section(page(hermes, job_id), "Response") == theirs
    assert record(hermes, job_id)["last_error"] == f"exited with code 3: bad {TOKEN[:6]}...{TOKEN[-4:]}"


def test_redaction_is_off_where_the_agent_s_is(hermes: Path) -> None:
    with (hermes / "config.yaml").open("a") as file:
        file.write("security:\n  redact_secrets: false\n")
    assert TOKEN in fire(make_script(hermes, f"echo {TOKEN}\n"), *MANUAL).stdout


def test_output_is_never_kept_unredacted(hermes: Path) -> None:
    """The agent stores a note in place of an output that it cannot redact, and so does the runner."""
    job_id = make_script(hermes, f"import os, subprocess, time\nprint('x', flush=True)\ntime.sleep(1)\n"
                                 f"subprocess.run(['pkill', '-9', '-P', str(os.getppid()), '-f', 'in_agent/redact.py'])"
                                 f"\nprint('{TOKEN}')\n", "job.py")
    ended = fire(job_id, *MANUAL)
    assert TOKEN not in page(hermes, job_id) + ended.stdout
    assert "[REDACTED - redaction failed]" in ended.stdout


def test_output_appears_in_the_log_while_the_script_runs(hermes: Path) -> None:
    job_id = make_script(hermes, f"echo started\nwhile [ ! -e {hermes}/go ]; do sleep 0.05; done\n")
    with firing(job_id, *MANUAL) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == f"{job_id}: started by hand\n"
        assert runner.stdout.readline() == "started\n"
        (hermes / "go").touch()
        wait_for(lambda: runner.poll() is not None)


def test_emoji_and_bytes_of_other_encodings_survive(hermes: Path) -> None:
    job_id = make_script(hermes, "printf 'caf\\351 \\360\\237\\214\\236\\n'\n")
    assert "\N{SUN WITH FACE}" in fire(job_id, *MANUAL).stdout


def test_a_broken_agent_is_a_failed_run_that_names_it(hermes: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").touch()
    for name in ("hermes", "python3"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'no module named hermes' >&2\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o700)
    job_id = make_script(hermes, "echo hello\n")
    (hermes / "oscron.toml").write_text(f'[exec]\nagent = "{tmp_path}/bin/hermes"\n')
    fire(job_id, *MANUAL)
    assert record(hermes, job_id)["last_error"].startswith(
        f"The Hermes agent in {tmp_path}/bin/python3 does not work: no module named hermes")


def test_while_the_agent_is_replaced_its_last_answer_counts(hermes: Path, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    (tmp_path / "pyvenv.cfg").touch()
    for path in (tmp_path / "bin" / "hermes", python):
        path.write_text(f'#!/bin/sh\nexec {AGENT}/python3 "$@"\n')
        path.chmod(0o700)
    job_id = make_script(hermes, "echo \"hello $OPENAI_API_KEY.\"\n")
    (hermes / ".env").write_text("OPENAI_API_KEY=x\n")
    (hermes / "oscron.toml").write_text(f'[exec]\nagent = "{tmp_path}/bin/hermes"\n')
    assert fire(job_id, *MANUAL).stdout == "hello .\n"
    python.write_text("#!/bin/sh\nexit 1\n")
    (hermes / "config.yaml").write_text("changed: true\n")
    ended = fire(job_id, *MANUAL)
    assert record(hermes, job_id)["last_status"] == "ok"
    assert ended.stdout == "[REDACTED - redaction failed]\n"  # and not the output as it is


# The job's own Python


def test_a_job_s_interpreter_runs_its_python_script_and_no_shell_script(hermes: Path, tmp_path: Path) -> None:
    python = tmp_path / "python3.99"
    python.write_text(f'#!/bin/sh\necho own\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    job_id = make_script(hermes, "print('hello')\n", "job.py")
    change_record(hermes, job_id, interpreter=str(python))
    assert fire(job_id, *MANUAL).stdout == "own\nhello\n"
    change_record(hermes, job_id, script=write_script(hermes, "job.sh", "echo shell\n"))
    assert fire(job_id, *MANUAL).stdout == "shell\n"


@pytest.mark.parametrize(("interpreter", "reason"), [
    ("python3", "must be an absolute path"), ("/no/such/python3", "was not found"), ("/bin/bash", "is not a Python"),
])
def test_an_interpreter_that_the_agent_refuses_is_refused(hermes: Path, interpreter: str, reason: str) -> None:
    job_id = make_script(hermes, "print('hello')\n", "job.py")
    change_record(hermes, job_id, interpreter=interpreter)
    assert fire(job_id, *MANUAL).returncode == 1
    assert reason in record(hermes, job_id)["last_error"]


# Prompts with a script or a monitor


@pytest.mark.parametrize("fields", [{"script": "gate.sh"}, {"monitor_script": "gate.sh"}])
def test_a_script_before_the_prompt_goes_to_the_agent_also_beside_a_command(
        hermes: Path, model: Model, fields: dict[str, str]) -> None:
    write_script(hermes, "gate.sh", "echo '{\"wakeAgent\": false}'\n")
    job_id = make(hermes, prompt="Say ping.")
    change_record(hermes, job_id, **fields)
    (hermes / "oscron.toml").write_text(f'[exec]\nagent = "{AGENT}/hermes"\ncommand = ["echo", "run by command"]\n')
    ended = fire(job_id, *MANUAL)
    assert "run by command" not in ended.stdout
    assert ended.returncode == 0, ended.stderr
    if "script" in fields:
        assert not model.calls
