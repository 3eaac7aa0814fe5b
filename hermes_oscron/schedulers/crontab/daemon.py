"""The cron daemon of this machine, and crontab(1)."""

import os
import shutil

PID_FILES = ("/run/crond.pid", "/run/cron.pid", "/var/run/crond.pid", "/var/run/cron.pid")
DAEMON_NAMES = ("cron", "crond", "busybox", "fcron")


def missing() -> str | None:
    """Return why crontab lines cannot be fired here, and the remedy; None if they can."""
    if not has_crontab():
        return "There is no crontab command; on Debian and Ubuntu: apt install cron."
    if not _is_running():
        return "No cron daemon runs here; 'service cron start' starts the one of Debian and Ubuntu."
    return None


def has_crontab() -> bool:
    """Return True if crontab(1) is installed."""
    return shutil.which("crontab") is not None


def _is_running() -> bool:
    for path in PID_FILES:
        try:
            with open(path, encoding="ascii") as file:
                if _is_cron(file.read().strip()):
                    return True
        except (OSError, UnicodeDecodeError):
            continue
    return any(_is_cron(pid) for pid in os.listdir("/proc") if pid.isdecimal())


def _is_cron(pid: str) -> bool:
    """Return True if `pid` is a cron of this machine, and not of a container on it (`NSpid`, proc_pid_status(5))."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        if status.get("Name") not in DAEMON_NAMES or len(status.get("NSpid", pid).split()) > 1:
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return status["Name"] != "busybox" or b"crond" in file.read()
    except (OSError, ValueError):
        return False
