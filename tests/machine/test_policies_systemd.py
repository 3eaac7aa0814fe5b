"""The policies of jobs that systemd fires, by the system's manager and by a user's; and the limits in their units."""

import re

import pytest

from tests.conftest import wait_for
from tests.machine.policies import Policies
from tests.machine.sites import Site


class TestSystemd(Policies):
    """Each policy, in a unit of the system manager and of a user manager."""


def shown(site: Site, job_id: str, name: str) -> str:
    """Return the property `name` of the service of `job_id`."""
    return site.systemctl(f"show -P {name} hermes-job@default:{job_id}.service").strip()


def drop_in(site: Site, job_id: str) -> str:
    """Return the drop-in of the service of `job_id`; empty if there is none."""
    path = f"{site.unit_dir}/hermes-job@default:{job_id}.service.d/policy.conf"
    return str(site.run(f"cat {path}", check=False).stdout)


def test_the_unit_has_the_limits_of_the_policy(site: Site) -> None:
    job_id = site.create(schedule="0 9 * * *", policy={"stop_timeout": "1m"})["id"]
    assert "TimeoutStopSec=80\n" in site.systemctl(f"cat hermes-job@default:{job_id}.service")
    assert shown(site, job_id, "TimeoutStopUSec") == "1min 20s"
    site.verb("update", job_id, policy={"stop_timeout": "2m"})
    assert shown(site, job_id, "TimeoutStopUSec") == "2min 20s"
    site.verb("update", job_id, policy={"stop_timeout": None})
    assert shown(site, job_id, "TimeoutStopUSec") == "30s" and not drop_in(site, job_id)
    assert site.doctor()[0] == 0


def test_every_limit_is_in_the_unit_and_in_its_cgroup(site: Site) -> None:
    limits = {"nice": 5, "memory_max": "256M", "cpu_quota": "50%", "io_weight": 20, "tasks_max": 99}
    job_id = site.create("nice", schedule="0 9 * * *", policy=limits)["id"]
    assert drop_in(site, job_id) == ("[Service]\nNice=5\nMemoryMax=268435456\nCPUQuota=50%\nIOWeight=20\n"
                                     "TasksMax=99\n")
    for name, value in (("Nice", "5"), ("MemoryMax", "268435456"), ("CPUQuotaPerSecUSec", "500ms"),
                        ("IOWeight", "20"), ("TasksMax", "99")):
        assert shown(site, job_id, name) == value
    site.api.run_to_end(job_id)
    assert re.search(r"^(5|19)$", site.outputs(job_id), re.M), "the machine itself may be nicer"


def test_a_run_that_the_kernel_kills_at_its_limit_has_that_reason(site: Site) -> None:
    job_id = site.create("exec python3 -c 'len(bytearray(400_000_000))'", schedule="0 9 * * *",
                         policy={"memory_max": "128M"})["id"]
    if not site.box.run("grep memory /sys/fs/cgroup/cgroup.controllers", check=False).stdout:
        pytest.skip("this machine has no controller for memory in cgroup v2")
    assert site.api.run_to_end(job_id)["last_error"] == (
        "killed by the kernel: it needed more memory than its memory_max of 128 MiB.")


def test_a_failed_unit_gets_changed_limits(site: Site) -> None:
    job_id = site.create("exit 3", schedule="0 9 * * *", policy={"stop_timeout": "1m"})["id"]
    site.api.run_to_end(job_id)
    wait_for(lambda: shown(site, job_id, "ActiveState") == "failed")
    site.verb("update", job_id, policy={"stop_timeout": "2m"})
    assert shown(site, job_id, "TimeoutStopUSec") == "2min 20s"


def test_a_paused_job_runs_by_hand_with_its_limits(site: Site) -> None:
    job_id = site.create("sleep 1", schedule="0 9 * * *", enabled=False, policy={"stop_timeout": "1m"})["id"]
    site.api.start_run(job_id)
    assert shown(site, job_id, "TimeoutStopUSec") == "1min 20s"


def test_limits_that_change_during_a_run_are_in_the_unit_after_it(site: Site) -> None:
    job_id = site.create("sleep 3", schedule="0 9 * * *", policy={"stop_timeout": "1m"})["id"]
    site.api.start_run(job_id)
    site.verb("update", job_id, policy={"stop_timeout": "2m"})
    assert shown(site, job_id, "TimeoutStopUSec") == "1min 20s"
    wait_for(lambda: shown(site, job_id, "TimeoutStopUSec") == "2min 20s", 20)
    assert site.api.job(job_id)["last_status"] == "ok"


def test_nothing_of_a_deleted_job_is_left_and_a_sync_repairs_a_drop_in(site: Site) -> None:
    gone, kept = (site.create(schedule="0 9 * * *", policy={"stop_timeout": "1m"})["id"] for _ in "12")
    site.verb("delete", gone)
    assert not drop_in(site, gone)
    site.administer(f"rm {site.unit_dir}/hermes-job@default:{kept}.service.d/policy.conf")
    assert site.doctor()[0] == 2
    site.oscron("sync")
    assert drop_in(site, kept) == "[Service]\nTimeoutStopSec=80\n"
    assert shown(site, kept, "TimeoutStopUSec") == "1min 20s"
    site.oscron("disarm")
    try:
        assert not drop_in(site, kept)
    finally:
        site.oscron("arm")
    assert drop_in(site, kept)
