import os
import re
import time
from pathlib import Path

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger

from ..conftest import write_jobs
from .conftest import Cli

README = Path(__file__).parents[2] / "README.md"

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_it_shows_the_main_fields_of_the_job(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "name": "Hello", "prompt": "say\nhello", "schedule": DAILY, "last_status": "error",
                      "last_error": "exited with code 3.", "repeat": {"times": 5, "completed": 2}})
    lines = [" ".join(line.split()) for line in cli.out("show", "a").splitlines()]
    for line in ("Id: a", "Name: Hello", "Schedule: Daily at 9:00 AM", "State: scheduled", "Last status: error",
                 "Last error: exited with code 3.", "Runs: 2 of 5", "Prompt: say hello"):
        assert line in lines
    assert any(line.startswith("Next run: ") and line.endswith("T09:00:00+00:00") for line in lines)


def test_a_paused_job_has_its_reason(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "last_run_at": "2026-03-01T09:00:00.123456+00:00"})
    cli.out("pause", "a", "--reason", "in the holidays")
    lines = [" ".join(line.split()) for line in cli.out("show", "a").splitlines()]
    assert "Reason: in the holidays" in lines and "Last run: 2026-03-01T09:00:00+00:00" in lines
    assert any(line.startswith("Paused at: ") for line in lines)


def test_a_run_that_was_not_delivered_has_its_reason(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "last_status": "delivery_failed",
                      "last_delivery_error": "no\ntoken"})
    assert re.search("^Last status: +delivery_failed\nDelivery error: no token$", cli.out("show", "a"), re.M)


def test_a_job_that_never_fires_has_its_reason(cli: Cli, root: Path) -> None:
    once = {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00", "display": "x"}
    write_jobs(root, {"id": "odd", "prompt": "p", "schedule": {"kind": "sundial"}},
               {"id": "never", "prompt": "p", "schedule": {**DAILY, "expr": "0 0 30 2 *"}},
               {"id": "late", "prompt": "p", "schedule": once, "next_run_at": None})
    for job_id, reason in (("odd", "is not a schedule"), ("never", "no occurrence left"), ("late", "its time is past")):
        assert re.search(f"^State: +error\nReason: .*{reason}", cli.out("show", job_id), re.M), job_id


def test_the_fields_that_are_set_are_shown_by_the_words_of_their_options(cli: Cli, root: Path) -> None:
    fields = {"deliver": ["telegram", "local"], "workdir": "/srv", "interpreter": "/usr/bin/python3", "model": "m",
              "profile": "work", "skills": ["a", "b"], "attach_to_session": False, "enabled_toolsets": [],
              "failure_deliver": None, "base_url": "", "no_agent": False, "toast_notifications": False}
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, **fields},
               {"id": "b", "prompt": "p", "schedule": DAILY, "deliver": "local"})
    lines = [" ".join(line.split()) for line in cli.out("show", "a").splitlines()]
    assert lines[-8:] == ["Deliver: telegram,local", "Skills: a, b", "Model: m", "Run profile: work", "Workdir: /srv",
                          "Attach to session: no", "Interpreter: /usr/bin/python3", "Prompt: p"]
    assert len(cli.out("show", "b").splitlines()) == 7


def test_a_job_with_a_budget_shows_what_is_used(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "policy": {"budget": "5000 tokens per day"}},
               {"id": "b", "prompt": "p", "schedule": DAILY, "policy": {"budget": "2.50 USD per month"}})
    home, now = home_of(str(root), "default"), time.time()
    with ledger.writing(home) as books:
        for job_id, usage in (("a", '{"total_tokens": 1240}'), ("b", '{"estimated_cost_usd": 0.12345}')):
            ledger.end_row(books, ledger.begin_row(books, job_id, "", "manual", now, now),
                           ledger.End(now, "ok", usage=usage))
    assert re.search("^Budget used: 1,240 of 5,000 tokens today$", cli.out("show", "a"), re.M)
    assert re.search("^Budget used: 0.1235 of 2.5 USD this month$", cli.out("show", "b"), re.M)
    Path(home.state.ledger).write_bytes(b"no database" * 1000)
    assert re.search("^Budget used: .* is damaged", cli.out("show", "a"), re.M)


def test_only_a_job_with_a_timer_has_a_unit(cli: Cli, root: Path) -> None:
    (root / "oscron.toml").write_text('[scheduler]\nkind = "systemd"\n')
    past = {"kind": "once", "run_at": "2024-03-15T09:00:00+00:00", "display": "x"}
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY},
               {"id": "paused", "prompt": "p", "schedule": DAILY, "state": "paused"},
               {"id": "done", "prompt": "p", "schedule": past, "state": "completed"},
               {"id": "odd", "prompt": "p", "schedule": {"kind": "sundial"}})
    assert "Unit:        hermes-job@default:a.timer\n" in cli.out("show", "a")
    assert not any("Unit" in cli.out("show", job_id) for job_id in ("paused", "done", "odd"))
    home = home_of(str(root), "default")
    os.makedirs(os.path.dirname(home.state.disarmed))
    open(home.state.disarmed, "w").close()
    assert "Unit" not in cli.run("show", "a").stdout


def test_the_readme_shows_what_is_printed(cli: Cli, root: Path) -> None:
    [sample] = re.findall(r"^    \$ hermes-oscron show (\w+)\n((?:    .*\n)+)", README.read_text(), re.M)
    (root / "oscron.toml").write_text('[scheduler]\nkind = "systemd"\n')
    write_jobs(root, {
        "id": sample[0], "name": "disk", "no_agent": True, "script": "disk.sh", "last_status": "ok",
        "schedule": {"kind": "interval", "minutes": 120, "display": "x"}, "next_run_at": "2099-11-23T11:00:00+00:00",
        "last_run_at": "2026-11-23T09:00:00.123456+00:00", "repeat": {"times": None, "completed": 1}})
    shown = cli.out("show", sample[0])
    assert [re.sub(r"^(Next run: +).*", r"\1", line) for line in shown.splitlines()] == [
        re.sub(r"^(Next run: +).*", r"\1", line[4:]) for line in sample[1].splitlines()]


def test_the_beginning_of_an_id_is_enough(cli: Cli, root: Path) -> None:
    write_jobs(root, *({"id": job_id, "prompt": "p", "schedule": DAILY} for job_id in ("abcde1", "abcde2", "abcd")))
    assert [cli.json("show", text)["id"] for text in ("abcd", "default:abcde2")] == ["abcd", "abcde2"]
    write_jobs(root, *({"id": job_id, "prompt": "p", "schedule": DAILY} for job_id in ("abcde1", "abcde2", "xyz")))
    assert "abcde1, abcde2" in cli.refused("delete", "abcde") and "no job 'xy'" in cli.refused("delete", "xy")
    write_jobs(root, {"id": "abcde1", "prompt": "p", "schedule": DAILY})
    assert cli.json("show", "abcd")["id"] == "abcde1"


def test_json_has_every_field(cli: Cli, root: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "from_the_future": 1})
    job = cli.json("show", "a")
    assert (job["schedule"], job["toast_notifications"], job["from_the_future"]) == (
        {"kind": "cron", "expression": "0 9 * * *"}, True, 1)


def test_control_characters_of_a_job_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    evil = "x\x1b]0;owned\x07\x1b[2J\ny"
    write_jobs(root, {"id": "a", "name": evil, "prompt": evil, "schedule": DAILY})
    written = cli.on_terminal("show", "a")
    assert b"\x1b" not in written and b"\x07" not in written
    assert b"x ]0;owned [2J y" in written


def test_control_characters_of_a_run_do_not_reach_the_terminal(cli: Cli, root: Path) -> None:
    evil = "x\x1b]0;owned\x07\x1b[2J\ny"
    write_jobs(root, {"id": "a", "prompt": "p", "schedule": DAILY, "last_status": evil, "last_error": evil,
                      "script": evil})
    written = cli.on_terminal("show", "a")
    assert b"\x1b" not in written and b"\x07" not in written


def test_a_missing_job_is_an_error(cli: Cli) -> None:
    for job_id in ("never-was", "../x", ""):
        assert "no job" in cli.refused("show", job_id)
    cli.refused("show", code=2)
