"""A real Slurm on this machine: munged, a slurmctld and two slurmd, in a folder and on ports of their own."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import wait_for

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}({address})
AuthType=auth/munge
SlurmUser=root
SlurmctldPort={controller_port}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool.%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
ReturnToService=2
MpiDefault=none
KillWait=5
SlurmctldTimeout=10
SlurmdTimeout=10
DefMemPerCPU=100
NodeName=n1 NodeAddr={address} NodeHostname={host} Port={ports[0]} CPUs=4 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeAddr={address} NodeHostname={host} Port={ports[1]} CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=small Nodes=n1 MaxTime=INFINITE State=UP
"""


def configuration(place: str, host: str) -> str:
    """Return a slurm.conf for a controller and two nodes on the machine `host`, with their files in `place`."""
    ports = _free_ports(3)
    return CONFIGURATION.format(place=place, host=host, address=_address(), controller_port=ports[0], ports=ports[1:])


def missing() -> str:
    """Return why Slurm cannot run here; empty if it can."""
    programs = [program for program in PROGRAMS if not find(program)]
    return f"needs {', '.join(programs)}" if programs else "" if os.geteuid() == 0 else "needs root"


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Slurm:
    """A cluster of two nodes; `environment` is what a client needs."""

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="oscron-slurm-"))
        self.place.chmod(0o755)
        (self.place / "state").mkdir()
        self.environment = {"SLURM_CONF": str(self.place / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (self.place / "slurm.conf").write_text(f"{configuration(str(self.place), socket.gethostname())}"
                                               f"AuthInfo=socket={self.place}/munge.socket\n")
        self._start_munge()
        self.start("slurmctld")
        for node in NODES:
            self.start(node)
        wait_for(lambda: self.call("sinfo", "--noheader", "--format=%D %t") == "2 idle", 30)

    def start(self, name: str) -> None:
        """Start the controller, `slurmctld`, or the slurmd of a node."""
        argv = ["slurmctld", "-D"] if name == "slurmctld" else ["slurmd", "-D", "-N", name]
        self._spawn(name, [*argv, "-f", self.environment["SLURM_CONF"]])

    def stop(self, name: str, number: int = 15) -> None:
        """End what `start` has started, and with signal 9 what runs on the node too."""
        process = self._processes.pop(name)
        if number == 9:
            for pid in _descendants(process.pid, name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        process.send_signal(number)
        process.wait(20)

    def is_running(self, name: str) -> bool:
        return name in self._processes

    def call(self, *argv: str) -> str:
        """Return what a command of Slurm prints."""
        done = subprocess.run(argv, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def jobs(self) -> str:
        """Return the jobs that are queued or in progress."""
        return self.call("squeue", "--noheader", "--format=%i %T %N %j")

    def close(self) -> None:
        self.call("scancel", "--user=root")
        for name in [*NODES, "slurmctld", "munged"]:
            if name in self._processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.stop(name, 9 if name in NODES else 15)
        shutil.rmtree(self.place, ignore_errors=True)

    def _start_munge(self) -> None:
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(128))
        account = pwd.getpwnam("munge")
        for path in (key, self.place):
            os.chown(path, account.pw_uid, account.pw_gid)
        key.chmod(0o400)
        self._spawn("munged", ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                               find("munged") or "", "--foreground", f"--key-file={key}",
                               f"--socket={self.place}/munge.socket", f"--pid-file={self.place}/munge.pid",
                               f"--seed-file={self.place}/munge.seed", f"--log-file={self.place}/munge.log", "--force"])
        wait_for((self.place / "munge.socket").exists)

    def _spawn(self, name: str, argv: list[str]) -> None:
        program = find(argv[0]) or argv[0]
        with (self.place / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([program, *argv[1:]], stdin=subprocess.DEVNULL, stdout=log,
                                                     stderr=log, start_new_session=True)


def _descendants(slurmd: int, node: str) -> list[int]:
    """Return the steps of the `node`, and their processes: a step does not descend from its slurmd."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            command = (entry / "cmdline").read_bytes() if variables else b""
            if f"SLURMD_NODENAME={node}".encode() in variables or b"slurmstepd" in command:
                found.append(int(entry.name))
    return [pid for pid in found if pid != slurmd]


def _address() -> str:
    """Return an address of this machine that is not a loopback one, which srun does not use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
