"""The account attacks root's helper with all its power, and so do other users: nothing of root changes.

Every attack is followed by the same checks: no file of root has changed but timers of jobs, these contain no byte that
the account chose, and systemd has started only units of hermes-oscron.
"""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.schedulers.protocol import Limits
from tests.conftest import wait_for
from tests.fuzz.records import record
from tests.machine.box import Box
from tests.machine.sites import Site, SystemSite, helper_works
from tests.privileged.harmless import TIMER, assert_harmless, assert_harmless_drop_in

ROOTS = "/etc /root /usr/local /run/systemd/system /opt/treasure"
OURS = re.compile(r"hermes-(job|oscron|oscron-(root|sync|changed|watch|settings|agent))(@\S*)?"
                  r"\.(service|timer|socket|path)|system-hermes\S+\.slice")
TREASURE = "the-treasure-of-root"
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as asking:
    asking.settimeout(60)
    try:
        asking.connect("/run/hermes-oscron-root")
        asking.sendall(open(sys.argv[1], "rb").read())
        asking.shutdown(socket.SHUT_WR)
        while part := asking.recv(65536):
            sys.stdout.write(part.decode())
    except OSError as error:
        print(type(error).__name__)
"""


def arming(*instances: str, **parts: Any) -> dict[str, Any]:
    """Return the request to arm `instances` at 9:00, or by a plan with other `parts`."""
    plan = {"kind": "cron", "expression": "0 9 * * *", "zone": "UTC", "phase": None, **parts}
    return {"command": "arm", "items": [[instance, *plan.values()] for instance in instances]}


class Attack:
    """The account on its machine, and the checks that an attack has changed nothing."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.box: Box = site.box
        self.jobs_file = f"{site.hermes}/cron/jobs.json"
        self.job_id = site.create(schedule="0 9 * * *")["id"]
        self.sound = json.loads(self.site.run(f"cat {self.jobs_file}").stdout)["jobs"]
        self.arming = arming(f"default:{self.job_id}")
        self.site.run(f"tar -C {site.hermes} -cf sound.tar .")

    def begin(self) -> None:
        """Note the state of the machine."""
        self.site.wait_for_syncs()
        wait_for(self._is_quiet, 60)
        self._cursor = self.box.run("journalctl --no-pager -n 0 --show-cursor").stdout.split("cursor: ")[1].strip()
        self._before = self._state()

    def ask(self, request: bytes | dict[str, Any], user: str = "hermes") -> str:
        """Return the helper's answer to `request` by `user`, or the name of the error of connecting or sending."""
        sent = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        self.box.put_bytes("/opt/request", sent)
        return str(self.box.run("python3 /opt/ask.py /opt/request", user=user).stdout)

    def arm(self, *instances: str) -> dict[str, Any]:
        """Return the helper's answer to the request to arm `instances`."""
        answer: dict[str, Any] = json.loads(self.ask(arming(*instances)))
        return answer

    def watch(self, *profiles: str) -> dict[str, Any]:
        """Return the helper's answer to the request to watch `profiles`."""
        answer: dict[str, Any] = json.loads(self.ask({"command": "watch", "items": profiles}))
        return answer

    def do(self, command: str) -> None:
        """Run `command` as the account in its Hermes home."""
        self.site.run(f"cd {self.site.hermes}; {command}")

    def put_jobs(self, content: str) -> None:
        self.box.put_bytes("/opt/jobs", content.encode("utf-8", "surrogatepass"))
        self.do(f"rm -rf cron/jobs.json; cat /opt/jobs >{self.jobs_file}")

    def assert_no_effect(self) -> None:
        assert self.box.run("systemctl is-active hermes-oscron-root.socket").stdout == "active\n"
        for unit, text in self.timers().items():
            assert_harmless(unit, text)
        assert_harmless_drop_in(self.drop_ins())
        now = self._state()
        changed = {path: now.get(path) for path in now | self._before if now.get(path) != self._before.get(path)}
        assert not {path: line for path, line in changed.items()
                    if path.startswith("/run/") or self.box.has_written(path)}
        started = {entry["UNIT"] for entry in self.journal("_PID=1") if entry.get("JOB_TYPE") in ("start", "restart")}
        assert all(OURS.fullmatch(unit) for unit in started), started
        assert not self.journal(f"--grep={TREASURE}")

    def restore(self) -> None:
        """Restore the account's files. A sync must then restore everything else."""
        self.do("chmod -R u+rwX . ; rm -rf cron config.yaml profiles; tar -xf ~/sound.tar")
        self.site.oscron("sync")
        assert [*self.timers()] == [f"hermes-job@default:{self.job_id}.timer"]
        assert self.site.armed(self.job_id)

    def drop_ins(self) -> str:
        """Return the content of all drop-ins of jobs."""
        return str(self.box.run("cat /run/systemd/system/hermes-job@*.d/*", check=False).stdout).replace(
            "\n[Service]\n", "\n")

    def timers(self) -> dict[str, str]:
        """Return the units of hermes-oscron that exist only in memory, with their content."""
        listed = self.box.run("cd /run/systemd/system; ls -A").stdout.splitlines()
        units = [unit for unit in listed if ("hermes" in unit or "taken" in unit) and not unit.endswith(".service.d")]
        read = {unit: self.box.run(f"cat -- {shlex.quote(f'/run/systemd/system/{unit}')}", check=False)
                for unit in units}
        return {unit: cat.stdout for unit, cat in read.items() if cat.returncode == 0}  # a sync may remove one

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the entries of the journal since the attack began that match `matches`."""
        told = self.box.run(f"journalctl --no-pager --quiet -o json --after-cursor={shlex.quote(self._cursor)} "
                            f"{shlex.join(matches)}", check=False).stdout
        return [json.loads(line) for line in told.splitlines()]

    def _state(self) -> dict[str, str]:
        """Return all files of root by path, but the timers of jobs and the folder of these."""
        listed = self.box.run(f"find {ROOTS} -xdev -printf '%p|%y|%m|%u|%s|%T@|%l\\n'", check=False).stdout
        lines = {line.partition("|")[0]: line for line in listed.splitlines()}
        return {path: line for path, line in lines.items()
                if not TIMER.fullmatch(Path(path).name) and path != "/run/systemd/system"}

    def _is_quiet(self) -> bool:
        units = self.box.run("systemctl list-units --plain --no-legend --state=active,activating,deactivating "
                             "'hermes-oscron-sync.service' 'hermes-job@*.service'").stdout
        return not units and not helper_works(self.box)


@pytest.fixture(scope="module")
def attacker(sites: dict[str, Site]) -> Iterator[Attack]:
    site = sites["hermes"]
    assert isinstance(site, SystemSite)
    site.box.put("/opt/ask.py", ASK)
    site.box.run("mkdir -p -m 700 /opt/treasure")
    site.box.put("/opt/treasure/jobs.json", json.dumps({"jobs": [record("taken", prompt=TREASURE)]}))
    yield Attack(site)
    site.clear()


@pytest.fixture
def attack(attacker: Attack) -> Iterator[Attack]:
    attacker.begin()
    try:
        yield attacker
        attacker.assert_no_effect()
    finally:
        attacker.restore()


# Requests


NASTY = "x\n[Service]\nExecStart=/bin/touch /opt/treasure/taken\n\\"
MALFORMED = [
    b"", b"\n", b"\0" * 100, b"\xff" * 70_000, b"[" * 200_000, b"[]", b"GET / HTTP/1.1\r\n\r\n",
    b'{"command": "enable", "items": []}', b'{"command": "arm", "instances": ["default:x"]}',
    b'{"command": "sync", "items": []}', b'{"command": ["arm"], "items": []}', b'{"command": "arm"}',
    b'{"command": "arm", "items": ["default:x"]}', b'{"command": "arm", "items": [[]]}',
    b'{"command": "start"}', b'{"command": "start", "items": null}', b'{"command": "disarm", "items": "a:b"}',
    b'{"command": "start", "items": ["x.service"]}', b'{"command": "watch", "items": [], "units": ["sshd.service"]}',
    b'{"command": "start", "items": ["default:x\n.service"]}', b'{"command": "arm", "items": [["../../etc:x"]]}',
    b'{"command": "start", "items": ["default:x\\n.service"]}', b'{"command": "start", "items": [["a:b"]]}',
    b'{"command": "start", "items": ["a:b/../../../etc/systemd/system/getty@tty1"]}',
    b'{"command": "disarm", "items": ["a:*"]}', b'{"command": "disarm", "items": ["a:b c:d"]}',
    b'{"command": "delete", "items": ["a:b", "../hermes-oscron-root:x"]}',
    b'{"command": "start", "items": ["--all:b\\u0000"]}', b'{"command": "arm", "items": [["%n:%h"]]}',
    b'{"command": "watch", "items": [".."]}', b'{"command": "watch", "items": ["a/../../.."]}',
    b'{"command": "watch", "items": ["%h"]}', b'{"command": "disarm-all", "items": ["a:b"]}',
]


def test_malformed_requests_are_refused_in_a_sentence(attack: Attack) -> None:
    for request in MALFORMED:
        assert list(json.loads(attack.ask(request))) == ["error"], request


def test_the_length_of_a_request_is_limited(attack: Attack) -> None:
    assert attack.ask(b"x" * (5 << 20)) in ("BrokenPipeError\n", "ConnectionResetError\n")
    wait_for(lambda: attack.journal("--grep=Request is longer than"))


def test_silent_clients_are_disconnected_and_do_not_block_others_for_long(attack: Attack) -> None:
    silent = "import socket, time\nall = [socket.socket(socket.AF_UNIX) for _ in range(40)]\n" \
             "for each in all: each.connect('/run/hermes-oscron-root')\ntime.sleep(5)"
    attack.site.run(f"python3 -c {shlex.quote(silent)}")
    wait_for(lambda: "armed" in attack.ask(attack.arming), 20)


def test_the_socket_works_after_a_flood_of_requests(attack: Attack) -> None:
    flood = "import socket\nfor _ in range(300):\n  each = socket.socket(socket.AF_UNIX)\n" \
            f"  each.connect('/run/hermes-oscron-root')\n  each.send({json.dumps(attack.arming).encode()!r})"
    attack.site.run(f"python3 -c {shlex.quote(flood)}", check=False)
    wait_for(lambda: "armed" in attack.ask(attack.arming), 60)


def test_another_user_is_refused_even_if_the_socket_admits_them(attack: Attack) -> None:
    requests: list[dict[str, Any]] = [attack.arming, {"command": "disarm-all", "items": []}, *(
        {"command": command, "items": [f"default:{attack.job_id}"]} for command in ("disarm", "delete", "start")),
        {"command": "watch", "items": []}]
    for user in ("ada", "daemon"):
        assert attack.ask({"command": "disarm-all", "items": []}, user) == "PermissionError\n"
    attack.box.run("chmod 666 /run/hermes-oscron-root")
    try:
        for user in ("ada", "daemon"):
            for request in requests:
                assert "is not allowed to use this socket" in attack.ask(request, user)
    finally:
        attack.box.run("chmod 600 /run/hermes-oscron-root")
    assert attack.site.armed(attack.job_id) and attack.site.api.job(attack.job_id)["last_run_at"] is None


def test_a_start_of_a_name_that_is_not_a_job_does_nothing(attack: Attack) -> None:
    attack.ask({"command": "start", "items": ["default:sshd.service", "default:nothing", "-:-"]})
    wait_for(lambda: "error" not in attack.ask({"command": "delete", "items": ["default:sshd.service", "-:-"]}))


def test_a_job_that_is_not_in_jobs_json_gets_a_harmless_timer_until_the_next_sync(attack: Attack) -> None:
    before = attack.timers()
    strangers = ["default:sshd", "default:x.service", "nobody:x", f"default:{attack.job_id[:-1]}", "-:-",
                 "treasure:taken"]
    assert attack.arm(*strangers)["armed"] == strangers
    for unit, text in attack.timers().items():
        assert_harmless(unit, text)
    attack.site.oscron("sync")
    assert attack.timers() == before


def test_the_account_can_arm_again_a_job_that_it_disarmed(attack: Attack) -> None:
    for command, items in (("disarm-all", []), ("disarm", [f"default:{attack.job_id}"])):
        attack.ask({"command": command, "items": items})
        assert not attack.timers() and not attack.site.armed(attack.job_id)
        assert attack.arm(f"default:{attack.job_id}")["armed"] == [f"default:{attack.job_id}"]
        assert attack.site.armed(attack.job_id)


def test_no_byte_of_a_hostile_plan_reaches_a_unit(attack: Attack) -> None:
    for part in ("kind", "expression", "zone"):
        for text in (NASTY, f"0 9 * * *{NASTY}", f"UTC{NASTY}", "../../../etc/passwd", "%n", "", "é", "\ud800",
                     "x" * 5000, None, [], {}, 7):
            answer = json.loads(attack.ask(arming("default:bad", **{part: text})))
            assert answer["armed"] == [] and answer["problems"], (part, text)
    for phase in (-1, 10**30, 1e308, "0", [], {}):
        assert json.loads(attack.ask(arming("default:bad", phase=phase)))["armed"] == [], phase
    for limit in (-1, 0, 10**30, 1e308, True, "7", NASTY, [], {}, [7]):
        limits = [[limit] * len(Limits._fields), limit, [limit], {"stop_timeout": limit}]
        for each in limits:
            assert json.loads(attack.ask(arming("default:bad", limits=each)))["armed"] == [], limit
            assert "error" in json.loads(attack.ask({"command": "start", "items": [["default:bad", each]]})), limit
    assert not attack.drop_ins()
    for name in ("../../../etc/systemd/system/x", "a/b", "x.service\n", "", "%n", "*", NASTY):
        assert "error" in attack.arm(f"default:{name}"), name
    assert [*attack.timers()] == [f"hermes-job@default:{attack.job_id}.timer"]


def test_too_many_jobs_are_refused_and_change_no_timer(attack: Attack) -> None:
    before = attack.timers()
    assert "at most 500 items" in attack.arm(*(f"default:j{n}" for n in range(501)))["error"]
    assert attack.timers() == before


def test_the_limit_of_timers_holds_for_single_requests_too(attack: Attack) -> None:
    attack.box.run("cd /run/systemd/system; seq -f 'hermes-job@default:x%g.timer' 9999 | xargs touch")
    try:
        assert "more than 10000 jobs" in attack.arm("default:more")["error"]
        assert "armed" in attack.arm(f"default:{attack.job_id}")
    finally:
        attack.box.run("cd /run/systemd/system; find . -name 'hermes-job@default:x*.timer' -delete")


def test_the_same_job_many_times_is_one_timer(attack: Attack) -> None:
    attack.arm(*["default:same"] * 500)
    assert len(attack.timers()) <= 2


def test_many_profiles_use_no_inotify_instance_of_root(attack: Attack) -> None:
    names = [f"p{number}" for number in range(400)]
    attack.do(f"mkdir -p profiles; cd profiles; mkdir {' '.join(names)}")
    assert "at most 10 items" in attack.watch(*names)["error"]
    for first in (0, 20):
        attack.watch(*names[first:first + 10])
    attack.site.oscron("sync")
    watches = attack.box.run("systemctl list-units --plain --no-legend 'hermes-oscron-watch@*'").stdout.splitlines()
    assert len(watches) == 10 and all(" active " in line for line in watches)
    attack.box.run("python3 -c 'import ctypes; assert ctypes.CDLL(None).inotify_init() >= 0'")


def test_the_helper_has_no_rights_to_files_of_the_account(attack: Attack) -> None:
    attack.watch()
    pid = attack.box.run("systemctl show -P MainPID hermes-oscron-root.service").stdout.strip()
    status = attack.box.run(f"cat /proc/{pid}/status").stdout
    assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
    assert "Uid:\t0\t0\t0\t0" in status and "NoNewPrivs:\t1" in status
    opened = attack.box.run(f"readlink /proc/{pid}/fd/* /proc/{pid}/cwd").stdout
    assert "hermes" not in opened, opened


# Files


TRAPS = {
    "a link to a file of root's": "ln -sf /opt/treasure/jobs.json cron/jobs.json",
    "a hard link": "ln -f /etc/shadow cron/jobs.json || ln -sf /etc/shadow cron/jobs.json",
    "a pipe": "rm -f cron/jobs.json; mkfifo cron/jobs.json",
    "a device": "ln -sf /dev/zero cron/jobs.json",
    "a terminal": "ln -sf /dev/tty cron/jobs.json",
    "a folder": "rm -f cron/jobs.json; mkdir cron/jobs.json",
    "endless": "truncate -s 1T cron/jobs.json",
    "a linked folder": "rm -rf cron; ln -s /opt/treasure cron",
    "linked profiles": "ln -s /opt profiles",
    "a linked profile": "mkdir -p profiles; ln -s /opt/treasure profiles/treasure",
    "a profile with a nasty name": "mkdir profiles; cd profiles; mkdir 'x%n' ./-all 'a b' \"$(printf 'a\\nb')\"",
    "a linked config.yaml": "ln -sf /etc/shadow config.yaml",
    "an endless config.yaml": "truncate -s 1T config.yaml",
    "a pipe for config.yaml": "mkfifo config.yaml",
    "nothing readable": "chmod 0 cron",
    "garbage": "head -c 100000 /dev/urandom >cron/jobs.json",
    "too deep": "python3 -c 'print(\"[\" * 1000000)' >cron/jobs.json",
    "a link in a loop": "ln -sfn jobs.json cron/jobs.json",
    "a crowd": "mkdir -p profiles; cd profiles; seq -f p%g 400 | xargs mkdir",
}


def test_a_trap_instead_of_a_file_is_not_followed(attack: Attack) -> None:
    for name, trap in TRAPS.items():
        attack.do(trap)
        began = time.monotonic()
        answers = [attack.ask({"command": "watch", "items": ["treasure", "work"]}), attack.ask(attack.arming)]
        assert time.monotonic() - began < 30, name
        assert "armed" in answers[1], name
        assert all(TREASURE not in answer and "root:" not in answer for answer in answers), name
        attack.site.run(f"timeout 60 {attack.site.bin}/hermes-oscron sync", check=False)
        if "profile" not in name:
            assert f"hermes-job@default:{attack.job_id}.timer" in attack.timers(), f"{name}: what was sound fires on"
        for unit, text in attack.timers().items():
            assert_harmless(unit, text)
        attack.restore()


def test_watching_recovers_from_a_loop_of_links(attack: Attack) -> None:
    attack.do("ln -sfn jobs.json cron/jobs.json")
    failed = "systemctl is-failed hermes-oscron-changed.path"
    wait_for(lambda: attack.box.run(failed, check=False).stdout == "failed\n", 30)
    attack.do("rm cron/jobs.json")
    attack.watch()
    assert attack.box.run("systemctl is-active hermes-oscron-changed.path").stdout == "active\n"


def test_the_account_owns_no_file_or_folder_in_run(attack: Attack) -> None:
    assert attack.box.run("find /run -xdev -user hermes ! -type s ! -type p").stdout == ""


def test_no_byte_of_a_hostile_record_reaches_a_unit(attack: Attack) -> None:
    cron = {"kind": "cron", "expr": "0 9 * * *"}
    nameless = ["../../../etc/systemd/system/x", "a/b", "x.service\n", "", "%n", "*", NASTY]
    records = [
        record("name", name=NASTY), record("prompt", prompt=NASTY), record("-x", name=f"%n{NASTY}"),
        record("expr", schedule={**cron, "expr": f"0 9 * * *{NASTY}"}),
        record("kind", schedule={**cron, "kind": NASTY}), record("once", schedule={"kind": "once", "run_at": NASTY}),
        record("many", schedule={"kind": "interval", "minutes": 1e308}),
        record("huge", schedule={**cron, "expr": ",".join(map(str, range(60))) * 1000}),
        record("list", schedule=[cron]), record("next", next_run_at=NASTY), record("u", name="\ud800\u2028"),
    ]
    attack.put_jobs(json.dumps({"jobs": [*attack.sound, *map(record, nameless), *records]}))
    attack.site.run(f"{attack.site.bin}/hermes-oscron sync", check=False)
    assert {f"hermes-job@default:{job_id}.timer" for job_id in (attack.job_id, "name", "-x")} <= attack.timers().keys()


# Without the helper


def test_the_account_itself_may_not_command_systemd(attack: Attack) -> None:
    for command in ("systemctl start hermes-job@default:x.service", "systemctl stop hermes-oscron-root.socket",
                    "systemd-run --system /bin/true", "systemctl daemon-reload", "systemctl edit --stdin x </dev/null",
                    "touch /run/systemd/system/x.service", "systemctl kill hermes-oscron-root.service",
                    "rm /run/hermes-oscron-root", "sh -c 'echo x >>/usr/local/lib/hermes-oscron/installation.conf'"):
        assert attack.site.run(command, check=False).returncode != 0, command


def test_the_account_can_change_nothing_that_root_runs(attack: Attack) -> None:
    places = "/usr/local/lib/hermes-oscron /usr/local/bin /etc/systemd/system"
    assert not attack.box.run(f"find {places} ! -type l '(' ! -user root -o -perm /022 ')'").stdout
    environment = attack.box.run("systemctl show -P Environment hermes-oscron-root.service").stdout
    assert "PATH" not in environment and "PYTHON" not in environment and "LD_" not in environment


def test_a_job_runs_as_the_account_and_cannot_change_its_user(attack: Attack) -> None:
    script = """id -u; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
for attempt in 'touch /etc/x' 'touch /usr/x' 'mount -t tmpfs x /mnt' 'setpriv --reuid=0 true' 'su -c true' \\
    'touch /run/systemd/system/x.timer' 'kill -0 1' 'cat /opt/treasure/jobs.json' 'dmesg' 'date -s 2030-01-01' \\
    'hostname x' 'chroot / true' 'mknod x b 8 0' 'sh -c "echo 1 >/proc/sys/kernel/panic"'; do
    sh -c "$attempt" >/dev/null 2>&1 && echo "DID: $attempt"
done
exit 0"""
    job = attack.site.create(script, schedule=attack.site.soon())
    wait_for(lambda: attack.site.api.job(job["id"])["state"] == "completed", 20)
    told = attack.site.outputs(job["id"])
    uid = attack.box.run("id -u hermes").stdout
    assert f"\n{uid}" in told and "DID" not in told, told
    assert "CapEff:\t0000000000000000" in told and "CapBnd:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told and "Seccomp:\t2" in told


@pytest.mark.parametrize(("unit", "exposure"), [
    ("hermes-oscron.service", 3.0), ("hermes-oscron-root.service", 2.0), ("hermes-job@a:b.service", 3.2),
    ("hermes-oscron-sync.service", 3.0), ("hermes-oscron-changed.service", 3.2),
])
def test_systemd_analyze_rates_each_unit_ok_or_better(sites: dict[str, Site], unit: str, exposure: float) -> None:
    told = sites["hermes"].box.run(f"systemd-analyze security --no-pager {unit} | tail -1").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+) (\w+)", told)
    assert found and float(found[1]) <= exposure and found[2] == "OK", told
