"""The nastiest name and prompt on a machine: created, fired, logged, listed and deleted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.sites import CrontabSite, Site, sleep_until

NAME = "-x '\"\\ %n %% $HOME `id`;]\n[Service]\nExecStart=/bin/touch /run/evil\r\n\nOnCalendar=*:*:*\n* * * * * id" \
       "\x1b[2J \u202e\u2028é💾 \\"
PROMPT = f"--help\t{NAME}\n## Response\n$(touch /run/evil)%\u2029\U0001d54f\x85\x7f the end"


@pytest.fixture
def echoing(site: Site) -> Iterator[Site]:
    """Each installation in turn, where the prompt of a job is its output."""
    yield from with_echo_command(site)


@pytest.fixture
def echoing_by_cron(crontab_site: CrontabSite) -> Iterator[CrontabSite]:
    yield from with_echo_command(crontab_site)
    crontab_site.clear()


def with_echo_command(site: Any) -> Iterator[Any]:
    site.put(f"{site.hermes}/oscron.toml", '[exec]\ncommand = ["cat"]\n')
    yield site
    site.run_prompts()


def test_a_job_with_nasty_text_is_one_unit_and_its_text_is_unchanged(echoing: Site) -> None:
    site = echoing
    before = site.armed_timers()
    job = site.api.create(name=NAME, prompt=PROMPT, schedule=site.soon(3))
    job_id = job["id"]
    assert (job["name"], job["prompt"]) == (NAME, PROMPT)
    assert len(site.systemctl(f"list-timers --all --no-legend 'hermes-job@default:{job_id}*'").splitlines()) == 1
    assert site.armed_timers() == before | {f"hermes-job@default:{job_id}.timer"}
    assert site.timer(job_id, "Description") == f"default:{job_id} (Hermes job)", "its name is in no unit"
    assert site.timer(job_id, "Unit") == f"hermes-job@default:{job_id}.service"
    sleep_until(job["next_run_at"])
    assert_it_ran(site, job_id)
    wait_for(lambda: PROMPT.splitlines()[0] in logged_text(site, job_id))
    said = logged_text(site, job_id)
    assert said.count("$(touch /run/evil)%") == 1
    delete(site, job_id)


def logged_text(site: Site, job_id: str) -> str:
    """Return the job's output in the journal, whose JSON has a list of bytes for a message that is not plain text."""
    unit = f"_SYSTEMD_{'' if site.manager == '--system' else 'USER_'}UNIT=hermes-job@default:{job_id}.service"
    entries = site.box.run(f"journalctl --no-pager -o json --all {unit}").stdout.splitlines()
    messages = [json.loads(entry)["MESSAGE"] for entry in entries]
    return "\n".join(message if isinstance(message, str) else bytes(message).decode() for message in messages)


def assert_it_ran(site: Site, job_id: str) -> None:
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok", 20)
    assert (site.api.job(job_id)["name"], site.api.job(job_id)["prompt"]) == (NAME, PROMPT)
    [content] = site.api.outputs(job_id)
    assert PROMPT in content
    assert site.box.run("ls /run/evil", check=False).returncode != 0


def delete(site: Site, job_id: str) -> None:
    site.verb("delete", job_id)
    wait_for(lambda: site.traces(job_id) == "")  # a run is recorded some milliseconds before its unit ends
    assert "OK: no problems found" in site.doctor()[1]


def test_a_job_with_nasty_text_is_one_line_of_a_crontab(echoing_by_cron: CrontabSite) -> None:
    site = echoing_by_cron
    before = site.crontab()
    job = site.api.create(name=NAME, prompt=PROMPT, schedule=site.soon(3))
    [line] = site.lines(job["id"])
    assert site.crontab() == before + line + b"\n" and line.isascii()
    assert_fires_by_cron(site, job["id"], job["next_run_at"])
    assert site.crontab() == before
    delete(site, job["id"])


def assert_fires_by_cron(site: CrontabSite, job_id: str, due: str) -> None:
    sleep_until(due)
    assert_it_ran(site, job_id)
    wait_for(lambda: "$(touch /run/evil)%" in site.syslog(job_id))
    wait_for(lambda: not site.lines(job_id))
