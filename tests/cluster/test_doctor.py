"""Doctor on a real cluster: what is wrong with the controller, the nodes, and the folders and programs there."""

import re
from pathlib import Path

import pytest

from hermes_oscron import config
from hermes_oscron.runner.command import why_unrunnable
from hermes_oscron.service.cluster import cluster_faults
from tests.cluster.slurm import Slurm
from tests.cluster.test_end import controller_stopped
from tests.cluster.test_run import CLUSTER, make_remote
from tests.conftest import wait_for
from tests.runner.jobs import configure, default_home, record


def faults(root: Path, text: str = "") -> list[str]:
    """Return the sentences about the cluster with `text` in [cluster]."""
    configure(root, f"{CLUSTER}{text}\n")
    return [each.sentence for each in cluster_faults(str(root), config.load(str(root)))]


def test_a_sound_cluster_has_no_faults(slurm: Slurm, root: Path, tmp_path: Path) -> None:
    assert faults(root, f'shared = ["{tmp_path}"]') == []


def test_nothing_is_asked_without_a_cluster(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cluster_faults(str(root), config.Config()) == []


def test_a_controller_that_does_not_answer_is_reported(slurm: Slurm, root: Path) -> None:
    with controller_stopped(slurm):
        [fault] = faults(root)
        assert fault.startswith("No controller of Slurm answers: ")
    wait_for(lambda: slurm.call("sinfo", "--noheader"))


@pytest.mark.parametrize(("text", "fault"), [
    ('shared = ["/nowhere/data"]', "/nowhere/data cannot be read on n"),
    ('python = "/nowhere/python3"', "A node cannot run /nowhere/python3: "),
    ('python = "/bin/echo"', "A node answered with something else than /bin/echo printed: "),
    ('partition = "none"', "No node of the partition none can run a job: there is none."),
])
def test_what_a_node_does_not_have_is_reported(slurm: Slurm, root: Path, text: str, fault: str) -> None:
    [found] = faults(root, text)
    assert found.startswith(fault)


@pytest.mark.parametrize(("before", "fault"), [
    ("import sys; sys.version_info = (3, 8, 0)", r"/.*/python3 on n[12] is Python 3\.8; 3\.9 is needed\. Set python "),
    ("import time; now = time.time; time.time = lambda: now() + 100",
     r"The clock of n[12] is (9\d|100) s ahead\. Run chronyd "),
    ("import time; now = time.time; time.time = lambda: now() - 100",
     r"The clock of n[12] is 1\d\d s behind\. Run chronyd "),
    ("import os; os.setuid(65534)", r"This account has the user id 0 here, and 65534 on n[12]\. Give it the same "),
])
def test_a_node_that_differs_from_this_machine_is_reported(slurm: Slurm, root: Path, tmp_path: Path, before: str,
                                                           fault: str) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec python3 "$1" "$2" "$3" "{before}\n$4" "$5"\n')
    python.chmod(0o755)
    found = faults(root, f'python = "{python}"')
    assert [each for each in found if re.match(fault, each)], found


def test_an_account_that_slurm_cannot_authenticate_is_reported(slurm: Slurm, root: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a munged on this machine."""
    settings = Path(slurm.environment["SLURM_CONF"]).read_text()
    (tmp_path / "slurm.conf").write_text(re.sub(r"AuthInfo=.*", f"AuthInfo=socket={tmp_path}/none", settings))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    [fault] = faults(root)
    assert re.match(r"Slurm refuses this account: .* Check that munged runs here, with the key of the cluster\.", fault)


def test_nodes_that_are_down_are_reported(slurm: Slurm, root: Path) -> None:
    slurm.call("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    try:
        [fault] = faults(root)
        assert fault.startswith("No node of the cluster can run a job: ") and "drain" in fault
    finally:
        slurm.call("scontrol", "update", "nodename=n1,n2", "state=resume")


def test_a_job_without_a_cluster_is_reported(root: Path) -> None:
    job_id = make_remote(root, "echo never\n")
    reason = why_unrunnable(record(root, job_id), default_home(root), config.Config())
    assert reason and reason.endswith("oscron.toml names none: set engine of [cluster].")
