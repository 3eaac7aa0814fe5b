"""The cron daemon of this machine, and crontab(1)."""

import os
import pwd
import shutil
import stat
import subprocess

from ...files import mtime

PID_FILES = ("/run/crond.pid", "/run/cron.pid", "/var/run/crond.pid", "/var/run/cron.pid")
DAEMON_NAMES = ("cron", "crond", "busybox", "fcron")
HELP_TIMEOUT_S = 10.0
SPOOLS = ("/var/spool/cron/crontabs", "/var/spool/cron")
"""The folders of crontabs, in the crons of Debian and BusyBox, and in others."""


def missing() -> str | None:
    """Return why crontab lines cannot be fired here, and the remedy; None if they can."""
    if not has_crontab():
        return "There is no crontab command; on Debian and Ubuntu: apt install cron."
    if os.geteuid() != 0 and is_busybox():
        if not os.stat(_crontab()).st_mode & stat.S_ISUID:
            return "Only root can use BusyBox's crontab here, which is not setuid; on Alpine: apk add busybox-suid."
        if "." in (name := pwd.getpwuid(os.geteuid()).pw_name):  # rescan_crontab_dir in crond.c
            return f"BusyBox's crond ignores the crontab of {name}, because of the dot in that name; use another cron."
    if not _is_running():
        return ("No cron daemon runs here that reads the crontabs in /var/spool/cron; 'service cron start' starts the "
                "one of Debian and Ubuntu, 'crond' that of BusyBox.")
    return None


def running_since() -> float | None:
    """Return when the cron daemon wrote its file of its process id, in unix seconds; None if it wrote none."""
    return max(filter(None, map(mtime, PID_FILES)), default=None)


def has_crontab() -> bool:
    """Return True if crontab(1) is installed."""
    return shutil.which("crontab") is not None


def is_busybox() -> bool:
    """Return True if crontab(1) is BusyBox's, which Alpine starts by the setuid program bbsuid."""
    return os.path.basename(_crontab()).startswith(("busybox", "bbsuid"))


def takes_reboot() -> bool:
    """Return False if a line with `@reboot` ends the cron daemon, as BusyBox's crond that has no option -d (Debian's).

    It parses the text of the line that only that option keeps, and is killed by SIGSEGV (load_crontab in crond.c).
    """
    if not is_busybox():
        return True
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        usage = subprocess.run([shutil.which("crond", path=path) or "", "--help"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HELP_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return b"[-d " in usage.stdout


def _crontab() -> str:
    return os.path.realpath(shutil.which("crontab") or "")


def _is_running() -> bool:
    for path in PID_FILES:
        try:
            with open(path, encoding="ascii") as file:
                pid = file.read().strip()
                if _is_cron(pid) or _is_hidden(pid):
                    return True
        except (OSError, UnicodeDecodeError):
            continue
    return any(_is_cron(pid) for pid in os.listdir("/proc") if pid.isdecimal())


def _is_hidden(pid: str) -> bool:
    """Return True if `pid` runs but is not in /proc, as for a service with ProtectProc=invisible (systemd.exec(5))."""
    if not pid.isdecimal() or os.path.exists(f"/proc/{pid}"):
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _is_cron(pid: str) -> bool:
    """Return True if `pid` is a cron of this machine, and not of a container on it (`NSpid`, proc_pid_status(5))."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        if status.get("Name") not in DAEMON_NAMES or len(status.get("NSpid", pid).split()) > 1:
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except (OSError, ValueError):
        return False
    if status["Name"] == "busybox" and not any(b"crond" in word for word in words):
        return False
    return status["Name"] not in ("busybox", "crond") or _reads_spool(words)


def _reads_spool(words: list[bytes]) -> bool:
    """Return True unless BusyBox's crond, started by `words`, reads the crontabs of another folder (`-c DIR`)."""
    folder = next((words[nth + 1] for nth, word in enumerate(words[:-1]) if word == b"-c"), b"")
    spools = {os.path.realpath(os.fsencode(spool)) for spool in SPOOLS}
    return not folder.startswith(b"/") or os.path.realpath(folder) in spools
