"""Which command runs a job, in which environment, and what is refused."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.config import Config
from hermes_oscron.hermes.home import Home, ScriptPathError, home_of, script_path
from hermes_oscron.runner.command import command_for
from tests.conftest import write_script
from tests.runner.jobs import (
    MANUAL,
    change_record,
    configure,
    fire,
    firing,
    make,
    make_script,
    page,
    pid_in,
    record,
    section,
)

SAYS_ITS_SURROUNDINGS = (
    "import json, os, sys\n"
    "print(json.dumps({'argv': sys.argv, 'cwd': os.getcwd(), 'stdin': sys.stdin.read(), 'env': dict(os.environ)}))\n"
)


def configure_command(root: Path, *command: str) -> None:
    configure(root, f"[exec]\ncommand = {json.dumps(command)}\n")


def surroundings(root: Path, job_id: str, **environment: str) -> Any:
    """Return the surroundings that a job printed."""
    ended = fire(job_id, *MANUAL, **environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_shell_script_is_run_by_bash_with_any_first_line_and_mode(root: Path) -> None:
    job_id = make_script(root, '#!/bin/false\n[[ -n $BASH_VERSION ]] && echo "bash $0"\n', "job.sh")
    assert not os.access(root / "scripts" / "job.sh", os.X_OK)
    assert fire(job_id, *MANUAL).stdout == f"bash {root}/scripts/job.sh\n"


@pytest.mark.parametrize("name", ["job.py", "job", "job.txt"])
def test_any_other_script_is_run_by_python(root: Path, name: str) -> None:
    job_id = make_script(root, "import sys\nprint(sys.version_info.major, sys.argv)\n", name)
    assert fire(job_id, *MANUAL).stdout == f"3 ['{root}/scripts/{name}']\n"


def test_a_script_gets_its_environment_and_working_directory(root: Path) -> None:
    job_id = make_script(root, SAYS_ITS_SURROUNDINGS, "job.py", name="Rapport d'été 🌞", prompt="not for scripts")
    seen = surroundings(root, job_id, SOMETHING_ELSE="kept")
    assert seen["argv"] == [f"{root}/scripts/job.py"]
    assert seen["cwd"] == f"{root}/scripts"
    assert seen["stdin"] == ""
    given = {"HERMES_JOB_ID": job_id, "HERMES_JOB_NAME": "Rapport d'été 🌞", "HERMES_HOME": str(root),
             "SOMETHING_ELSE": "kept"}
    assert seen["env"] == {**seen["env"], **given}


@pytest.mark.parametrize(("name", "in_environment"), [
    ("a\nb=c", "a\nb=c"), ("nul\0in it", "nulin it"), ("half a \ud800 pair", "half a ? pair"),
])
def test_any_job_name_can_be_put_into_the_environment(root: Path, name: str, in_environment: str) -> None:
    job_id = make_script(root, SAYS_ITS_SURROUNDINGS, "job.py")
    change_record(root, job_id, name=name)  # as other programs may write it
    assert surroundings(root, job_id)["env"]["HERMES_JOB_NAME"] == in_environment
    assert record(root, job_id)["last_status"] == "ok"


def test_a_script_in_a_subfolder_runs_there(root: Path) -> None:
    (root / "scripts" / "daily").mkdir()
    job_id = make_script(root, "pwd\n", "daily/job.sh")
    assert fire(job_id, *MANUAL).stdout == f"{root}/scripts/daily\n"


def test_a_job_runs_in_its_working_directory(root: Path, tmp_path: Path) -> None:
    script = make_script(root, "pwd\n", workdir=str(tmp_path))
    configure_command(root, "pwd")
    prompt = make(root, workdir=str(tmp_path))
    assert [fire(job_id, *MANUAL).stdout for job_id in (script, prompt)] == [f"{tmp_path}\n"] * 2


def test_a_missing_working_directory_is_a_failed_run_that_names_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    job_id = make_script(root, "pwd\n", workdir=str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    assert fire(job_id, *MANUAL).returncode == 1
    assert f"could not be started in {tmp_path}/gone: No such file" in record(root, job_id)["last_error"]


def test_a_prompt_goes_to_the_standard_input_of_the_configured_command(root: Path) -> None:
    script = root / "agent.py"
    script.write_text(SAYS_ITS_SURROUNDINGS)
    configure_command(root, sys.executable, str(script), "-p", "--model", "x y")
    job_id = make(root, prompt="Say 'hello' to\n$HOME and `id`; 日本", name="Hello")
    seen = surroundings(root, job_id)
    assert seen["stdin"] == "Say 'hello' to\n$HOME and `id`; 日本"
    assert seen["argv"] == [str(script), "-p", "--model", "x y"]
    assert seen["cwd"] == str(root)
    assert (seen["env"]["HERMES_JOB_ID"], seen["env"]["HERMES_JOB_NAME"], seen["env"]["HERMES_HOME"]) == (
        job_id, "Hello", str(root))
    assert section(page(root, job_id), "Prompt") == "Say 'hello' to\n$HOME and `id`; 日本"


def test_a_prompt_of_400_kb_is_passed_on_completely(root: Path) -> None:
    configure_command(root, "md5sum")
    prompt = "0123456789abcde\n" * 25_000
    wanted = make(root, prompt=prompt)
    (root / "prompt").write_text(prompt)
    expected = os.popen(f"md5sum < {root}/prompt").read()
    assert fire(wanted, *MANUAL).stdout == expected


def test_a_command_that_never_reads_its_prompt_can_succeed(root: Path) -> None:
    configure_command(root, "sh", "-c", "sleep 0.2; echo deaf")
    job_id = make(root, prompt="x" * 400_000)
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout) == (0, "deaf\n")


def test_the_prompt_is_in_no_command_line_and_no_environment(root: Path) -> None:
    configure_command(root, "bash", "-c", 'echo $$ > "$HERMES_HOME/started"; sleep 30')
    job_id = make(root, prompt="the-secret-of-the-prompt", name="a name")
    with firing(job_id, *MANUAL) as runner:
        job = pid_in(root / "started")
        children = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) in (job, runner.pid)]
        assert str(job) in children
        for pid in (str(runner.pid), *children):
            for file in ("cmdline", "environ"):
                assert b"the-secret" not in Path(f"/proc/{pid}/{file}").read_bytes()
        runner.terminate()
        runner.wait(10)


def parent_of(pid: str) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_without_an_executor_the_error_names_what_to_install_or_set(root: Path) -> None:
    job_id = make(root)
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 1
    told = record(root, job_id)["last_error"]
    assert told == (f"No program can run the prompt: the Hermes agent was not found. Install it, name its `hermes` "
                    f"with 'agent' under [exec] in {root}/oscron.toml, or set 'command' there, like "
                    f"command = [\"claude\", \"-p\"].")
    assert section(page(root, job_id), "Error") == told
    assert record(root, job_id)["last_status"] == "error"


def test_a_missing_configured_command_is_named(root: Path) -> None:
    configure_command(root, "no-such-agent", "-p")
    job_id = make(root)
    assert fire(job_id, *MANUAL).returncode == 1
    told = record(root, job_id)["last_error"]
    assert told == (f"Command 'no-such-agent' not found in PATH ({os.environ['PATH']}); set [exec] path or command in "
                    f"oscron.toml.")


def test_a_job_runs_in_the_home_of_the_profile_it_names(root: Path) -> None:
    work = root / "profiles" / "work"
    (work / "scripts").mkdir(parents=True)
    (work / "scripts" / "job.sh").write_text('echo "$HERMES_HOME from $0"\n')
    job_id = make_script(root, "echo the wrong one\n", profile="work")
    assert fire(job_id, *MANUAL).stdout == f"{work} from {work}/scripts/job.sh\n"
    assert section(page(root, job_id), "Response").startswith(str(work))
    assert not (work / "cron").exists()


def test_a_prompt_runs_in_the_home_of_the_profile_it_names(root: Path) -> None:
    work = root / "profiles" / "work"
    work.mkdir(parents=True)
    configure_command(root, "bash", "-c", 'pwd; echo "$HERMES_HOME"')
    assert fire(make(root, profile="work"), *MANUAL).stdout == f"{work}\n{work}\n"


def test_a_job_whose_profile_is_missing_runs_in_its_own_home_and_logs_that(root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    job_id = make_script(root, 'echo "$HERMES_HOME"\n', profile="work")
    (root / "profiles" / "work").rmdir()
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 0
    assert f"no profile 'work' under {root}/profiles. The job runs in default, which owns it.\n" in ended.stdout
    assert section(page(root, job_id), "Response") == str(root)


@pytest.mark.parametrize("where", ["../outside.sh", "/etc/passwd", "daily/../../outside.sh", "link.sh", "folder/job.sh",
                                   ".", "", "..", "~/outside.sh"])
def test_a_script_outside_the_scripts_folder_is_refused(root: Path, home: Home, where: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    (root / "outside.sh").write_text("echo outside\n")
    (root / "outside").mkdir()
    (root / "outside" / "job.sh").write_text("echo outside\n")
    (root / "scripts" / "daily").mkdir()
    (root / "scripts" / "link.sh").symlink_to(root / "outside.sh")
    (root / "scripts" / "folder").symlink_to(root / "outside")
    with pytest.raises(ScriptPathError, match="scripts run from there alone"):
        script_path(home, where)


def test_a_script_whose_name_begins_like_the_folder_is_outside(root: Path, home: Home) -> None:
    (root / "scripts-of-another").mkdir()
    (root / "scripts-of-another" / "job.sh").write_text("echo\n")
    with pytest.raises(ScriptPathError, match="scripts run from there alone"):
        script_path(home, "../scripts-of-another/job.sh")


@pytest.mark.parametrize("where", ["../outside.sh", "link.sh", "missing.sh", "folder"])
def test_a_refused_script_is_a_failed_run_that_runs_nothing(root: Path, home: Home, where: str) -> None:
    (root / "outside.sh").write_text('touch "$HERMES_HOME/ran"\n')
    (root / "scripts" / "folder").mkdir()
    job_id = make_script(root, "true\n")
    (root / "scripts" / "link.sh").symlink_to(root / "outside.sh")
    path = root / "cron" / "jobs.json"
    path.write_text(path.read_text().replace('"job.sh"', json.dumps(where)))
    ended = fire(job_id, *MANUAL)
    assert ended.returncode == 1
    assert not (root / "ran").exists()
    assert where in record(root, job_id)["last_error"]


def test_the_scripts_folder_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "scripts").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "scripts").symlink_to(tmp_path / "elsewhere")
    assert fire(make_script(root, "echo linked\n"), *MANUAL).stdout == "linked\n"


def test_a_replaced_script_is_the_one_that_runs(root: Path) -> None:
    job_id = make_script(root, "echo old\n")
    write_script(root, "job.sh", "echo new\n")
    assert fire(job_id, *MANUAL).stdout == "new\n"


@pytest.mark.parametrize("script", ["a\0b.sh", "half a \ud800 pair.sh"])
def test_a_script_name_that_no_file_can_have_is_a_failed_run(root: Path, script: str) -> None:
    job_id = make_script(root, "true\n")
    path = root / "cron" / "jobs.json"
    path.write_text(path.read_text().replace('"job.sh"', json.dumps(script)))
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_status"] == "error"


def test_a_record_with_wrong_types_is_run_as_far_as_possible(home: Home) -> None:
    settings = Config(command=("agent",))
    command = command_for({"id": "a", "prompt": None, "name": None, "workdir": 7, "profile": ["x"]}, home, settings)
    assert (command.argv, command.stdin, command.directory) == (["agent"], b"", home.path)
    assert command.environment["HERMES_JOB_NAME"] == ""


@pytest.mark.parametrize(("timeout", "of_agent", "of_command"), [(0.0, math.inf, 3600.0), (5.0, 5.0, 5.0)])
def test_only_the_configured_time_limit_holds_for_runs_of_the_agent(
        home: Home, tmp_path: Path, timeout: float, of_agent: float, of_command: float) -> None:
    hermes = tmp_path / "agent"
    hermes.write_text(f"#!{sys.executable}\n")
    hermes.chmod(0o755)
    command = command_for({"id": "a", "prompt": "x"}, home, Config(agent=str(hermes), timeout=timeout))
    assert (command.by_agent, command.timeout) == (True, of_agent)
    assert command_for({"id": "a", "prompt": "x"}, home, Config(command=("x",), timeout=timeout)).timeout == of_command


def test_half_a_character_in_the_prompt_is_replaced(home: Home) -> None:
    command = command_for({"id": "a", "prompt": "x\ud800y"}, home, Config(command=("agent",)))
    assert command.stdin == b"x?y"


def test_the_home_of_a_prompt_is_that_of_the_profile_that_owns_it(root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    work = home_of(str(root), "work")
    command = command_for({"id": "a", "prompt": "x", "profile": "default"}, work, Config(command=("agent",)))
    assert command.environment["HERMES_HOME"] == str(root)
    command = command_for({"id": "a", "prompt": "x", "profile": None}, work, Config(command=("agent",)))
    assert command.environment["HERMES_HOME"] == work.path
    assert command.directory == work.path


# The environment of the jobs


def test_exec_path_and_environment_and_then_env_file_set_the_environment(root: Path) -> None:
    configure(root, '[exec]\npath = "/usr/bin:/bin"\nenvironment = {A = "toml", B = "toml"}\n')
    (root / ".env").write_text("B=env file\nC='${A} and more'\n")
    job_id = make_script(root, SAYS_ITS_SURROUNDINGS, "job.py")
    seen = surroundings(root, job_id, A="shell", B="shell", C="shell")["env"]
    assert (seen["PATH"], seen["A"], seen["B"], seen["C"]) == ("/usr/bin:/bin", "toml", "env file", "toml and more")


def test_the_env_file_is_that_of_the_profile_that_the_job_runs_in(root: Path) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    (root / ".env").write_text("A=of default\nONLY=default\n")
    (root / "profiles" / "work" / ".env").write_text("A=of work\n")
    configure_command(root, "sh", "-c", 'echo "$A $ONLY"')
    assert fire(make(root, profile="work"), *MANUAL).stdout == "of work \n"


@pytest.mark.parametrize("field", ["script", "monitor_script"])
def test_without_an_agent_a_prompt_with_a_script_does_not_run_without_it(root: Path, field: str) -> None:
    configure(root, '[exec]\nagent = "none"\ncommand = ["echo", "ran"]\n')
    job_id = make(root)
    change_record(root, job_id, **{field: write_script(root, "gate.sh", "echo '{\"wakeAgent\": false}'\n")})
    ended = fire(job_id, *MANUAL)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"No program can run a job with '{field}'" in record(root, job_id)["last_error"]


@pytest.mark.parametrize(("text", "status"), [
    ("echo all well\necho '{\"wakeAgent\": false}'\n", "silent (wakeAgent=false)"), ("true\n", "silent (empty output)"),
    ("echo '{\"wakeAgent\": true}'\n", None), ("echo '{\"wakeAgent\": false}'\necho news\n", None),
    ("echo '{\"wakeAgent\": 0}'\n", None), ("exit 1\n", None),
])
def test_a_script_with_nothing_to_report_is_marked_as_by_the_agent(root: Path, text: str, status: str | None) -> None:
    job_id = make_script(root, text)
    fire(job_id, *MANUAL)
    assert ("**Status:** " in page(root, job_id)) == bool(status)
    assert status is None or f"\n**Status:** {status}\n" in page(root, job_id)
