"""Installations of hermes-oscron for as long as a benchmark takes, and what they use of the machine."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.machine.box import CGROUPS, Box
from tests.machine.sites import Site, SystemSite, add_account, free_port

ACCOUNT = "hermes"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def booted() -> Iterator[Box]:
    """Yield a booted machine, and remove it at the end."""
    box = Box()
    try:
        box.boot()
        yield box
    finally:
        box.close()


@contextmanager
def installed(kind: type[Site] = SystemSite) -> Iterator[Site]:
    """Yield an installation of `kind`, in a machine of its own."""
    with booted() as box:
        if kind is not SystemSite:  # install.sh makes the account
            add_account(box, ACCOUNT)
        site = kind(box, ACCOUNT, free_port())
        site.install()
        yield site


def programs(place: Path) -> Path:
    """Install the package into an environment in `place` as install.sh does, and return the folder of its programs.

    An editable installation pays for its import hook at every start.
    """
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    subprocess.run([place / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "."], check=True)
    return place / "venv/bin"


def cpu_of(box: Box) -> float:
    """Return the CPU seconds that all processes in `box` have used (cpu.stat of cgroup v2)."""
    for cgroup in CGROUPS:
        with contextlib.suppress(FileNotFoundError):
            text = (cgroup / box.name / "cpu.stat").read_text()
            if text.startswith("usage_usec"):
                return int(text.split()[1]) / 1e6
    raise AssertionError("no hierarchy of version 2 is mounted")


def cpu_of_process(pid: int, children: bool = False) -> float:
    """Return the CPU seconds of the process `pid`, if wanted with its ended `children` (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15 if children else 13])) / TICKS_PER_S


def memory_of(uid: int) -> float:
    """Return the memory of all processes of the account `uid`, in MiB; shared pages count once (PSS)."""
    return sum(memory_of_process(int(path.name)) for path in Path("/proc").iterdir()
               if path.name.isdigit() and _owner(path) == uid)


def memory_of_process(pid: int) -> float:
    """Return the memory of the process `pid`, in MiB, with its part of shared pages (PSS); 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _owner(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_uid
    return None
