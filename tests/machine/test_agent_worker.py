"""The agent worker under a real systemd: runs are forks of it, and belong to the units of their jobs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.agents import AGENT, PATH, RUN_S, HeldModel
from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site, SystemSite, add_account, free_port

WORKER, SOCKET = "hermes-oscron-agent@default.service", "hermes-oscron-agent@default.socket"
FORK = "in_agent/worker.py"


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """A machine of its own: there is one system installation, which other files have for another account."""
    with contextlib.closing(Box()) as box:
        box.boot()
        yield box


@pytest.fixture(scope="module", params=["system", "user"])
def installed(request: pytest.FixtureRequest, machine: Box) -> Site:
    add_account(machine, f"wim-{request.param}", linger=request.param == "user")
    kind = SystemSite if request.param == "system" else Site
    site = kind(machine, f"wim-{request.param}", free_port(), PATH=PATH)
    if request.param == "system":
        site.options = f"--account {site.user}"
    site.put(site.config, f'[exec]\nagent = "{AGENT}/hermes"\n')
    site.install()
    site.run(f"{AGENT}/python -c 'import cron.scheduler, run_agent, openai.resources'")  # a cold disk takes a minute
    return site


@pytest.fixture
def model(installed: Site) -> Iterator[HeldModel]:
    model = HeldModel()
    installed.put(f"{installed.hermes}/config.yaml", model.config)
    yield model
    model.released.set()
    model.close()


@pytest.fixture
def site(installed: Site, model: HeldModel) -> Iterator[Site]:
    yield installed
    model.released.set()
    for job in installed.stored_jobs():
        wait_for(lambda job=job: not installed.runner(job["id"]), RUN_S)
    installed.clear()


def begin(site: Site, model: HeldModel, prompt: str) -> str:
    """Begin a run that calls the model; return its job."""
    job_id: str = site.api.create(prompt=prompt, schedule="0 9 * * *")["id"]
    site.verb("run", job_id)
    wait_for(lambda: model.calls_with(prompt), RUN_S)
    return job_id


def end(site: Site, model: HeldModel, job_id: str) -> Any:
    """Answer the run of `job_id`; return its record after its end."""
    model.released.set()
    wait_for(lambda: not site.runner(job_id), RUN_S)
    return site.api.job(job_id)


def processes(site: Site, job_id: str, having: str = "") -> list[str]:
    """Return the command lines with `having` of the processes of the run of `job_id`, which are in its unit."""
    listed = site.box.run("ps -eo cgroup:200,args ww").stdout.splitlines()
    return [line for line in listed if f"/hermes-job@default:{job_id}.service" in line and having in line
            and ".service/.control" not in line]  # not ExecStopPost=, which a delegated unit runs there


def worker_pid(site: Site) -> str:
    return site.systemctl(f"show -P MainPID {WORKER}").strip()


def test_runs_are_forks_of_one_worker_in_the_units_of_their_jobs(site: Site, model: HeldModel) -> None:
    first = begin(site, model, "Say one.")
    worker = worker_pid(site)
    second = begin(site, model, "Say two.")
    for job_id in (first, second):
        assert len(processes(site, job_id, FORK)) == 2, "the run, and the process that waits for its end"
        assert not processes(site, job_id, "fire_due.py")
    assert worker != "0" and worker_pid(site) == worker
    for job_id in (first, second):
        assert end(site, model, job_id)["last_status"] == "ok"
        assert "The model was here." in site.outputs(job_id)
        wait_for(lambda job_id=job_id: not processes(site, job_id))
    assert len(model.calls_with("Say one.")) == len(model.calls_with("Say two.")) == 1


def test_a_worker_stays_when_the_kernel_forgets_its_folders(site: Site, model: HeldModel) -> None:
    """An overlay file system then gives them other inode numbers."""
    first = begin(site, model, "Say before.")
    worker, folder = worker_pid(site), "/usr/lib/python3*/json"
    number = site.box.run(f"stat -c %i {folder}").stdout
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert site.box.run(f"stat -c %i {folder}").stdout != number
    second = begin(site, model, "Say after.")
    assert worker_pid(site) == worker and processes(site, second, FORK)
    for job_id in (first, second):
        assert end(site, model, job_id)["last_status"] == "ok"


def test_a_stop_of_the_unit_ends_the_fork_and_is_recorded(site: Site, model: HeldModel) -> None:
    job_id = begin(site, model, "Say stop.")
    assert processes(site, job_id, FORK), site.journal(job_id)
    site.systemctl(f"stop hermes-job@default:{job_id}.service")
    assert not processes(site, job_id)
    assert "stopped by SIGTERM" in site.api.job(job_id)["last_error"]


def test_a_run_goes_on_when_the_worker_is_killed(site: Site, model: HeldModel) -> None:
    job_id = begin(site, model, "Say killed.")
    assert processes(site, job_id, FORK), site.journal(job_id)
    site.systemctl(f"kill -s KILL {WORKER}")
    wait_for(lambda: worker_pid(site) == "0")
    assert end(site, model, job_id)["last_status"] == "ok"
    assert len(model.calls_with("Say killed.")) == 1


def test_a_fork_whose_waiter_is_killed_is_an_interrupted_run_that_is_not_repeated(site: Site, model: HeldModel) -> None:
    job_id = begin(site, model, "Say waiter.")
    listed = [line.split() for line in site.box.run("ps -eo pid,pgid,cgroup:200,args ww").stdout.splitlines()]
    [waiter] = [pid for pid, group, cgroup, *command in listed
                if pid != group and f"/hermes-job@default:{job_id}.service" in cgroup and FORK in " ".join(command)]
    site.box.run(f"kill -9 {waiter}")
    wait_for(lambda: not site.runner(job_id), RUN_S)
    assert "killed by SIGKILL" in site.api.job(job_id)["last_error"]
    wait_for(lambda: not processes(site, job_id))
    assert len(model.calls_with("Say waiter.")) == 1


def test_with_a_drop_in_for_jobs_the_run_starts_in_its_own_unit(site: Site, model: HeldModel) -> None:
    folder = f"{site.settings_dir}/hermes-job@.service.d"
    site.administer(f"mkdir -p {folder} && printf '[Service]\\nLimitCORE=0\\n' >{folder}/mine.conf")
    site.systemctl("daemon-reload")
    try:
        job_id = begin(site, model, "Say own.")
        assert processes(site, job_id, "fire_due.py") and not processes(site, job_id, FORK)
        assert "mine.conf does not apply to it" in site.journal(job_id)
        assert end(site, model, job_id)["last_status"] == "ok"
    finally:
        site.administer(f"rm {folder}/mine.conf; rmdir --ignore-fail-on-non-empty {folder}")
        site.systemctl("daemon-reload")


def test_a_worker_that_cannot_start_costs_no_run_and_a_sync_restores_its_socket(site: Site, model: HeldModel) -> None:
    folder = f"{site.settings_dir}/{WORKER}.d"
    site.administer(f"mkdir -p {folder} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{folder}/no.conf")
    site.systemctl("daemon-reload")
    site.systemctl(f"stop {WORKER}")
    try:
        job_id = begin(site, model, "Say broken.")
        assert processes(site, job_id, "fire_due.py")
        assert end(site, model, job_id)["last_status"] == "ok" and len(model.calls_with("Say broken.")) == 1
        assert "Trigger limit hit" in site.journal_of(SOCKET)
    finally:
        site.administer(f"rm -r {folder}")
        site.systemctl("daemon-reload")
    site.oscron("sync")
    assert site.systemctl(f"show -P ActiveState {SOCKET}").strip() == "active"
    model.released.clear()  # the run must not end before its processes are seen
    job_id = begin(site, model, "Say mended.")
    assert processes(site, job_id, FORK), site.journal(job_id)


def test_the_worker_can_be_disabled(site: Site, model: HeldModel) -> None:
    site.systemctl(f"stop {WORKER}")
    site.put(site.config, f'[exec]\nagent = "{AGENT}/hermes"\nagent_worker = false\n')
    try:
        job_id = begin(site, model, "Say off.")
        assert processes(site, job_id, "fire_due.py") and worker_pid(site) == "0"
        assert end(site, model, job_id)["last_status"] == "ok"
    finally:
        site.put(site.config, f'[exec]\nagent = "{AGENT}/hermes"\n')


def test_at_last_uninstall_ends_the_worker_and_leaves_nothing_of_it(installed: Site) -> None:
    installed.systemctl(f"start {WORKER}")
    installed.administer(f"{INSIDE}/install.sh --uninstall")
    assert "hermes" not in installed.systemctl("list-units --all")
    runtime = "/run" if isinstance(installed, SystemSite) else "$XDG_RUNTIME_DIR"
    assert not installed.run(f"ls -d {runtime}/*hermes*", check=False).stdout
    assert FORK not in installed.box.run(f"ps -u {installed.user} -o args ww", check=False).stdout
