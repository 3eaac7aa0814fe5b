"""We hold both addresses of `localhost` or neither, and no other account can lock out the holder of the token."""

import contextlib
import shlex
from collections.abc import Iterator

import pytest

from tests.conftest import Api, wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import Site, SystemSite, add_account, free_port

ADDRESSES = ("127.0.0.1", "::1")
LISTEN = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listening = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
if sys.argv[3:]:
    open(sys.argv[3], "w").close()
    time.sleep(600)
"""


def shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def can_listen(box: Box, address: str, port: int) -> bool:
    """Return whether another account can listen on `address` and `port`."""
    tried = box.run(f"python3 -c {shlex.quote(LISTEN)} {address} {port}", user="daemon", check=False)
    assert tried.returncode == 0 or "Address already in use" in tried.stderr, tried
    return tried.returncode == 0


@contextlib.contextmanager
def taken(box: Box, address: str, port: int) -> Iterator[None]:
    """Listen on `address` and `port` as another account."""
    box.run("rm -f /tmp/taken")
    box.run(f"python3 -c {shlex.quote(LISTEN)} {address} {port} /tmp/taken >/dev/null 2>&1 & echo $! >/tmp/taken.pid",
            user="daemon")
    try:
        wait_for(lambda: box.run("ls /tmp/taken", check=False).returncode == 0)
        yield
    finally:
        box.run("kill $(cat /tmp/taken.pid)")
        wait_for(lambda: can_listen(box, address, port))


def health(site: Site, address: str) -> str:
    url = f"http://{shown(address, site.port)}/health"
    return str(site.box.run(f"curl -s -o /dev/null -w '%{{http_code}}' {shlex.quote(url)}", check=False).stdout)


def test_no_other_account_can_take_an_address_of_the_installation(site: Site) -> None:
    assert [can_listen(site.box, address, site.port) for address in ADDRESSES] == [False, False]
    assert [health(site, address) for address in (*ADDRESSES, "localhost")] == ["200"] * 3


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_in_use_by_another_account_is_refused_before_any_change(
        machine: Box, sites: dict[str, Site], address: str) -> None:
    if machine.run("id lena", check=False).returncode:
        add_account(machine, "lena")
    port = free_port()
    with taken(machine, address, port):
        refused = machine.run(f"PORT={port} {INSIDE}/install.sh", user="lena", check=False)
        assert refused.returncode == 1 and f"Another program listens on {shown(address, port)}" in refused.stderr
        assert not machine.run("ls -A ~/.local ~/.hermes ~/.config/systemd", user="lena", check=False).stdout


def test_an_old_version_with_one_address_is_not_upgraded_if_the_other_is_in_use(site: Site) -> None:
    unit = f"{site.settings_dir}/hermes-oscron.socket"
    site.administer(f"sed -i '/::1/d' {unit}")
    site.systemctl("daemon-reload")
    site.systemctl("restart hermes-oscron.socket")
    assert can_listen(site.box, "::1", site.port)
    before = site.administer(f"cat {unit}").stdout
    with taken(site.box, "::1", site.port):
        refused = site.administer(f"PORT={site.port} {INSIDE}/install.sh {site.options}", check=False)
        assert refused.returncode == 1 and shown("::1", site.port) in refused.stderr
        assert site.administer(f"cat {unit}").stdout == before and health(site, "127.0.0.1") == "200"
    site.install()
    assert not can_listen(site.box, "::1", site.port) and health(site, "::1") == "200"


def test_if_one_address_is_in_use_neither_is_bound_and_doctor_reports_it(site: Site) -> None:
    site.systemctl("stop hermes-oscron.socket hermes-oscron.service")
    try:
        with taken(site.box, "::1", site.port):
            site.systemctl("start hermes-oscron.socket", check=False)
            assert health(site, "127.0.0.1") == "000"
            code, told = site.doctor()
            assert code == 1 and "hermes-oscron.socket failed when it was last started" in told
    finally:
        site.start_server()


def test_wrong_tokens_of_another_account_lock_out_no_other(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}"
    wrong = f"curl -s -o /dev/null -w '%{{http_code}} ' -H 'Authorization: Bearer wrong' {url}/api/crons"
    statuses = site.box.run(f"for _ in $(seq 15); do {wrong}; done", user="daemon").stdout.split()
    assert statuses == ["401"] * 10 + ["429"] * 5
    assert site.api.get("/api/crons")["jobs"] == []
    assert Api(url, None).call("POST", "/api/auth/login", {"password": site.api.token})[0] == 200


def test_a_prompt_by_standard_input_is_in_no_process_list(site: Site) -> None:
    """Another account reads all arguments while the job is created, by root too, and while it runs."""
    watch = ("import glob, sys, time\nend = time.time() + 8\nfound = set()\nwhile time.time() < end:\n"
             "  for path in glob.glob('/proc/[0-9]*/cmdline'):\n    try: line = open(path).read()\n"
             "    except OSError: continue\n"
             "    if 'xyz' + 'zy' in line: found.add(line)\nprint(sorted(found))")
    site.put(f"{site.hermes}/oscron.toml", '[exec]\ncommand = ["sh", "-c", "cat; sleep 2"]\n')
    make = f"cat /opt/prompt | {site.bin}/hermes-oscron create 'in 1h' - --json"
    makers = [site.run, site.box.run] if isinstance(site, SystemSite) else [site.run]
    try:
        site.box.put("/opt/watch.py", watch)
        site.box.put_bytes("/opt/prompt", b"say xyzzy\n")
        site.box.run("python3 /opt/watch.py >/tmp/watched 2>&1 & sleep 0.5", user="daemon")
        for maker in makers:
            maker(make)
        for job in site.api.get("/api/crons")["jobs"]:
            assert job["prompt"] == "say xyzzy"
            site.verb("run", job["id"])
        assert len(site.api.get("/api/crons")["jobs"]) == len(makers)
        wait_for(lambda: all(job["last_status"] == "ok" for job in site.api.get("/api/crons")["jobs"]), 30)
        wait_for(lambda: site.box.run("cat /tmp/watched").stdout, 20)
        assert site.box.run("cat /tmp/watched").stdout == "[]\n"
    finally:
        site.run_prompts()


def test_the_ipv6_address_is_reserved_on_a_machine_without_ipv6() -> None:
    with contextlib.closing(Box()) as box:
        box.boot()
        site = SystemSite(box, "hermes", free_port())
        site.install()
        box.put("/etc/sysctl.d/99-no-ipv6.conf", "net.ipv6.conf.all.disable_ipv6 = 1\n")
        box.power_off()
        box.boot("--private-network")
        assert "::1" not in box.run("ip -6 address show").stdout
        assert box.run("systemctl is-active hermes-oscron.socket").stdout == "active\n"
        assert health(site, "127.0.0.1") == health(site, "localhost") == "200"
        box.run("sysctl -w net.ipv6.conf.all.disable_ipv6=0; ip -6 address show dev lo | grep -q ::1 || "
                "ip -6 address add ::1/128 dev lo")
        assert not can_listen(box, "::1", site.port) and health(site, "::1") == "200"
