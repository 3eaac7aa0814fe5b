"""Check the cluster, for doctor: controller, partition, munge; and on a node the folders, Python and the clock."""

import json
import os
import re
import time
from collections.abc import Iterator

from .. import config
from ..runs import slurm
from ..runs.slurm import SlurmError
from .findings import PROBLEM, Finding

MAX_SKEW_S = 5.0
NODE_WAIT_S = 10
"""The time for which a check waits for a place on a node."""
OLDEST_PYTHON = [3, 9]
UNAUTHENTICATED = "Slurm refuses this account: "
MUNGE_REMEDY = "Check that munged runs here, with the key of the cluster."
CHECK = """\
import json, os, sys, time
folders = json.loads(sys.argv[1])
print(json.dumps({"node": os.environ.get("SLURMD_NODENAME", ""), "time": time.time(), "python": sys.version_info[:2],
                  "user": os.geteuid(), "missing": [each for each in folders if not os.access(each, os.R_OK)]}))
"""


def cluster_faults(root: str, settings: config.Config) -> list[Finding]:
    """Return what is wrong with the cluster of `settings`, if there is one. The jobs are in the home `root`."""
    if settings.cluster == "none":
        return []
    return [Finding(PROBLEM, "cluster", sentence) for sentence in _faults(root, settings)]


def _faults(root: str, settings: config.Config) -> Iterator[str]:
    environment = slurm.environment_of(settings)
    try:
        slurm.call(environment, "scontrol", "ping")
    except SlurmError as error:
        yield (f"{UNAUTHENTICATED}{error} {MUNGE_REMEDY}" if re.search("(?i)munge|authenticat", str(error)) else
               f"No controller of Slurm answers: {error} Runs on the cluster wait for it; start slurmctld, or check "
               f"/etc/slurm/slurm.conf.")
        return
    partition = settings.cluster_partition
    try:
        states = slurm.call(environment, "sinfo", "--noheader", "--format=%P %a %t",
                            *([f"--partition={partition}"] if partition else [])).split("\n")
    except SlurmError as error:
        yield f"{UNAUTHENTICATED}{error} {MUNGE_REMEDY}"
        return
    usable = [state for state in states if " up " in state and state.split()[-1].rstrip("*~#%$@^-") not in (
        "down", "drain", "drng", "fail", "unk")]
    if not usable:
        name = f"the partition {partition}" if partition else "the cluster"
        yield f"No node of {name} can run a job: {'; '.join(filter(None, states)) or 'there is none'}. See 'sinfo'."
        return
    yield from _faults_of_node(root, settings, environment)


def _faults_of_node(root: str, settings: config.Config, environment: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a node that is free; if none is, nothing is known."""
    folders = [root, *settings.cluster_shared]
    partition = [f"--partition={settings.cluster_partition}"] if settings.cluster_partition else []
    account = [f"--account={settings.cluster_account}"] if settings.cluster_account else []
    began = time.time()
    try:
        answer = slurm.call(environment, "srun", "--quiet", "--nodes=1", "--ntasks=1", "--export=NONE", "--mpi=none",
                            "--chdir=/", "--time=1", "--job-name=hermes-oscron-doctor", f"--immediate={NODE_WAIT_S}",
                            *partition, *account, *settings.cluster_options, settings.cluster_python, "-I", "-S", "-c",
                            CHECK, json.dumps(folders))
        found = json.loads(answer)
    except SlurmError as error:
        if "immediate" not in str(error) and "busy" not in str(error):
            yield f"A node cannot run {settings.cluster_python}: {error} Set python of [cluster] in oscron.toml."
        return
    except ValueError:
        yield f"A node answered with something else than {settings.cluster_python} printed: {answer[:200]!a}."
        return
    ended, node = time.time(), found["node"]
    if found["python"] < OLDEST_PYTHON:
        yield (f"{settings.cluster_python} on {node} is Python {found['python'][0]}.{found['python'][1]}; 3.9 is "
               f"needed. Set python of [cluster] in oscron.toml.")
    if found["missing"]:
        yield (f"{', '.join(found['missing'])} cannot be read on {node}. Mount it there at the same path, or remove it "
               f"from shared of [cluster] in oscron.toml.")
    if found["user"] != os.geteuid():
        yield (f"This account has the user id {os.geteuid()} here, and {found['user']} on {node}. Give it the same on "
               f"both.")
    if not began - MAX_SKEW_S <= found["time"] <= ended + MAX_SKEW_S:
        way = "ahead" if found["time"] > ended else "behind"
        yield (f"The clock of {node} is {abs(found['time'] - ended):.0f} s {way}. Run chronyd or systemd-timesyncd on "
               f"both machines.")
