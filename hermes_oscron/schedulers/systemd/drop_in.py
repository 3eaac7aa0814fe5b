"""The drop-in of a job's service: the limits in its policy that systemd applies.

Everything in it is a number within bounds, or a fixed word. The template of the service has the settings of all other
jobs.
"""

import os
import re
from contextlib import suppress
from typing import NamedTuple

from ..protocol import Limits

NAME = "policy.conf"
MARGIN_S = 20
"""The runner ends the job at its own time limit; systemd waits for this long beyond it."""


class Setting(NamedTuple):
    """The setting of systemd for one limit, whose value is from `least` to `most`; `word` is written instead."""

    name: str
    least: int
    most: int
    added: int = 0
    unit: str = ""
    word: str = ""


SETTINGS = {
    "stop_timeout": Setting("TimeoutStopSec", 1, 3600, added=MARGIN_S),
    "nice": Setting("Nice", 0, 19),
    "memory_max": Setting("MemoryMax", 16 * 1024**2, 9999 * 1024**3),
    "cpu_quota": Setting("CPUQuota", 1, 99_999, unit="%"),
    "io_weight": Setting("IOWeight", 1, 10_000),
    "tasks_max": Setting("TasksMax", 8, 1_000_000),
    "on_cluster": Setting("KillMode", 1, 1, word="mixed"),
}
"""The setting for each limit (systemd.service(5), systemd.exec(5), systemd.resource-control(5)).

A stop sends SIGTERM only to the runner of a job on a cluster (KillMode=, systemd.kill(5)): srun(1) would kill the job.
"""


def render(limits: Limits) -> bytes:
    """Return the drop-in for `limits`; empty if there are none."""
    lines = [f"{setting.name}={setting.word or value + setting.added}{setting.unit}\n"
             for name, setting in SETTINGS.items() if (value := getattr(limits, name)) is not None]
    return f"[Service]\n{''.join(lines)}".encode() if lines else b""


def path_of(unit_dir: str, service: str) -> str:
    """Return the path of the drop-in of `service`."""
    return f"{unit_dir}/{service}.d/{NAME}"


def read(unit_dir: str, service: str) -> bytes:
    """Return the drop-in of `service`; empty if there is none."""
    try:
        with open(path_of(unit_dir, service), "rb") as file:
            return file.read()
    except OSError:
        return b""


def write(unit_dir: str, service: str, content: bytes) -> None:
    """Write the drop-in of `service`, or remove it if `content` is empty. Raises OSError."""
    if not content:
        remove(unit_dir, service)
        return
    path = path_of(unit_dir, service)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def remove(unit_dir: str, service: str) -> None:
    """Remove the drop-in of `service`, if there is one."""
    path = path_of(unit_dir, service)
    with suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))  # unless the administrator has put another one there


def remove_all(unit_dir: str, services: re.Pattern[str]) -> None:
    """Remove the drop-ins of all `services`."""
    with suppress(FileNotFoundError):
        for name in os.listdir(unit_dir):
            if name.endswith(".d") and services.fullmatch(name.removesuffix(".d")):
                remove(unit_dir, name.removesuffix(".d"))
