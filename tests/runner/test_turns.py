"""The limit of `cron.max_parallel_jobs` on the runs in progress, of real runners."""

import contextlib
import datetime
import signal
import time
from pathlib import Path

import pytest

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import lock
from tests.conftest import wait_for
from tests.runner.jobs import MANUAL, change_record, fire, firing, make_script, record

SCRIPT = 'echo begin $HERMES_JOB_NAME >>"$HERMES_HOME/log"\nsleep 0.5\necho end $HERMES_JOB_NAME >>"$HERMES_HOME/log"\n'
BLOCKER = 'echo begin blocker >>"$HERMES_HOME/log"\nuntil [ -e "$HERMES_HOME/go" ]; do sleep 0.05; done\n'


def job(root: Path, name: str, due: int, text: str = SCRIPT) -> str:
    """Create a job that was due `due` minutes after nine on a day long ago."""
    job_id = make_script(root, text, f"{name}.sh", name=name)
    moment = datetime.datetime(2026, 1, 1, 9, due, tzinfo=datetime.UTC).isoformat()
    change_record(root, job_id, next_run_at=moment, schedule={"kind": "cron", "expr": f"{due} 9 * * *"},
                  created_at=moment, armed_at=moment)
    return job_id


def log(root: Path) -> list[str]:
    path = root / "log"
    return path.read_text().splitlines() if path.exists() else []


def limit(root: Path, value: object) -> None:
    (root / "config.yaml").write_text(f"cron:\n  max_parallel_jobs: {value}\n")


def waits(root: Path) -> list[Path]:
    return [path for path in (root / "cron/oscron/turns").glob("*") if path.stat().st_size == 0]


def test_runs_beyond_the_limit_wait_and_begin_in_the_order_in_which_they_were_due(root: Path, home: Home) -> None:
    limit(root, 1)
    blocker = job(root, "blocker", 30, BLOCKER)
    ids = {name: job(root, name, due) for name, due in (("third", 9), ("first", 3), ("second", 5))}
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(blocker))]
        wait_for(lambda: log(root) == ["begin blocker"])
        runners += [stack.enter_context(firing(job_id)) for job_id in ids.values()]
        wait_for(lambda: len(waits(root)) == 3)
        assert lock.running(home).keys() == {blocker, *ids.values()}
        time.sleep(0.5)
        assert log(root) == ["begin blocker"]
        (root / "go").touch()
        assert [runner.wait(30) for runner in runners] == [0] * 4
    assert log(root)[1:] == [f"{what} {name}" for name in ("first", "second", "third") for what in ("begin", "end")]
    assert list((root / "cron/oscron/turns").iterdir()) == []


def test_the_limit_of_the_agent_s_env_goes_before_that_of_its_config(root: Path) -> None:
    limit(root, 2)
    (root / ".env").write_text("HERMES_CRON_MAX_PARALLEL=1\n")
    blocker, other = job(root, "blocker", 30, BLOCKER), job(root, "other", 3)
    with firing(blocker) as first:
        wait_for(lambda: log(root) == ["begin blocker"])
        with firing(other) as second:
            wait_for(lambda: len(waits(root)) == 1)
            assert log(root) == ["begin blocker"]
            (root / "go").touch()
            assert (first.wait(30), second.wait(30)) == (0, 0)


def test_a_limit_of_two_is_used_in_full(root: Path) -> None:
    limit(root, 2)
    ids = [job(root, f"job{number}", number) for number in range(4)]
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(firing(job_id)) for job_id in ids]
        assert [runner.wait(30) for runner in runners] == [0] * 4
    running, most = 0, 0
    for line in log(root):
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    assert most == 2


def test_a_runner_that_is_killed_gives_up_its_turn_and_its_place(root: Path) -> None:
    limit(root, 1)
    blocker, second, third = job(root, "blocker", 1, BLOCKER), job(root, "second", 2), job(root, "third", 3)
    with firing(blocker) as first:
        wait_for(lambda: log(root) == ["begin blocker"])
        with firing(second):
            wait_for(lambda: len(waits(root)) == 1)
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
        wait_for(lambda: log(root) == ["begin blocker"])
        with firing(second) as waiting:
            wait_for(lambda: len(waits(root)) == 1)
            waiting.send_signal(signal.SIGTERM)
            waiting.wait(10)
        assert record(root, second)["next_run_at"] == due and second not in lock.running(home)
        (root / "go").touch()
    assert "begin second" not in log(root)


def test_a_run_by_hand_does_not_wait(root: Path) -> None:
    limit(root, 1)
    blocker, second = job(root, "blocker", 1, BLOCKER), job(root, "second", 2)
    with firing(blocker):
        wait_for(lambda: log(root) == ["begin blocker"])
        assert fire(second, *MANUAL).returncode == 0
        (root / "go").touch()


@pytest.mark.parametrize("value", ["null", "0", "-1", "many", ""])
def test_a_value_that_is_not_a_limit_limits_nothing(root: Path, value: str) -> None:
    limit(root, value)
    assert fire(job(root, "first", 1)).returncode == 0
    assert not (root / "cron/oscron/turns").exists()
