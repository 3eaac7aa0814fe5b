"""A real agent and a real systemd: after a change of a job by any program, its timer fires and the agent runs it."""

import datetime
import time
from collections.abc import Iterator

import pytest

from tests.agent.model import Model
from tests.conftest import wait_at_most, wait_for
from tests.machine.agents import PATH, RUN_S, agent, hermes
from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site, add_account, free_port, soon


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.close()


@pytest.fixture(scope="module")
def installed(machine: Box, model: Model) -> Site:
    """Return an installation for `mira`, where the agent is on the PATH."""
    add_account(machine, "mira")
    site = Site(machine, "mira", free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", model.config)
    site.install()
    return site


@pytest.fixture
def site(installed: Site, model: Model) -> Iterator[Site]:
    model.calls.clear()
    yield installed
    installed.clear()


def timer_of(site: Site, profile: str, job_id: str) -> str:
    return site.systemctl(f"show -P ActiveState hermes-job@{profile}:{job_id}.timer").strip()


def test_a_job_created_over_http_runs_by_timer_agent_and_model(site: Site, model: Model) -> None:
    due = soon(3)
    job_id = site.api.create(prompt="Say ping.", schedule="0 9 * * *")["id"]
    site.verb("update", job_id, schedule=due, repeat=2)
    wait_for(lambda: model.calls_with("Say ping."), RUN_S)
    wait_for(lambda: site.api.outputs(job_id), RUN_S)
    assert "The model was here." in site.api.outputs(job_id)[0]
    assert len(model.calls_with("Say ping.")) == 1
    assert model.calls[0].at >= datetime.datetime.fromisoformat(due).timestamp()
    assert "Say ping" not in site.journal(job_id)


def test_a_job_of_hermes_cron_create_fires_and_is_disarmed_when_it_is_done(site: Site, model: Model) -> None:
    due = soon(8)
    hermes(site, f"cron create {due} 'Say pong.' --name ponger")
    [job] = wait_for(lambda: site.api.get("/api/crons")["jobs"])
    wait_at_most(lambda: site.armed(job["id"]), 2)
    assert (job["name"], job["prompt"], job["next_run_at"]) == ("ponger", "Say pong.", due)
    wait_for(lambda: model.calls_with("Say pong."), RUN_S)
    # the agent 0.19 removes what is done, 0.22 keeps it as completed
    wait_for(lambda: all(job["state"] == "completed" for job in site.api.get("/api/crons")["jobs"]), RUN_S)
    wait_for(lambda: not site.armed_timers())
    assert "The model was here." in site.api.outputs(job["id"])[0]
    assert len(model.calls_with("Say pong.")) == 1


def test_a_change_by_the_agent_is_armed_within_a_second(site: Site) -> None:
    job_id = agent(site, "answer = create_job('x', '0 9 * * *')['id']")
    wait_at_most(lambda: site.armed(job_id), 2)
    agent(site, f"answer = update_job('{job_id}', {{'schedule': '30 10 * * *'}})")
    wait_at_most(lambda: (due := site.next_fire(job_id)) and (due.hour, due.minute) == (10, 30), 2)
    agent(site, f"answer = pause_job('{job_id}')")
    wait_at_most(lambda: not site.armed(job_id), 2)
    agent(site, f"answer = resume_job('{job_id}')")
    wait_at_most(lambda: site.armed(job_id), 2)
    agent(site, f"answer = remove_job('{job_id}')")
    wait_at_most(lambda: not site.armed(job_id), 2)


def test_hermes_cron_lists_edits_and_removes_the_jobs_of_the_api(site: Site) -> None:
    job_id = site.api.create(name="ours", prompt="x", schedule="0 9 * * *")["id"]
    listed = hermes(site, "cron list")
    assert job_id in listed and "ours" in listed
    hermes(site, f"cron edit {job_id} --schedule '15 8 * * *' --name theirs")
    wait_at_most(lambda: (due := site.next_fire(job_id)) and (due.hour, due.minute) == (8, 15), 2)
    assert site.api.job(job_id)["name"] == "theirs"
    hermes(site, f"cron pause {job_id}")
    wait_at_most(lambda: not site.armed(job_id), 2)
    assert site.api.job(job_id)["state"] == "paused"
    hermes(site, f"cron resume {job_id}")
    wait_at_most(lambda: site.armed(job_id), 2)
    hermes(site, f"cron remove {job_id}")
    wait_at_most(lambda: not site.armed(job_id), 2)
    assert site.api.get("/api/crons")["jobs"] == []


def test_an_editor_s_change_is_armed_within_a_second(site: Site) -> None:
    job_id = site.api.create(schedule="0 9 * * *")["id"]
    site.run(f"sed -i 's/0 9 [*] [*] [*]/45 11 * * */' {site.hermes}/cron/jobs.json")
    wait_at_most(lambda: (due := site.next_fire(job_id)) and (due.hour, due.minute) == (11, 45), 2)
    assert site.api.job(job_id)["next_run_at"][11:16] == "11:45"


def test_a_run_requested_through_the_agent_begins_once_and_at_once(site: Site, model: Model) -> None:
    job_id = site.api.create(prompt="Right away.", schedule="0 9 * * *")["id"]
    hermes(site, f"cron run {job_id}")
    wait_for(lambda: model.calls_with("Right away."), RUN_S)
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok" and not site.api.running(), RUN_S)
    time.sleep(2)
    assert len(model.calls_with("Right away.")) == 1
    assert site.api.job(job_id)["next_run_at"][11:16] == "09:00"


def test_a_new_profile_is_watched_and_its_jobs_run_in_it(site: Site, model: Model) -> None:
    home = f"{site.hermes}/profiles/work"
    try:
        site.put(f"{home}/config.yaml", model.config.replace("stub-model", "work-model"))
        wait_at_most(lambda: "active" in site.systemctl("is-active hermes-oscron-watch@work.path", check=False), 3)
        due = soon(8)
        job_id = agent(site, f"answer = create_job('Say work.', '{due}')['id']", home)
        wait_at_most(lambda: timer_of(site, "work", job_id) == "active", 2)
        [row] = site.api.get("/api/crons?all_profiles=1")["jobs"]
        assert (row["owner_profile"], row["read_only"]) == ("work", True)
        assert site.api.get("/api/crons")["other_profile_count"] == 1
        wait_for(lambda: model.calls_with("Say work."), RUN_S)
        assert model.calls_with("Say work.")[0].model == "work-model"
        wait_for(lambda: timer_of(site, "work", job_id) == "inactive", 20)
        assert "The model was here." in site.run(f"cat {home}/cron/output/{job_id}/*.md").stdout
    finally:
        site.run(f"rm -r {home}")
    wait_at_most(lambda: "inactive" in site.systemctl("is-active hermes-oscron-watch@work.path", check=False), 3)


def test_many_quick_writes_cause_few_syncs_and_every_job_is_armed(site: Site) -> None:
    def syncs() -> int:
        said = site.box.run("journalctl --no-pager -o cat _SYSTEMD_USER_UNIT=init.scope + "
                            "USER_UNIT=hermes-oscron-sync.service", check=False).stdout
        return str(said).count("Starting hermes-oscron-sync.service")

    with site.starts_of_syncs_logged():
        before = syncs()
        made = agent(site, "answer = [create_job('x', '0 9 * * *')['id'] for _ in range(100)]")
        wait_at_most(lambda: len(site.armed_timers()) == 100, 5)
        removed = agent(site, f"answer = [remove_job(job_id) for job_id in {made[:90]!r}]")
        assert all(removed)
        wait_at_most(lambda: len(site.armed_timers()) == 10, 5)
        assert 0 < syncs() - before < 40
    assert site.doctor()[0] == 0


def test_a_killed_run_is_recorded_and_the_next_run_succeeds(site: Site, model: Model) -> None:
    held = model.answer
    model.answer = lambda _call: str(wait_for(lambda: site.api.job(job_id)["last_status"], RUN_S))
    job_id = site.api.create(schedule="0 9 * * *")["id"]
    try:
        site.verb("run", job_id)
        wait_for(lambda: model.calls, RUN_S)
        site.systemctl(f"kill -s KILL hermes-job@default:{job_id}.service")
        job = wait_for(lambda: (job := site.api.job(job_id))["last_status"] and job)
    finally:
        model.answer = held
    assert job["last_status"] == "error" and "interrupted" in job["last_error"]
    site.verb("run", job_id)
    wait_for(lambda: site.api.job(job_id)["last_status"] == "ok", RUN_S)


def test_an_existing_home_is_adopted_with_ids_history_and_next_runs(machine: Box, model: Model) -> None:
    add_account(machine, "nora")
    site = Site(machine, "nora", free_port(), PATH=PATH)
    site.put(f"{site.hermes}/config.yaml", model.config)
    made = agent(site, """
answer = {kind: create_job('Say ' + kind, schedule)['id'] for kind, schedule in
          {'cron': '0 9 * * *', 'interval': 'every 3h', 'paused': '0 7 * * *', 'missed': '0 5 * * *'}.items()}
pause_job(answer['paused'])
mark_job_run(answer['cron'], True)
save_job_output(answer['cron'], 'an old output')
jobs = load_jobs()
next(job for job in jobs if job['id'] == answer['missed'])['next_run_at'] = '2026-01-02T05:00:00+00:00'
save_jobs(jobs)
""")
    before = {job["id"]: job for job in site.stored_jobs()}
    content = site.run(f"cat {site.hermes}/cron/jobs.json").stdout
    said = site.run(f"{INSIDE}/install.sh --dry-run").stdout
    assert f"default:{made['missed']}  Say missed\n    runs at once: due 2026-01-02 05:00 UTC" in said
    assert f"default:{made['paused']}  Say paused\n    stays paused" in said
    assert f"default:{made['cron']}  Say cron\n    fires at {before[made['cron']]['next_run_at'][:10]} 09:00:00" in said
    assert site.run(f"cat {site.hermes}/cron/jobs.json").stdout == content
    assert not site.run("ls ~/.local", check=False).stdout

    site.install()
    assert site.armed_timers() == {f"hermes-job@default:{made[kind]}.timer" for kind in ("cron", "interval", "missed")}
    wait_for(lambda: model.calls_with("Say missed"), RUN_S)
    wait_for(lambda: site.api.job(made["missed"])["last_status"] == "ok", RUN_S)
    after = {job["id"]: job for job in site.api.get("/api/crons")["jobs"]}
    assert after.keys() == before.keys()
    for kind in ("cron", "interval"):
        job_id = made[kind]
        assert after[job_id]["last_run_at"] == before[job_id]["last_run_at"]
        assert after[job_id]["created_at"] == before[job_id]["created_at"]
        due = datetime.datetime.fromisoformat(before[job_id]["next_run_at"]).replace(microsecond=0)
        assert datetime.datetime.fromisoformat(after[job_id]["next_run_at"]) == due
        assert site.next_fire(job_id) == due
    assert site.api.outputs(made["cron"]) == ["an old output"]
    assert len(model.calls_with("Say missed")) == 1 and not model.calls_with("Say cron")


def test_a_sync_does_the_maintenance_of_the_agent_s_scheduler(site: Site) -> None:
    job_id = site.api.create(prompt="x", schedule="0 9 * * *")["id"]
    agent(site, f"from cron.executions import create_execution as it\nanswer = it('{job_id}', source='builtin')")
    ledger = f"from cron.executions import list_executions\nanswer = list_executions(job_id='{job_id}')[0]['status']"
    assert agent(site, ledger) == "claimed"
    site.run(f"rm -f {site.hermes}/cron/oscron/maintained")
    site.systemctl("start hermes-oscron-sync")
    assert agent(site, ledger) == "unknown"
    site.run(f"test -f {site.hermes}/cron/oscron/maintained")
