"""hermes-cron-exec from the outside: what is run and what is skipped, what it answers and what it leaves."""

import datetime
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runner import begin, main
from hermes_oscron.runs import lock, requests
from hermes_oscron.version import version_text
from tests.conftest import write_script
from tests.runner.jobs import (
    MANUAL,
    SLEEPER,
    backdate_interrupted_run,
    change_record,
    command_line,
    configure,
    files,
    fire,
    firing,
    interrupt,
    is_alive,
    kill,
    make,
    make_due,
    make_script,
    page,
    pages,
    pid_in,
    reconciler,
    record,
    section,
    service,
)

NOW = datetime.datetime.now(datetime.UTC)
pytestmark = pytest.mark.usefixtures("without_systemd_environment")


def test_a_due_job_is_run_and_recorded(root: Path) -> None:
    job_id = make_script(root, "echo hello; echo careful >&2\n")
    make_due(root, job_id)
    ended = fire(job_id)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hello\n", "careful\n")
    assert section(page(root, job_id), "Response") == "hello"
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"], after["state"]) == ("ok", None, "scheduled")
    assert after["repeat"] == {"times": None, "completed": 1}
    assert datetime.datetime.fromisoformat(after["last_run_at"]) > NOW
    due = datetime.datetime.fromisoformat(after["next_run_at"])
    assert due > NOW
    assert f"{due:%H:%M:%S%z}" == "09:00:00+0000"


def test_while_the_jobs_are_disarmed_none_fires_and_each_runs_by_hand(root: Path) -> None:
    job_id = make_script(root, "echo hello\n")
    make_due(root, job_id)
    reconciler(root).disarm()
    ended = fire(job_id)
    assert (ended.returncode, ended.stdout) == (0, "Skipped: the jobs are disarmed; 'hermes-oscron arm' arms them "
                                                   "again.\n")
    assert record(root, job_id)["last_run_at"] is None
    assert fire(job_id, *MANUAL).stdout == "hello\n"


def test_a_failed_job_is_a_failed_run(root: Path) -> None:
    job_id = make_script(root, "echo half done; echo 'no such host' >&2; exit 3\n")
    make_due(root, job_id)
    ended = fire(job_id)
    assert ended.returncode == 1
    assert re.fullmatch(rf"{job_id}: failed after \d\.\d s: exited with code 3: no such host", ended.log[-1])
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"]) == ("error", "exited with code 3: no such host")
    assert (after["state"], after["enabled"]) == ("scheduled", True)


def test_a_job_is_not_run_twice_for_one_occurrence(root: Path) -> None:
    job_id = make_script(root, "echo once\n")
    make_due(root, job_id)
    fire(job_id)
    again = fire(job_id)
    assert again.returncode == 0
    assert again.stdout.startswith(f"Skipped: {job_id} is not due before ")
    assert len(pages(root, job_id)) == 1


def test_a_fire_that_is_not_due_touches_no_file(root: Path) -> None:
    job_id = make_script(root, "echo never\n")
    before = files(root)
    ended = fire(job_id)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Skipped: {job_id} is not due before ")
    assert files(root) == before


def test_a_paused_job_is_not_fired_and_no_file_is_touched(root: Path) -> None:
    job_id = make_script(root, "echo never\n")
    service(root).pause(job_id)
    before = files(root)
    ended = fire(job_id)
    said = f"Skipped: {job_id} is paused; 'hermes-oscron run {job_id}' runs it now.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, said, "")
    assert files(root) == before


def test_a_paused_job_runs_by_hand_and_stays_paused(root: Path) -> None:
    job_id = make_script(root, "echo by hand\n")
    service(root).pause(job_id)
    assert fire(job_id, *MANUAL).returncode == 0
    after = record(root, job_id)
    assert (after["state"], after["enabled"], after["next_run_at"]) == ("paused", False, None)
    assert after["last_status"] == "ok"
    assert section(page(root, job_id), "Response") == "by hand"


@pytest.mark.parametrize("environment", [
    {}, {"INVOCATION_ID": "1"}, {"INVOCATION_ID": "1", "TRIGGER_UNIT": "hermes-job@default:x.timer"},
])
def test_a_start_without_a_request_runs_only_a_due_job(root: Path, environment: dict[str, str]) -> None:
    job_id = make_script(root, "echo ran\n")
    ended = fire(job_id, **environment)
    assert ended.stdout.startswith(f"Skipped: {job_id} is not due before ")
    assert ended.stdout.endswith(f"'hermes-oscron run {job_id}' runs it now.\n")
    make_due(root, job_id)
    assert fire(job_id, **environment).stdout == "ran\n"


def test_a_requested_run_is_manual_for_every_way_of_starting_it(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo ran\n")
    service(root).pause(job_id)
    with requests.ask(home, job_id) as request:
        timer = fire(job_id, INVOCATION_ID="1", TRIGGER_UNIT=f"hermes-job@default:{job_id}.timer")
        assert timer.stdout == "ran\n"
        assert request.is_taken() and request.answer() == {"begun": True}
    assert (record(root, job_id)["state"], record(root, job_id)["last_status"]) == ("paused", "ok")
    assert fire(job_id).stdout.startswith("Skipped: "), "a request is good for one run"


def test_a_request_of_a_killed_command_makes_no_run_a_manual_one(root: Path, home: Home) -> None:
    job_id = make_script(root, "echo ran\n")
    asking = subprocess.Popen([sys.executable, "-c", "import sys, time\n"
                               "from hermes_oscron.hermes.home import hermes_root, home_of\n"
                               "from hermes_oscron.runs import requests\n"
                               "with requests.ask(home_of(hermes_root(), 'default'), sys.argv[1]):\n"
                               "    print('asked', flush=True); time.sleep(60)", job_id], stdout=subprocess.PIPE)
    assert asking.stdout and asking.stdout.readline() == b"asked\n"
    asking.kill()
    asking.wait()
    left = root / "cron" / "oscron" / "requests"
    assert len(list(left.iterdir())) == 1
    assert fire(job_id).stdout.startswith(f"Skipped: {job_id} is not due before ")
    due_mark = root / "cron" / "oscron" / f"due@default:{job_id}"
    due_mark.touch()
    reconciler(root).sync()
    assert not list(left.iterdir()) and not due_mark.exists()


def test_a_run_that_cannot_begin_returns_the_reason(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        with requests.ask(home, job_id) as request:
            fire(job_id)
            answer = request.answer()
        assert answer and 0 <= answer["elapsed"] < 10
        runner.terminate()
        runner.wait(10)
    with requests.ask(home, "never-was") as request:
        fire("never-was")
        assert "There is no job 'never-was'" in str(request.answer())
    Path(home.state.runs).rmdir()
    Path(home.state.runs).touch()
    with requests.ask(home, job_id) as request:
        assert fire(job_id).returncode == 2
        assert home.state.runs in request.answer()["refused"]  # type: ignore[index]


def test_a_manual_run_needs_no_due_time(root: Path) -> None:
    job_id = make_script(root, "echo now\n")
    before = record(root, job_id)["next_run_at"]
    assert fire(job_id, *MANUAL).stdout == "now\n"
    assert record(root, job_id)["next_run_at"] == before


def test_a_job_whose_repeats_are_used_up_is_completed(root: Path) -> None:
    job_id = make_script(root, "echo again\n", repeat=2)
    for state, enabled in [("scheduled", True), ("completed", False)]:
        make_due(root, job_id)
        assert fire(job_id).returncode == 0
        assert (record(root, job_id)["state"], record(root, job_id)["enabled"]) == (state, enabled)
    after = record(root, job_id)
    assert (after["next_run_at"], after["repeat"]) == (None, {"times": 2, "completed": 2})
    assert len(pages(root, job_id)) == 2
    assert fire(job_id).stdout == f"Skipped: {job_id} is completed; 'hermes-oscron run {job_id}' runs it now.\n"


@pytest.mark.parametrize(("script", "status"), [("exit 0\n", "ok"), ("exit 1\n", "error")])
def test_a_one_shot_is_completed_by_its_run(root: Path, script: str, status: str) -> None:
    job_id = make_script(root, script, schedule="in 30m")
    make_due(root, job_id)
    fire(job_id)
    after = record(root, job_id)
    assert (after["state"], after["enabled"], after["next_run_at"]) == ("completed", False, None)
    assert after["last_status"] == status
    assert len(pages(root, job_id)) == 1


def test_an_interval_stays_on_its_grid_after_a_run_of_any_length(root: Path) -> None:
    job_id = make_script(root, "echo tick\n", schedule="every 2h")
    make_due(root, job_id)
    fire(job_id)
    due = datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"])
    assert f"{due:%M:%S}" == "00:00"
    assert due.hour % 2 == 1
    assert datetime.timedelta(0) < due - datetime.datetime.now(datetime.UTC) <= datetime.timedelta(hours=2)


def test_a_running_job_shows_as_running(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        run = lock.find(home, job_id)
        assert run
        assert (run.job_id, run.trigger) == (job_id, "manual")
        assert list(service(root).status()) == [job_id]
        runner.terminate()
        runner.wait(10)
    assert service(root).status() == {}
    assert lock.find(home, job_id) is None


@pytest.mark.parametrize("options", [(), MANUAL])
def test_a_fire_while_the_job_runs_is_skipped_and_logged(root: Path, options: tuple[str, ...]) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    with firing(job_id) as runner:
        pid_in(root / "started")
        second = fire(job_id, *options)
        assert second.returncode == 0
        assert re.fullmatch(f"Skipped: {job_id} has been running for \\d s, and never runs twice at once.\n",
                            second.stdout)
        assert record(root, job_id)["last_status"] is None
        runner.terminate()
        runner.wait(10)
    assert len(pages(root, job_id)) == 1


def test_many_simultaneous_fires_cause_one_run(root: Path) -> None:
    job_id = make_script(root, 'echo x >> "$HERMES_HOME/ran"\nsleep 1\n')
    make_due(root, job_id)
    fires = [subprocess.Popen(command_line(job_id), stdout=subprocess.DEVNULL) for _ in range(6)]
    assert [process.wait(30) for process in fires] == [0] * 6
    assert (root / "ran").read_text() == "x\n"
    assert record(root, job_id)["repeat"]["completed"] == 1


def test_sigterm_to_the_runner_ends_the_job_and_is_recorded(root: Path) -> None:
    job_id = make_script(root, 'sleep 30 &\necho $! > "$HERMES_HOME/started"\nwait\n')
    with firing(job_id, *MANUAL) as runner:
        grandchild = pid_in(root / "started")
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(10) == 1
    assert not is_alive(grandchild)
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"]) == ("error", "stopped by SIGTERM before it had ended.")
    assert section(page(root, job_id), "Error") == "stopped by SIGTERM before it had ended."


def test_the_configured_timeout_ends_the_job(root: Path) -> None:
    configure(root, "[exec]\ntimeout = 0.3\n")
    job_id = make_script(root, "echo begun; sleep 30\n")
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_error"] == "timed out after 0.3 s."
    assert section(page(root, job_id), "Response") == "begun"


@pytest.mark.parametrize(("config", "toml"), [
    ("cron:\n  script_timeout_seconds: 1\n", ""),
    ("cron: {script_timeout_seconds: '1.5'}\n", ""),
    ("cron:\n  script_timeout_seconds: 3600\n", "[exec]\ntimeout = 1\n"),
])
def test_a_script_has_the_agent_s_time_limit_without_a_configured_one(root: Path, config: str, toml: str) -> None:
    (root / "config.yaml").write_text(config)
    configure(root, toml)
    job_id = make_script(root, "echo begun; sleep 30\n")
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_error"] == "timed out after 1 s."


def test_the_time_limit_of_the_agent_s_env_goes_before_that_of_its_config(root: Path) -> None:
    (root / "config.yaml").write_text("cron:\n  script_timeout_seconds: 3600\n")
    (root / ".env").write_text("HERMES_CRON_SCRIPT_TIMEOUT=1\n")
    job_id = make_script(root, "echo begun; sleep 30\n")
    assert fire(job_id, *MANUAL).returncode == 1
    assert record(root, job_id)["last_error"] == "timed out after 1 s."


@pytest.mark.parametrize("config", ["cron: {script_timeout_seconds: 0}\n", "cron: {script_timeout_seconds: .nan}\n",
                                    "cron: {script_timeout_seconds: soon}\n", "cron: [script_timeout_seconds\n",
                                    "script_timeout_seconds: 1\n", "- script_timeout_seconds\n"])
def test_a_time_limit_of_the_agent_that_is_not_one_is_ignored(root: Path, config: str) -> None:
    (root / "config.yaml").write_text(config)
    job_id = make_script(root, "sleep 1.2\n")
    assert (fire(job_id, *MANUAL).returncode, record(root, job_id)["last_status"]) == (0, "ok")


@pytest.mark.parametrize("timeout", ["10_000_000", "999_999_999"])
def test_a_very_long_timeout_is_not_an_error(root: Path, timeout: str) -> None:
    configure(root, f"[exec]\ntimeout = {timeout}\n")
    job_id = make_script(root, "echo done\n")
    assert (fire(job_id, *MANUAL).returncode, record(root, job_id)["last_status"]) == (0, "ok")


def test_after_kill_9_the_job_does_not_run_and_the_next_fire_records_it(root: Path, home: Home) -> None:
    job_id = make_script(root, SLEEPER)
    interrupt(root, job_id)
    assert lock.running(home) == {}
    assert [run.job_id for run in lock.unrecorded(home)] == [job_id]
    write_script(root, "job.sh", 'cat "$HERMES_HOME/cron/jobs.json"\n')
    backdate_interrupted_run(root, job_id, 2)
    ended = fire(job_id)
    assert ended.returncode == 0
    [seen] = json.loads(ended.stdout)["jobs"]
    assert seen["last_status"] == "error"
    assert re.match(r"interrupted: the run begun at \d{4}-\d\d-\d\d .* never ended by itself", seen["last_error"])
    after = record(root, job_id)
    assert (after["last_status"], after["last_error"], after["repeat"]["completed"]) == ("ok", None, 2)
    assert lock.unrecorded(home) == []


def test_a_one_shot_that_was_killed_is_not_run_again(root: Path) -> None:
    job_id = make_script(root, SLEEPER, schedule="in 30m")
    interrupt(root, job_id)
    make_due(root, job_id)
    write_script(root, "job.sh", "echo again\n")
    assert fire(job_id).returncode == 0
    assert record(root, job_id)["state"] == "completed"
    assert record(root, job_id)["last_error"].startswith("interrupted")
    assert pages(root, job_id) == []


def test_a_job_deleted_during_its_run_ends_by_itself_and_leaves_nothing(root: Path, home: Home) -> None:
    job_id = make_script(root, 'echo $$ > "$HERMES_HOME/started"\nread -t 5 < "$HERMES_HOME/pipe"\necho done\n')
    os.mkfifo(root / "pipe")
    with firing(job_id, *MANUAL) as runner:
        pid_in(root / "started")
        service(root).delete(job_id)
        (root / "pipe").write_text("go on\n")
        assert runner.wait(10) == 0
        assert runner.stdout
        assert re.fullmatch(f"{job_id}: started by hand\ndone\n{job_id}: succeeded after .* s; the job was deleted "
                            f"during the run, and its output with it\n", runner.stdout.read())
    assert not list((root / "cron" / "output").glob("*"))
    assert os.listdir(home.state.runs) == []
    assert job_id not in (root / "cron" / "jobs.json").read_text()


def test_a_job_changed_while_it_runs_is_due_by_its_new_schedule(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "started")
        service(root).update(job_id, {"schedule": "30 17 * * *", "name": "another name"})
        kill(job)
        runner.wait(10)
    after = record(root, job_id)
    assert after["next_run_at"].endswith("17:30:00+00:00")
    assert (after["name"], after["last_status"]) == ("another name", "error")


def test_a_job_paused_while_it_runs_stays_paused(root: Path) -> None:
    job_id = make_script(root, SLEEPER)
    make_due(root, job_id)
    with firing(job_id) as runner:
        job = pid_in(root / "started")
        service(root).pause(job_id)
        kill(job)
        runner.wait(10)
    after = record(root, job_id)
    assert (after["state"], after["next_run_at"], after["last_status"]) == ("paused", None, "error")


def test_unknown_keys_are_preserved_by_a_run(root: Path) -> None:
    job_id = make_script(root, "echo\n")
    path = root / "cron" / "jobs.json"
    document = json.loads(path.read_text())
    document["version"], document["jobs"][0]["from_a_newer_agent"] = 7, {"a": [1]}
    path.write_text(json.dumps(document))
    fire(job_id, *MANUAL)
    after = json.loads(path.read_text())
    assert (after["version"], after["jobs"][0]["from_a_newer_agent"]) == (7, {"a": [1]})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2", b'"jobs"'])
def test_an_unreadable_jobs_json_is_refused_and_not_changed(root: Path, content: bytes) -> None:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir()
    path.write_bytes(content)
    ended = fire("4f2a9c1d07be", *MANUAL)
    assert ended.returncode == 2
    assert str(path) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert path.read_bytes() == content
    assert not (root / "cron" / "output").exists()


def test_a_fire_waits_while_jobs_json_is_being_repaired(root: Path) -> None:
    job_id = make_script(root, "echo fine\n")
    make_due(root, job_id)
    path = root / "cron" / "jobs.json"
    sound = path.read_bytes()
    path.write_bytes(sound[:50])
    with firing(job_id) as runner:
        time.sleep(1.5)
        assert runner.poll() is None
        path.write_bytes(sound)
        assert runner.wait(20) == 0
    assert section(page(root, job_id), "Response") == "fine"


def test_a_fire_does_not_wait_forever(root: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    job_id = make_script(root, "echo fine\n")
    (root / "cron" / "jobs.json").write_text("{")
    monkeypatch.setattr(begin, "JOBS_FILE_TIMEOUT_S", 0.1)
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    assert main.main([f"default:{job_id}"]) == 2
    assert "jobs.json is not JSON" in capsys.readouterr().err


def test_the_last_fire_of_a_deleted_job_is_not_a_failure(root: Path) -> None:
    ended = fire("4f2a9c1d07be")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Skipped: There is no job '4f2a9c1d07be' in profile default. It was deleted.\n"


@pytest.mark.parametrize("arguments", [
    [], ["default:a", "--trigger"], ["default:a", "--trigger", "cron"], ["default:a", "--settle", "now"],
    ["default:a", "default:b"], ["default:a", "--help"], ["default:a", "--trigger", "manual", "--settle"],
])
def test_bad_arguments_are_answered_with_the_usage(root: Path, arguments: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", *arguments], capture_output=True,
                           text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "Usage: hermes-cron-exec PROFILE:JOB_ID [--trigger manual | --settle] [--crontab]\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_describes_every_option_and_runs_no_job(root: Path, option: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", option], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr, files(root)) == (0, "", {})
    usage, *others = ended.stdout.splitlines()
    assert usage == main.USAGE
    for name in [*re.findall(r"--[a-z]+", usage), "--version", "--help"]:
        assert any(line.startswith("  ") and name in line.split() for line in others), name


def test_version_names_the_command(root: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", "--version"], capture_output=True,
                           text=True)
    assert (ended.returncode, ended.stderr, files(root)) == (0, "", {})
    assert ended.stdout == f"{version_text('hermes-cron-exec')}\n"


@pytest.mark.parametrize("instance", ["", "4f2a", ":", "default:", ":4f2a", "default:../../etc", "../x:4f2a",
                                      "default:.hidden", "default:a/b", "default:a\nb", "default:" + "a" * 65])
def test_a_name_that_is_not_an_instance_is_refused(root: Path, instance: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", instance], capture_output=True,
                           text=True)
    assert ended.returncode == 2
    assert "is not PROFILE:JOB_ID, like default:4f2a9c1d07be." in ended.stderr
    assert files(root) == {}


def test_a_missing_profile_is_refused(root: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", "work:4f2a"], capture_output=True,
                           text=True)
    assert ended.returncode == 2
    assert f"There is no profile 'work' under {root}/profiles." in ended.stderr


def test_a_job_of_another_profile_runs_in_the_home_of_that_profile(root: Path) -> None:
    work = root / "profiles" / "work"
    (work / "scripts").mkdir(parents=True)
    (work / "scripts" / "job.sh").write_text('echo "$HERMES_HOME"\n')
    (root / "active_profile").write_text("work\n")
    job_id = make(root, no_agent=True, script="job.sh")
    ended = subprocess.run([sys.executable, "-m", "hermes_oscron.runner.main", f"work:{job_id}", *MANUAL],
                           capture_output=True, text=True)
    assert ended.returncode == 0 and f"\n{work}\n" in ended.stdout
    [written] = (work / "cron" / "output" / job_id).iterdir()
    assert f"\n{work}\n" in written.read_text()
    assert not (root / "cron" / "output").exists()


@pytest.mark.parametrize(("toml", "fault"), [
    ("[exec]\ntimeout = -1\n", "exec.timeout takes a number of seconds above zero"),
    ("[exec\n", "cannot be read"),
    ("[exec]\ncomand = ['x']\n", "there is no setting 'exec.comand'"),
])
def test_an_invalid_configuration_is_a_failed_run_that_names_it(root: Path, toml: str, fault: str) -> None:
    job_id = make_script(root, "echo never\n")
    configure(root, toml)
    assert fire(job_id, *MANUAL).returncode == 1
    after = record(root, job_id)
    assert after["last_status"] == "error"
    assert f"{root}/oscron.toml" in after["last_error"]
    assert fault in after["last_error"]
    assert "never" not in section(page(root, job_id), "Response")


def test_only_its_owner_can_read_the_files_of_a_run(root: Path) -> None:
    job_id = make_script(root, "echo secret\n")
    fire(job_id, *MANUAL)
    [written] = (root / "cron" / "output" / job_id).iterdir()
    for path in (written, root / "cron" / "jobs.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (written.parent, written.parent.parent, root / "cron" / "oscron" / "runs"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


@pytest.mark.parametrize("umask", ["0022", "0077"])
def test_a_job_keeps_the_umask_of_its_runner(root: Path, umask: str) -> None:
    job_id = make_script(root, "umask\n")
    ended = subprocess.run(["sh", "-c", 'umask "$0"; exec "$@"', umask, *command_line(job_id, *MANUAL)],
                           capture_output=True, text=True)
    assert f"\n{umask}\n" in ended.stdout


def test_a_closed_output_does_not_end_the_job(root: Path) -> None:
    job_id = make_script(root, "for i in 1 2 3; do echo line $i; done\n")
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command_line(job_id, *MANUAL), stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert section(page(root, job_id), "Response") == "line 1\nline 2\nline 3"


BEFORE_THE_TURN = {
    "collections", "contextlib", "copyreg", "datetime", "encodings", "enum", "errno", "fcntl", "functools", "gc",
    "itertools", "json", "keyword", "math", "operator", "pwd", "re", "reprlib", "string", "tomllib", "types", "typing",
    "warnings", "annotationlib",
    *(f"hermes_oscron{name}" for name in (
        "", ".account", ".config", ".errors", ".files", ".hermes", ".hermes.agent", ".hermes.agent_settings",
        ".hermes.claims", ".hermes.emergency_stop", ".hermes.entries", ".hermes.gateway", ".hermes.home",
        ".hermes.in_sync", ".hermes.jobs_file", ".hermes.jobs_text", ".hermes.timekeeper", ".installation", ".jobs",
        ".jobs.record", ".runner", ".runner.begin",
        ".runner.environment", ".runner.log", ".runner.main", ".runner.turn", ".runs", ".runs.lock", ".runs.model",
        ".runs.requests", ".state")),
}
"""The modules that a script's fire imports until its turn, for which a hundred runners may wait at once."""
BEFORE_THE_JOB = BEFORE_THE_TURN | {
    "locale", "msvcrt", "select", "selectors", "signal", "struct", "subprocess", "sysconfig", "threading", "weakref",
    "zoneinfo",
    *(f"hermes_oscron.{name}" for name in (
        "barrier", "hermes.job_store", "hermes.timezone", "jobs.claiming", "jobs.due", "jobs.model", "runner.command",
        "runner.process", "schedule", "schedule.cron", "schedule.display", "schedule.model", "schedule.occurrences")),
}
"""Those that it imports until it starts the job. Each costs 0.3 ms or more: add one only if there is no other way."""


def imported(lines: str) -> set[str]:
    """Return the modules in `lines` of PYTHONPROFILEIMPORTTIME: the package's, and Python's public top-level ones."""
    names = re.findall(r"^import time: .*\| +(\S+)$", lines, re.M)
    return {name if name.startswith("hermes_oscron") else name.partition(".")[0] for name in names
            if not name.startswith("_")}


def test_a_fire_imports_few_modules_before_it_starts_the_job(root: Path) -> None:
    job_id = make_script(root, "echo hello\n")
    configure(root, "[exec]\nmax_parallel = 1\n")
    change_record(root, job_id, next_run_at=datetime.datetime.now(datetime.UTC).isoformat())
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    ended = subprocess.run(command_line(job_id), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, check=True)
    bare = subprocess.run([sys.executable, "-c", "import runpy"], env=environment, capture_output=True, text=True)
    before, started, _ = ended.stdout.partition(": started")
    until_turn, queue, _ = before.partition("hermes_oscron.runs.queue\n")
    assert started and queue and "hello" not in before
    waiting = {"atexit", "select", "hermes_oscron.runs.queue", "hermes_oscron.runner.network"}
    assert imported(until_turn + queue) - imported(bare.stderr) <= BEFORE_THE_TURN | waiting
    assert imported(before) - imported(bare.stderr) <= BEFORE_THE_JOB | waiting


def test_a_fire_does_not_import_croniter(root: Path) -> None:
    """Neither for an expression that is computed before the run nor for the next run after it."""
    job_id = make_script(root, "echo hello\n", schedule="0 9 * * MON-FRI")
    make_due(root, job_id)
    ended = fire(job_id, PYTHONPROFILEIMPORTTIME="1")
    assert (ended.returncode, ended.stdout) == (0, "hello\n")
    assert record(root, job_id)["last_status"] == "ok"
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", ended.stderr, re.M))
    assert "hermes_oscron.schedule.cron" in imported
    assert not {name for name in imported if name.partition(".")[0] in ("croniter", "dateutil")}
    parser = ("parse", "phrase", "rules", "combine", "one_shot", "words", "warn", "cron_text")
    assert not imported & {f"hermes_oscron.schedule.{name}" for name in parser}


@pytest.mark.parametrize("options", [(), MANUAL])
def test_nothing_begins_while_hermes_is_paused(root: Path, options: tuple[str, ...]) -> None:
    job_id = make_script(root, "echo never\n")
    make_due(root, job_id)
    (root / "ESTOP").write_text('{"reason": "moving house"}')
    before = files(root)
    ended = fire(job_id, *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Skipped: Hermes is paused (moving house) by {root}/ESTOP; ")
    assert ("--force" in ended.stdout) == bool(options)
    refused = root / "cron" / "oscron" / "refused"  # doctor then reports no missed run of that time
    assert refused.exists() != bool(options)
    refused.unlink(missing_ok=True)
    after = files(root)
    ledger = str(root / "cron" / "oscron" / "runs.db")  # has a row of the start that did not happen
    assert (after.pop(ledger) != before.pop(ledger)) == (not options)
    assert after == before, "it stays due"
    (root / "ESTOP").unlink()
    assert fire(job_id).stdout == "never\n"


def test_a_fire_that_is_not_due_does_not_mention_the_pause(root: Path) -> None:
    job_id = make_script(root, "echo never\n")
    (root / "ESTOP").touch()
    assert "is not due before" in fire(job_id).stdout


@pytest.mark.parametrize("catches_up", [True, False])
def test_an_occurrence_missed_by_far_is_skipped_only_if_the_agent_does_not_catch_up(
        root: Path, catches_up: bool) -> None:
    job_id = make_script(root, "echo late\n", schedule="0 0 1 1 *")
    change_record(root, job_id, next_run_at="2026-01-01T00:00:00+00:00")
    (root / "config.yaml").write_text(f"cron:\n  catch_up_missed: {str(catches_up).lower()}\n")
    ended = fire(job_id)
    due = datetime.datetime.fromisoformat(record(root, job_id)["next_run_at"])
    assert ended.returncode == 0 and due > NOW and (due.month, due.day) == (1, 1)
    assert (ended.stdout == "late\n") == catches_up
    assert ("missed its time, and cron.catch_up_missed is false" in ended.stdout) != catches_up


def test_a_job_that_is_a_minute_late_is_run_though_the_agent_does_not_catch_up(root: Path) -> None:
    job_id = make_script(root, "echo late\n")
    change_record(root, job_id, next_run_at=(NOW - datetime.timedelta(seconds=60)).isoformat())
    (root / "config.yaml").write_text("cron: {catch_up_missed: false}\n")
    assert fire(job_id).stdout == "late\n"
