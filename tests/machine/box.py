"""A real machine for a few minutes: this one's own file system, booted by a real systemd in a throwaway copy.

systemd-nspawn boots an overlay over `/`; what is written goes to a tmpfs and is gone with it. A reboot is a new boot of
the same overlay, a power cut a kill. The network is the host's, so the API inside can be called from here.
"""

import os
import secrets
import shlex
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CGROUPS = tuple(Path("/sys/fs/cgroup", hierarchy) for hierarchy in ("", "systemd", "unified"))
"""Folders where cgroups(7) may be mounted: the one hierarchy, or systemd's own beside those of version 1."""

INOTIFY_LIMIT, INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances"), 512
"""The instances that root may have, and those for several machines: each uses about 20 of the 128 by default."""

SOURCE = Path(__file__).parents[2]
INSIDE = "/opt/checkout"
"""The path of this checkout in the machine; its own /tmp is new at every boot."""


class Box:
    """A machine that can be booted, rebooted and cut from power."""

    def __init__(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="oscron-box-"))
        self.name = self._place.name
        self._root = self._place / "root"
        self._container: subprocess.Popen[bytes] | None = None
        self._cgroups = [Path(where, self.name) for where in CGROUPS if (where / "cgroup.procs").exists()]
        self.leader = 0
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self._place], check=True)
        for folder in ("upper", "work", "root"):
            (self._place / folder).mkdir()
        home = self._place / "upper/root"  # empty, or each look for new files would search all that root has here
        home.mkdir(mode=0o700)
        os.setxattr(home, "trusted.overlay.opaque", b"y")
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir=/,upperdir={self._place}/upper,workdir={self._place}/work", self._root], check=True)
        (self._root / INSIDE[1:]).mkdir(parents=True, exist_ok=True)
        for noise in ("postgresql", "apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "nginx", "caddy",
                      "munge", "slurmctld", "slurmd", "prometheus", "corosync", "pacemaker", "logd",
                      "systemd-tmpfiles-clean.timer"):
            unit = noise if "." in noise else f"{noise}.service"
            (self._root / "etc/systemd/system" / unit).unlink(missing_ok=True)
            (self._root / "etc/systemd/system" / unit).symlink_to("/dev/null")

    def mount(self, path: str, size: str) -> None:
        """Give the machine, which is off, a disk of its own of `size` at `path`; it outlives reboots and power cuts."""
        (self._root / path[1:]).mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", self._root / path[1:]],
                       check=True)

    def boot(self, *options: str) -> None:
        """Start the machine, with `options` of systemd-nspawn(1), and wait until it is up."""
        if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
            INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))
        log = (self._place / "console.log").open("ab")
        self._container = subprocess.Popen(
            [*self._in_own_cgroup(), "systemd-nspawn", "-D", self._root, "--boot", "--register=no", "--keep-unit",
             "--console=read-only", f"--machine=oscron-{secrets.token_hex(4)}",
             f"--bind-ro={SOURCE}:{INSIDE}", *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
        self.leader = self._wait_for_leader()
        state = ""
        deadline = time.monotonic() + 60
        while state not in ("running", "degraded"):
            assert time.monotonic() < deadline, f"the machine did not come up: {state}"
            time.sleep(0.1)
            state = self.run("systemctl is-system-running", check=False).stdout.strip()

    def _in_own_cgroup(self) -> list[str]:
        """Return the words that run a command in a cgroup of this machine alone.

        In one cgroup two machines would share system.slice, and each would remove the cgroups of the other's services.
        """
        for cgroup in self._cgroups:
            cgroup.mkdir(exist_ok=True)
        enter = "".join(f"echo $$ >{cgroup}/cgroup.procs && " for cgroup in self._cgroups)
        return ["sh", "-c", f'{enter}exec "$@"', "enter"]

    def _wait_for_leader(self) -> int:
        assert self._container
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self._container.poll() is None, (self._place / "console.log").read_text(errors="replace")
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                    return int(child)
            time.sleep(0.05)
        raise AssertionError("systemd-nspawn started no machine")

    def run(self, command: str, *, user: str = "root", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run the shell `command` inside as `user` and return its output; if `check`, it must succeed."""
        inside = self.entering()
        if user != "root":
            command = f"export XDG_RUNTIME_DIR=/run/user/$(id -u); {command}"
            inside += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"]
        environment = {**os.environ, "HOME": "/root", "LC_ALL": "C"}
        environment.pop("COLUMNS", None)  # pytest-xdist sets it, and a shell in a pipe has none
        result = subprocess.run([*inside, "sh", "-c", f"cd; {command}"], capture_output=True, text=True, timeout=300,
                                stdin=subprocess.DEVNULL, env=environment)
        assert not check or result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result

    def entering(self) -> list[str]:
        """Return the words to put before a command so that it runs inside as root."""
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C"]

    def put(self, path: str, content: str, user: str = "root") -> None:
        """Write `content` to `path` inside, as `user`."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p \"$(dirname {quoted})\" && printf %s {shlex.quote(content)} >{quoted}", user=user)

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write `content`, of any size, to `path` inside, as root."""
        inside = Path(f"/proc/{self.leader}/root{path}")
        inside.write_bytes(content)

    def has_written(self, path: str) -> bool:
        """Return True if the machine has created, changed or removed the file `path` of its disk itself.

        Every other file is the one of this machine, which other programs may change.
        """
        return os.path.lexists(f"{self._place}/upper{path}")

    def power_off(self) -> None:
        """Shut the machine down."""
        self.run("systemctl poweroff", check=False)
        self._wait_until_off()

    def cut_power(self) -> None:
        """Stop everything in the machine at once."""
        os.kill(self.leader, signal.SIGKILL)
        self._wait_until_off()

    def _wait_until_off(self) -> None:
        assert self._container
        self._container.wait(150)  # a unit has up to 90 s
        self.leader = 0

    def close(self) -> None:
        """Remove the machine and all that it has written."""
        if self._container and self._container.poll() is None:
            if self.leader:
                self.cut_power()
            else:
                self._container.kill()
                self._container.wait(30)
        for mount in (self._root, self._place):
            subprocess.run(["umount", "--lazy", mount], check=True)
        self._place.rmdir()
        for cgroup in self._cgroups:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                with suppress(OSError):  # a process that has just been killed may still count as in it
                    Path(folder).rmdir()
