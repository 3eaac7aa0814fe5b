"""Two machines that share a home, with a network of their own, and the cluster of docs/cluster.md on them."""

import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import wait_for
from tests.machine.box import Box
from tests.machine.sites import SystemSite, free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
NAMES = ("t1", "t2")
HOME, FENCE = "/var/lib/hermes", "/var/lib/fence"
FENCE_AGENT = f"""#!/bin/sh
# Parameters come from stdin. A file named like the machine asks for its power cut; it is removed when that is done.
while read -r line; do case $line in action=* | port=*) eval "$line" ;; esac; done
case $action in
    metadata)
        cat <<END
<?xml version="1.0"?>
<resource-agent name="fence_box" shortdesc="Cuts the power of a box"><longdesc/>
<parameters><parameter name="port" required="1"><content type="string"/></parameter></parameters>
<actions><action name="off"/><action name="reboot"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
END
        ;;
    off | reboot) touch "{FENCE}/$port"; while [ -e "{FENCE}/$port" ]; do sleep 0.1; done ;;
esac
"""


class Pair:
    """The machines t1 and t2. One of them is active: it has the resource `timekeeper`, the other one is passive."""

    def __init__(self) -> None:
        self._shared = Path(tempfile.mkdtemp(prefix="oscron-pair-"))
        for folder in ("home", "fence"):
            (self._shared / folder).mkdir()
        self._page = DOCUMENT.read_text().partition("### With Pacemaker\n")[2].partition("\n## ")[0]
        self._networks = {name: f"{name}-{secrets.token_hex(4)}" for name in NAMES}
        self._boxes = {name: Box() for name in NAMES}
        self.sites: dict[str, SystemSite] = {}

    def start(self) -> None:
        """Install hermes-oscron on both, then the cluster as the page describes it, and wait for it."""
        self._make_network()
        for name in NAMES:
            self._install(name)
        self._on_both(self.boot)
        self._on_both(self._configure)
        self.run("t1", "corosync-keygen -l")
        key = self.run("t1", "base64 --wrap=0 /etc/corosync/authkey")
        self.run("t2", f"umask 277; echo {key} | base64 --decode >/etc/corosync/authkey")
        self._on_both(lambda name: self.run(name, self.command("systemctl")))
        wait_for(lambda: "Online: [ t1 t2 ]" in self._status("t1"), 30)
        self._boxes["t1"].put("/root/cluster", self._block("commit"))
        self.run("t1", "crm configure </root/cluster")
        self.wait_until_complete()

    def _install(self, name: str) -> None:
        """Install hermes-oscron on the machine `name` on the network of this one, with packages from an index."""
        box = self._boxes[name]
        box.boot(*self._mounts())
        box.put("/etc/machine-id", f"{NAMES.index(name) + 1:032x}\n")
        box.put("/etc/hostname", f"{name}\n")
        box.run(f"hostname {name}; {self._block('useradd')}")
        self.sites[name] = SystemSite(box, "hermes", free_port())
        self.sites[name].install()
        box.put("/usr/sbin/fence_box", FENCE_AGENT)
        both = "corosync pacemaker"  # Debian has them started at boot
        box.run(f"chmod 755 /usr/sbin/fence_box; systemctl unmask {both}; systemctl enable --quiet {both}")
        box.power_off()

    def _mounts(self) -> list[str]:
        return [f"--bind={self._shared}/home:{HOME}", f"--bind={self._shared}/fence:{FENCE}"]

    def boot(self, name: str) -> None:
        """Boot the machine `name`, with its place in the network of both."""
        self._boxes[name].boot(*self._mounts(), f"--network-namespace-path=/run/netns/{self._networks[name]}")

    def _configure(self, name: str) -> None:
        """Write the files of the page whose path is in their first line."""
        for path, content in re.findall(r"^    # (/\S+)\n((?:    .*\n|\n(?=    ))+)", self._page, re.M):
            self._boxes[name].put(path, re.sub("^    ", "", content, flags=re.M))

    def _block(self, word: str) -> str:
        """Return the lines of the page, without their indent, of the block that has `word`."""
        [block] = [block for block in re.findall(r"(?:^    .*\n)+", self._page, re.M) if word in block]
        return re.sub("^    ", "", block, flags=re.M)

    def command(self, program: str) -> str:
        """Return the command of the page that begins with `program`."""
        [found] = set(re.findall(rf"`({program} [^`]+)`", self._page))
        return str(found)

    def run(self, name: str, command: str) -> str:
        """Run `command` as root on the machine `name`, and return its output."""
        return self._boxes[name].run(command).stdout

    def resources(self, name: str) -> dict[str, str]:
        """Return the machine that has each resource which is started, as the machine `name` sees it."""
        return dict(re.findall(r"(\S+)\t.*\t Started (\S+)", self._status(name)))

    def _status(self, name: str) -> str:
        """Return the state of the cluster as the machine `name` sees it; empty if Pacemaker does not answer yet."""
        return self._boxes[name].run("crm_mon -1", check=False).stdout

    def wait_until_complete(self) -> tuple[str, str]:
        """Wait until both machines are members and one of them has the timekeeper; the active and the passive one."""
        wait_for(lambda: len(self.resources("t1")) == 3, 30)
        return ("t1", "t2") if self.resources("t1")["timekeeper"] == "t1" else ("t2", "t1")

    def cut_power(self, name: str) -> None:
        """Cut the power of the machine `name`."""
        self._boxes[name].cut_power()

    def wait_for_fencing(self, name: str) -> None:
        """Wait until the other machine has the power of `name` cut, and cut it."""
        wait_for(self._request(name).exists, 30)
        if self._boxes[name].leader:
            self.cut_power(name)
        self._request(name).unlink()

    def is_to_be_fenced(self, name: str) -> bool:
        """Return True if the other machine waits until the power of `name` is cut."""
        return self._request(name).exists()

    def _request(self, name: str) -> Path:
        return self._shared / "fence" / name

    def connect(self, state: str) -> None:
        """Set the link between the machines `up` or `down`."""
        ip("-n", self._networks["t1"], "link", "set", "ring0", state)

    def _make_network(self) -> None:
        ip("link", "add", self._networks["t1"], "type", "veth", "peer", "name", self._networks["t2"])
        for number, network in enumerate(self._networks.values(), 1):
            ip("netns", "add", network)
            ip("link", "set", network, "netns", network, "name", "ring0")
            ip("-n", network, "address", "add", f"10.99.1.{number}/24", "dev", "ring0")
            ip("-n", network, "link", "set", "ring0", "up")

    @staticmethod
    def _on_both(action: Callable[[str], object]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(action, NAMES))

    def close(self) -> None:
        """Remove the machines and their network."""
        for box in self._boxes.values():
            box.close()
        for network in self._networks.values():
            ip("netns", "delete", network)
        shutil.rmtree(self._shared)


def ip(*arguments: str) -> None:
    """Run ip(8) with `arguments`."""
    subprocess.run(["ip", *arguments], check=True)
