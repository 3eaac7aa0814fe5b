"""Jobs of an ordinary account on a cluster, under the shipped units: a real systemd and a real Slurm of two nodes."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.slurm import missing
from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.cluster import start, start_slurm, use_slurm, wait_for_nodes
from tests.machine.sites import SystemSite, free_port

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
POLITE = "trap 'echo bye >>{0}/bye; exit 5' TERM; echo $$ >{0}/pid; while :; do sleep 0.1; done\n"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        start_slurm(box)
        yield box


@pytest.fixture(scope="module")
def installed(box: Box) -> SystemSite:
    site = SystemSite(box, "hermes", free_port())
    site.install()
    use_slurm(site)
    return site


@pytest.fixture
def site(installed: SystemSite) -> Iterator[SystemSite]:
    installed.run(f"rm -f {installed.hermes}/pid {installed.hermes}/bye {installed.hermes}/go")
    yield installed
    installed.clear()
    installed.box.run("scancel --user=hermes", check=False)
    wait_for(lambda: not queue(installed), 30)


def queue(site: SystemSite) -> str:
    """Return the jobs that Slurm has."""
    return str(site.box.run("squeue --noheader --format='%i %T %N %j'", check=False).stdout)


def create(site: SystemSite, script: str, run_on: str = "cluster", **fields: Any) -> str:
    """Create a job that runs `script` on the cluster; its id."""
    job: Any = site.create(script.format(site.hermes), policy={"run_on": run_on}, **fields)
    return str(job["id"])


def ended(site: SystemSite, job_id: str, seconds: float = 30) -> Any:
    """Return the job of `job_id` when it has a last run."""
    return wait_for(lambda: (job := site.api.job(job_id))["last_status"] and job, seconds)


def rows(site: SystemSite, job_id: str) -> list[Any]:
    """Return the runs of `job_id`, newest first."""
    found: list[Any] = site.api.get(f"/api/crons/runs?job_id={job_id}")["runs"]
    return found


def job_process(site: SystemSite) -> int:
    return int(wait_for(lambda: site.run(f"cat {site.hermes}/pid", check=False).stdout.strip()))


def is_alive(site: SystemSite, pid: int) -> bool:
    return bool(site.box.run(f"grep '^State:.[^Z]' /proc/{pid}/status", check=False).stdout)


def test_the_documented_lines_lead_from_one_machine_to_a_cluster(site: SystemSite) -> None:
    [section] = re.findall(r"^## From one machine to a cluster\n(.*?)^## ", DOCUMENT.read_text(), re.M | re.S)
    lines = re.findall(r"^    (.*)", section, re.M)
    assert len(lines) <= 10
    site.run(f"mkdir -p {site.hermes}/scripts; rm {site.config}")
    printed = site.administer("\n".join(["set -e", *lines])).stdout
    assert re.search(r"^hermes on n[12]$", printed, re.M)
    [job] = site.stored_jobs()
    [row] = rows(site, job["id"])
    assert (row["outcome"], row["trigger"]) == ("ok", "manual") and row["node"] in ("n1", "n2")


def test_twenty_jobs_at_one_time_run_on_both_nodes(site: SystemSite) -> None:
    due = site.soon(8)
    jobs = [create(site, f"echo number {number} on $SLURMD_NODENAME by $(id -un); sleep 3", schedule=due)
            for number in range(20)]
    nodes = set()
    for number, job_id in enumerate(jobs):
        assert ended(site, job_id, 60)["last_status"] == "ok"
        found = re.search(rf"number {number} on (n[12]) by hermes", site.outputs(job_id))
        assert found and found[0] in site.journal(job_id)
        nodes.add(found[1])
        [row] = rows(site, job_id)
        assert (row["trigger"], row["outcome"], row["node"]) == ("schedule", "ok", found[1])
        assert row["cluster_job"].isdecimal()
    assert nodes == {"n1", "n2"}
    assert not site.audit()


def test_doctor_finds_no_fault(site: SystemSite) -> None:
    create(site, "echo done", schedule="0 9 * * *")
    assert site.doctor()[0] == 0


def test_the_node_is_shown_while_the_job_runs(site: SystemSite) -> None:
    job_id = create(site, POLITE, schedule="0 9 * * *")
    site.verb("run", job_id)
    job_process(site)
    status = site.systemctl(f"status hermes-job@default:{job_id}.service", check=False)
    assert re.search(r"Status: \"Running on n[12], as job \d+ of Slurm\"", status)


def test_a_stop_of_the_unit_ends_the_job_with_sigterm(site: SystemSite) -> None:
    job_id = create(site, POLITE, schedule=site.soon(3))
    job = job_process(site)
    site.systemctl(f"stop hermes-job@default:{job_id}.service")
    assert not is_alive(site, job)
    assert site.run(f"cat {site.hermes}/bye").stdout == "bye\n"
    assert ended(site, job_id)["last_error"] == "stopped by SIGTERM before it had ended."
    assert rows(site, job_id)[0]["outcome"] == "stopped"


def test_nothing_runs_on_if_all_processes_of_the_unit_are_killed(site: SystemSite) -> None:
    job_id = create(site, POLITE, schedule=site.soon(3))
    job = job_process(site)
    site.systemctl(f"kill --kill-whom=all -s KILL hermes-job@default:{job_id}.service")
    wait_for(lambda: [row["outcome"] for row in rows(site, job_id)] == ["interrupted"], 30)
    assert not is_alive(site, job) and not queue(site), "it was cancelled before it was recorded"


def test_a_stop_of_a_queued_run_cancels_it(site: SystemSite) -> None:
    site.box.run("sbatch --nodes=2 --exclusive --output=/dev/null --job-name=busy --wrap='sleep 300'")
    wait_for(lambda: "RUNNING" in queue(site))
    job_id = create(site, "echo never", schedule=site.soon(3))
    wait_for(lambda: "PENDING" in queue(site))
    assert site.api.job(job_id)["queued"]
    service = f"hermes-job@default:{job_id}.service"
    assert "Queued in Slurm since" in site.systemctl(f"status {service}", check=False)
    site.systemctl(f"stop {service}")
    assert "PENDING" not in queue(site)
    site.box.run("scancel --name=busy")
    assert ended(site, job_id)["last_error"] == "stopped by SIGTERM before it had begun: it was queued."


def test_a_run_on_a_lost_node_is_retried_on_the_other_if_its_policy_allows_it(site: SystemSite) -> None:
    policy = {"run_on": "cluster", "retries": 1, "retry_delay": "2s", "retry_on": ["interrupted"]}
    script = f"[ ! -e {{0}}/pid ] || {{{{ echo again on $SLURMD_NODENAME; exit; }}}}\n{POLITE}".format(site.hermes)
    job_id = site.create(script, schedule=site.soon(3), policy=policy)["id"]
    job_process(site)
    lost = site.api.get(f"/api/crons/status?job_id={job_id}")["node"]
    site.box.run(f"systemctl kill --kill-whom=all -s KILL test-{lost}")
    try:
        other = {"n1": "n2", "n2": "n1"}[lost]
        wait_for(lambda: f"again on {other}" in site.outputs(job_id), 90)
        wait_for(lambda: [row["outcome"] for row in rows(site, job_id)] == ["ok", "interrupted"])
        assert [row["node"] for row in rows(site, job_id)] == [other, lost]
    finally:
        start(site.box, lost)
        wait_for_nodes(site.box)


def test_a_restart_of_the_controller_loses_nothing(site: SystemSite) -> None:
    """Neither a run in progress nor one that becomes due in that time."""
    running = create(site, "until [ -e {0}/go ]; do sleep 0.1; done; echo went on", schedule="0 9 * * *")
    site.verb("run", running)
    wait_for(lambda: "RUNNING" in queue(site))
    site.box.run("systemctl stop test-slurmctld")
    due = create(site, "echo done later", schedule=site.soon(2))
    wait_for(lambda: site.api.job(due)["queued"], 40)
    start(site.box, "slurmctld")
    assert ended(site, due, 60)["last_status"] == "ok"
    site.run(f"touch {site.hermes}/go")
    assert ended(site, running, 60)["last_status"] == "ok" and "went on" in site.outputs(running)
    assert len(rows(site, due)) == 1
    assert not site.audit()
