"""The queue of runs, of real runners."""

import contextlib
import datetime
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.hermes import job_store
from hermes_oscron.hermes.home import Home, home_of
from hermes_oscron.runner import turn
from hermes_oscron.runs import lock, queue
from hermes_oscron.schedulers.active import set_active_scheduler
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.service.doctor import Doctor
from hermes_oscron.service.findings import WARNING
from hermes_oscron.service.selection import Selection
from hermes_oscron.service.sync import Reconciler
from tests.cli.conftest import Cli
from tests.conftest import Api, in_seconds, wait_for, write_script
from tests.runner.jobs import (
    LONG_AGO,
    MANUAL,
    change_record,
    configure,
    fire,
    firing,
    make,
    make_script,
    reconciler,
    record,
    service,
)

SCRIPT = 'echo begin $HERMES_JOB_NAME >>"$HERMES_HOME/log"\nsleep 0.5\necho end $HERMES_JOB_NAME >>"$HERMES_HOME/log"\n'
BLOCKER = 'echo begin blocker >>"$HERMES_HOME/log"\nuntil [ -e "$HERMES_HOME/go" ]; do sleep 0.05; done\n'


def job(root: Path, name: str, due: int, text: str = SCRIPT) -> str:
    """Create a job that has just become due, earlier than those with a higher `due`, which is below 60."""
    job_id = make_script(root, text, f"{name}.sh", name=name)
    make_due_at(root, job_id, due)
    return job_id


def make_due_at(root: Path, job_id: str, due: int) -> None:
    """Make `job_id` due as `job` does."""
    second = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    change_record(root, job_id, next_run_at=second.replace(microsecond=due).isoformat())


def log(root: Path) -> list[str]:
    path = root / "log"
    return path.read_text().splitlines() if path.exists() else []


def limit(root: Path, value: object) -> None:
    (root / "config.yaml").write_text(f"cron:\n  max_parallel_jobs: {value}\n")


def queued(root: Path) -> list[str]:
    """The names of the jobs whose runs are queued, as clients see them."""
    return [row["name"] for row in service(root).list_jobs()["jobs"] if row["queued"]]


def wait_for_queued(root: Path, count: int) -> None:
    wait_for(lambda: len(queued(root)) == count, 30)


def left(root: Path) -> list[str]:
    """The files of the queues."""
    return [path.name for path in (root / "cron/oscron").glob("*queue/*") if path.name != ".lock"]


def test_runs_beyond_the_limit_wait_and_begin_in_the_order_in_which_they_were_due(root: Path, home: Home) -> None:
    limit(root, 1)
    blocker = job(root, "blocker", 30, BLOCKER)
    ids = {name: job(root, name, due) for name, due in (("third", 9), ("first", 3), ("second", 5))}
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(blocker))]
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        runners += [stack.enter_context(firing(job_id)) for job_id in ids.values()]
        wait_for_queued(root, 3)
        assert lock.running(home).keys() == {blocker, *ids.values()}
        time.sleep(0.5)
        assert log(root) == ["begin blocker"]
        (root / "go").touch()
        assert [runner.wait(30) for runner in runners] == [0] * 4
    assert log(root)[1:] == [f"{what} {name}" for name in ("first", "second", "third") for what in ("begin", "end")]
    assert left(root) == []


def test_the_limit_of_the_agent_s_env_goes_before_that_of_its_config(root: Path) -> None:
    limit(root, 2)
    (root / ".env").write_text("HERMES_CRON_MAX_PARALLEL=1\n")
    blocker, other = job(root, "blocker", 30, BLOCKER), job(root, "other", 3)
    with firing(blocker) as first:
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        with firing(other) as second:
            wait_for_queued(root, 1)
            assert log(root) == ["begin blocker"]
            (root / "go").touch()
            assert (first.wait(30), second.wait(30)) == (0, 0)


def test_a_limit_of_two_is_used_in_full(root: Path) -> None:
    limit(root, 2)
    ids = [job(root, f"job{number}", number) for number in range(4)]
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(job_id)) for job_id in ids]
        assert [runner.wait(30) for runner in runners] == [0] * 4
    assert most_at_once(log(root)) == 2


def most_at_once(lines: list[str]) -> int:
    """Return how many runs were in progress at once."""
    running, most = 0, 0
    for line in lines:
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    return most


def test_a_runner_that_is_killed_gives_up_its_turn_and_its_place(root: Path) -> None:
    limit(root, 1)
    blocker, second, third = job(root, "blocker", 1, BLOCKER), job(root, "second", 2), job(root, "third", 3)
    with firing(blocker) as first:
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        with firing(second):
            wait_for_queued(root, 1)
        first.kill()
        first.wait()
        assert fire(third).returncode == 0
    (root / "go").touch()
    assert log(root) == ["begin blocker", "begin third", "end third"]


def test_a_run_that_is_stopped_while_it_waits_stays_due(root: Path, home: Home) -> None:
    limit(root, 1)
    blocker, second = job(root, "blocker", 1, BLOCKER), job(root, "second", 2)
    due = record(root, second)["next_run_at"]
    with firing(blocker):
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        with firing(second) as waiting:
            wait_for_queued(root, 1)
            waiting.send_signal(signal.SIGTERM)
            waiting.wait(30)
        assert record(root, second)["next_run_at"] == due and second not in lock.running(home)
        (root / "go").touch()
    assert "begin second" not in log(root)


def test_a_run_by_hand_does_not_wait(root: Path) -> None:
    limit(root, 1)
    blocker, second = job(root, "blocker", 1, BLOCKER), job(root, "second", 2)
    with firing(blocker):
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        assert fire(second, *MANUAL).returncode == 0
        (root / "go").touch()


@pytest.mark.parametrize("value", ["null", "0", "-1", "many", ""])
def test_a_value_that_is_not_a_limit_limits_nothing(root: Path, value: str) -> None:
    limit(root, value)
    assert fire(job(root, "first", 1)).returncode == 0
    assert not list((root / "cron/oscron").glob("*queue"))


@pytest.fixture
def agent(root: Path) -> str:
    """A command that is taken for the agent's `hermes`. It runs every prompt as SCRIPT does."""
    python, hermes = root / "python3", root / "hermes"
    python.write_text(f'#!/bin/sh\n[ "$HERMES_JOB_NAME" ] || exit 1\n{SCRIPT}')
    hermes.write_text(f"#!{python}\n")
    for program in (python, hermes):
        program.chmod(0o755)
    configure(root, f'[exec]\nagent = "{hermes}"\n')
    return str(hermes)


def prompt(root: Path, name: str, due: int) -> str:
    """Create a job of the agent as `job` does."""
    job_id = make(root, name=name)
    make_due_at(root, job_id, due)
    return job_id


@contextlib.contextmanager
def blocked(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """One job has the only turn until the block ends, or `go` is there."""
    with firing(job(root, "blocker", 1, BLOCKER)) as blocker:
        wait_for(lambda: log(root) == ["begin blocker"], 30)
        try:
            yield blocker
        finally:
            (root / "go").touch()
            blocker.wait(30)


def test_runs_by_the_agent_are_limited_to_twice_the_cores_and_scripts_are_not(
        root: Path, home: Home, agent: str) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    with contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        ids = [prompt(root, f"prompt{number}", number) for number in range(5)]
        runners = [stack.enter_context(firing(job_id)) for job_id in ids]
        assert [runner.wait(60) for runner in runners] == [0] * 5
    assert most_at_once(log(root)) == 2 and len(log(root)) == 10
    script = {"id": "a", "no_agent": True, "script": "a.sh"}
    assert turn.limit_of(home, script, config.load(str(root))) is None


def test_max_parallel_of_zero_limits_nothing(root: Path, home: Home, agent: str) -> None:
    configure(root, f'[exec]\nagent = "{agent}"\nmax_parallel = 0\n')
    limit(root, 1)
    assert turn.limit_of(home, {"id": "a", "prompt": "x"}, config.load(str(root))) is None


def test_max_parallel_holds_for_all_runs_of_all_profiles(root: Path) -> None:
    configure(root, "[exec]\nmax_parallel = 1\n")
    limit(root, 5)
    (root / "profiles" / "work").mkdir(parents=True)
    work = service(root).of_profile("work")
    (root / "profiles" / "work" / "scripts").mkdir()
    write_script(root / "profiles" / "work", "second.sh", SCRIPT)
    second = work.create({"schedule": "0 9 * * *", "no_agent": True, "script": "second.sh"})["id"]
    job_store.change(work.home, second, lambda job: job.with_fields({"next_run_at": LONG_AGO}))
    with blocked(root):
        runner = subprocess.Popen([sys.executable, "-m", "hermes_oscron.runner.main", f"work:{second}"])
        wait_for(lambda: work.show(second)["queued"], 30)
        assert log(root) == ["begin blocker"]
    assert runner.wait(30) == 0
    assert work.show(second)["last_status"] == "ok"


def test_a_profile_with_a_limit_of_its_own_has_a_queue_of_its_own(root: Path, home: Home, agent: str) -> None:
    (root / "profiles" / "work").mkdir(parents=True)
    limit(root / "profiles" / "work", 3)
    work = home_of(str(root), "work")
    settings, record = config.load(str(root)), {"id": "a", "prompt": "x"}
    own, shared = turn.limit_of(work, record, settings), turn.limit_of(home, record, settings)
    assert own and shared
    assert (own.runs, own.queue) == (3, work.state.queue)
    assert (shared.runs, shared.queue) == (2 * len(os.sched_getaffinity(0)), home.state.shared_queue)


def test_late_runs_begin_oldest_first_in_any_order_of_their_starts(root: Path) -> None:
    limit(root, 1)
    ids = {name: job(root, name, due) for name, due in (("fourth", 40), ("third", 30), ("second", 20), ("first", 10))}
    with contextlib.ExitStack() as stack:
        for due, job_id in enumerate(reversed(ids.values())):
            change_record(root, job_id, next_run_at=f"2026-01-01T09:{due:02}:00+00:00")
        runners = [stack.enter_context(firing(job_id)) for job_id in ids.values()]
        assert [runner.wait(30) for runner in runners] == [0] * 4
    assert [line for line in log(root) if "begin" in line] == [f"begin {name}" for name in reversed(ids)]


def test_any_waiting_runner_can_be_killed(root: Path) -> None:
    limit(root, 1)
    ids = [job(root, f"job{number}", 10 + number) for number in range(4)]
    with contextlib.ExitStack() as stack, blocked(root) as blocker:
        runners = [stack.enter_context(firing(job_id)) for job_id in ids]
        wait_for_queued(root, 4)
        for killed in (0, 2):  # the first, and one that another waits for
            runners[killed].kill()
            runners[killed].wait()
        blocker.kill()
        blocker.wait()
        begun = time.monotonic()
        assert (runners[1].wait(50), runners[3].wait(50)) == (0, 0)
        assert time.monotonic() - begun < queue.LOOK_INTERVAL_S, "each was woken by the end of the one before"
    assert log(root) == ["begin blocker", *(f"{what} job{number}" for number in (1, 3) for what in ("begin", "end"))]
    assert record(root, ids[0])["last_run_at"] is None and record(root, ids[2])["last_run_at"] is None
    assert [fire(ids[killed]).returncode for killed in (0, 2)] == [0, 0]
    assert {"end job0", "end job2"} < set(log(root)) and left(root) == []


def test_the_foreground_starts_a_queued_run_again_whose_runner_was_killed(root: Path, home: Home) -> None:
    limit(root, 1)
    scheduler = Foreground(str(root))
    planner = Reconciler(Selection(str(root), scheduler))
    with scheduler.firing(planner.record_and_plan, planner.watched_folders):
        with blocked(root):
            second = make_script(root, SCRIPT, "second.sh", name="second", schedule=in_seconds(3))
            wait_for_queued(root, 1)
            killed = runner_of(home, second)
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: queued(root) == ["second"] and runner_of(home, second) != killed, 30)
        wait_for(lambda: "end second" in log(root), 30)
        wait_for(lambda: record(root, second)["last_status"], 30)
    assert log(root).count("begin second") == 1 and record(root, second)["state"] == "completed"


def runner_of(home: Home, job_id: str) -> int:
    """Return the process that holds the lock of the run of `job_id`."""
    return int(json.loads(Path(f"{home.state.runs}/{job_id}").read_text()[:lock.PART_BYTES])["pid"])


def test_a_waiting_runner_costs_no_processor_time(root: Path) -> None:
    limit(root, 1)
    with blocked(root), contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(job(root, f"job{number}", 10 + number))) for number in range(3)]
        wait_for_queued(root, 3)
        time.sleep(0.5)
        switches = [voluntary_switches(runner.pid) for runner in runners]
        time.sleep(2)
        first, *others = (voluntary_switches(runner.pid) - before
                          for runner, before in zip(runners, switches, strict=True))
        assert others == [0, 0] and first <= 3


def voluntary_switches(pid: int) -> int:
    """Return the number of times that the process `pid` has waited."""
    [line] = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(line)


def test_a_queued_run_is_shown_as_queued(root: Path, home: Home, api: Api) -> None:
    limit(root, 1)
    second = job(root, "second", 2)
    with blocked(root), firing(second):
        wait_for_queued(root, 1)
        status = api.get("/api/crons/status")
        assert set(status["running"]) == set(lock.running(home)) and set(status["queued"]) == {second}
        one = api.get(f"/api/crons/status?job_id={second}")
        assert (one["running"], one["queued"]) == (True, True) and isinstance(one["elapsed"], float)
        rows = {row["name"]: row for row in api.get("/api/crons")["jobs"]}
        assert rows["second"]["queued"] and not rows["blocker"]["queued"]
        assert (rows["second"]["state"], rows["second"]["last_status"]) == ("scheduled", None)
        assert api.post("/api/crons/run", {"job_id": second})["status"] == "already_running"
        assert re.search(f"^{second} .* queued [0-9]+s ", Cli().out("list"), re.M)
        assert re.search("^State: +scheduled, queued for [0-9]+s$", Cli().out("show", second), re.M)
        assert f"{second} has been queued for" in Cli().refused("run", second)
        assert f"Skipped: {second} has been queued for" in fire(second).stdout
    assert "queued" not in api.get("/api/crons/status")


def test_doctor_reports_runs_that_have_been_queued_for_more_than_an_hour(root: Path, home: Home) -> None:
    limit(root, 1)
    second, third = job(root, "second", 2), job(root, "third", 3)
    scheduler = Foreground(str(root))
    doctor = Doctor(Selection(str(root), scheduler))
    with blocked(root) as blocker, firing(second), firing(third), scheduler.firing(lambda now: {}):
        wait_for_queued(root, 2)
        [first] = lock.running(home).keys() - {second, third}
        began = backdate(home, first, 9000)
        backdate(home, second, 3500)
        assert not [found for found in doctor.diagnose() if "queued" in found.sentence]
        since = backdate(home, second, 1000)
        backdate(home, third, 4000)
        [found] = [found for found in doctor.diagnose() if "queued" in found.sentence]
    assert (found.severity, found.subject) == (WARNING, f"default:{second}")
    assert found.sentence == (
        f"default:{second}: its run has been queued since {since}, like 1 other of this profile for over an hour: at "
        f"most 1 run at once (the agent's cron.max_parallel_jobs), and default:{first} has run since {began}. If a run "
        f"does not end by itself, end it: 'kill {blocker.pid}' ends that of default:{first}.")


def backdate(home: Home, job_id: str, seconds: float) -> str:
    """Make the run of `job_id` begin `seconds` earlier, in its file; return that time as `doctor` prints it."""
    with open(f"{home.state.runs}/{job_id}", "r+") as file:
        run = json.loads(file.read(lock.PART_BYTES))
        run["started_at"] -= seconds
        file.seek(0)
        file.write(json.dumps(run).ljust(lock.PART_BYTES - 1))
    return f"{datetime.datetime.fromtimestamp(run['started_at'], datetime.UTC):%Y-%m-%d %H:%M} UTC"


def test_the_unit_of_a_queued_run_shows_it(root: Path, tmp_path: Path) -> None:
    limit(root, 1)
    second = job(root, "second", 2, "env\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(30)
        with firing(second, NOTIFY_SOCKET=str(tmp_path / "notify")) as runner:
            assert runner.wait(30) == 0
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(1000)  # a run that does not wait costs nothing
        make_due_at(root, second, 2)
        with blocked(root), firing(second, NOTIFY_SOCKET=str(tmp_path / "notify")) as runner:
            receiver.settimeout(30)
            assert re.fullmatch(rb"STATUS=Queued since 20\S+ \S+ \S+; at most 1 run at once "
                                rb"\(the agent's cron.max_parallel_jobs\)", receiver.recv(1000))
            (root / "go").touch()
            assert receiver.recv(1000) == b"STATUS=Running"
            assert "NOTIFY_SOCKET" not in runner.communicate()[0]


def test_deleting_a_job_ends_its_queued_run_at_once(root: Path) -> None:
    limit(root, 1)
    second, third = job(root, "second", 2), job(root, "third", 3)
    with blocked(root), firing(second) as waiting:
        wait_for_queued(root, 1)
        assert service(root).delete(second) is None
        waiting.wait(10)
    assert fire(third).returncode == 0
    assert "begin second" not in log(root) and left(root) == []


def test_after_a_run_that_was_put_off_while_it_was_queued_a_sync_arms_its_job(root: Path) -> None:
    """A sync leaves the timer of a job that is queued as it is. Here the request fails, since there is no systemd."""
    limit(root, 1)
    second = job(root, "second", 2)
    with blocked(root), firing(second) as waiting:
        wait_for_queued(root, 1)
        change_record(root, second, next_run_at="2099-01-01T09:00:00+00:00")
        set_active_scheduler(str(root), "systemd")
        (root / "go").touch()
        output = "".join(waiting.communicate(timeout=30))
    assert "Skipped: " in output and "begin second" not in log(root) and "'hermes-oscron sync' repairs it" in output


def test_nothing_begins_if_hermes_was_paused_while_it_was_queued(root: Path) -> None:
    limit(root, 1)
    second = job(root, "second", 2)
    due = record(root, second)["next_run_at"]
    with blocked(root), firing(second) as waiting:
        wait_for_queued(root, 1)
        (root / "ESTOP").touch()
        (root / "go").touch()
        assert "Skipped: Hermes is paused" in waiting.communicate(timeout=30)[0]
    assert record(root, second)["next_run_at"] == due and "begin second" not in log(root)


def test_a_queued_run_is_not_missed_though_the_agent_does_not_catch_up(root: Path) -> None:
    (root / "config.yaml").write_text("cron:\n  max_parallel_jobs: 1\n")
    now = datetime.datetime.now(datetime.UTC)
    with blocked(root):
        second = make_script(root, SCRIPT, "second.sh", name="second", schedule="every 5m")
        change_record(root, second, next_run_at=now.isoformat())
        with firing(second) as waiting:
            wait_for_queued(root, 1)
            (root / "config.yaml").write_text("cron:\n  max_parallel_jobs: 1\n  catch_up_missed: false\n")
            change_record(root, second, next_run_at=(now - datetime.timedelta(minutes=13)).isoformat())
            assert not reconciler(root).sync().problems
            (root / "go").touch()
            assert waiting.wait(30) == 0
    assert "end second" in log(root)


def test_the_time_in_the_queue_is_not_part_of_the_time_limit(root: Path) -> None:
    limit(root, 1)
    second = job(root, "second", 2)
    with blocked(root), firing(second) as waiting:
        configure(root, "[exec]\ntimeout = 2\n")
        wait_for_queued(root, 1)
        time.sleep(2)
        (root / "go").touch()
        assert waiting.wait(30) == 0
    assert record(root, second)["last_status"] == "ok"


@pytest.mark.parametrize(("manager", "is_recorded"), [("running", True), ("degraded", True), ("stopping", False)])
def test_a_unit_that_is_stopped_in_the_queue_does_not_run_later_except_after_a_shutdown(
        root: Path, tmp_path: Path, manager: str, is_recorded: bool) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho {manager}; exit 1\n")
    systemctl.chmod(0o755)
    limit(root, 1)
    second = job(root, "second", 2)
    due = record(root, second)["next_run_at"]
    with blocked(root), firing(second) as waiting:
        wait_for_queued(root, 1)
        waiting.terminate()
        waiting.wait(30)
        ended = fire(second, "--settle", SERVICE_RESULT="success", EXIT_STATUS="TERM",
                     PATH=f"{tmp_path}:{os.environ['PATH']}")
        assert ended.returncode == 1
    after = record(root, second)
    assert (after["next_run_at"] != due) == is_recorded
    if is_recorded:
        assert after["last_error"] == "stopped by SIGTERM before it had begun: it was queued."
        assert "is not due" in fire(second).stdout
