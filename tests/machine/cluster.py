"""A real Slurm with two nodes in a box."""

from tests.cluster.slurm import configuration
from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.sites import Site


def start_slurm(box: Box) -> None:
    """Start munged, a controller and two nodes, and wait until the nodes are idle."""
    host = box.run("hostname").stdout.strip()
    box.put("/etc/slurm/slurm.conf", configuration("/var/lib/slurm-test", host))
    box.run("mkdir -p /var/lib/slurm-test/state; systemctl unmask munge && systemctl start munge")
    for name in ("slurmctld", "n1", "n2"):
        start(box, name)
    wait_for_nodes(box)


def start(box: Box, name: str) -> None:
    """Start the controller, `slurmctld`, or the slurmd of a node."""
    program = "slurmctld -D" if name == "slurmctld" else f"slurmd -D -N {name}"
    box.run(f"systemctl reset-failed test-{name} 2>/dev/null; systemd-run --unit=test-{name} -p KillMode=process "
            f"-p Delegate=yes {program}")


def wait_for_nodes(box: Box) -> None:
    """Wait until both nodes are idle."""
    wait_for(lambda: box.run("sinfo --noheader --format='%D %t'", check=False).stdout == "2 idle\n", 60)


def use_slurm(site: Site) -> None:
    """Configure the cluster, for the jobs of `site` whose policy names a place there."""
    settings = site.run(f"cat {site.config}").stdout
    site.put(site.config, f'{settings}[cluster]\nengine = "slurm"\n')
