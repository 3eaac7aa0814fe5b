"""The account as the attacker, with all its power, and other users: never a byte outside, a foreign unit, or root.

Whatever is tried, afterwards the machine is looked at: no file of root's has changed but timers of jobs, none of these
holds a byte that the account chose, and systemd has started nothing else.
"""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.fuzz.records import record
from tests.helper.harmless import TIMER, assert_harmless
from tests.machine.box import Box
from tests.machine.sites import Site, SystemSite

ROOTS = "/etc /root /usr/local /run/systemd/system /opt/treasure"
OURS = re.compile(r"hermes-(job|oscron|oscron-root|oscron-sync|oscron-changed|oscron-watch)(@\S*)?"
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


class Attack:
    """The account on its machine, and what it has not been able to do there."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.box: Box = site.box
        self.jobs_file = f"{site.hermes}/cron/jobs.json"
        self.job_id = site.create(schedule="0 9 * * *")["id"]
        self.sound = json.loads(self.site.run(f"cat {self.jobs_file}").stdout)["jobs"]
        self.site.run(f"tar -C {site.hermes} -cf sound.tar .")

    def begin(self) -> None:
        """Look at the machine as it is."""
        self.site.wait_for_syncs()
        wait_for(self._is_quiet)
        self._cursor = self.box.run("journalctl --no-pager -n 0 --show-cursor").stdout.split("cursor: ")[1].strip()
        self._before = self._state()

    def ask(self, question: bytes | dict[str, Any], user: str = "hermes") -> str:
        """What the helper says to QUESTION by USER, or the name of the error that kept it from being asked."""
        sent = question if isinstance(question, bytes) else json.dumps(question).encode() + b"\n"
        self.box.put_bytes("/opt/question", sent)
        return str(self.box.run("python3 /opt/ask.py /opt/question", user=user).stdout)

    def sync(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask({"verb": "sync"}))
        return answer

    def do(self, command: str) -> None:
        """Run COMMAND as the account in its Hermes home."""
        self.site.run(f"cd {self.site.hermes}; {command}")

    def put_jobs(self, content: str) -> None:
        self.box.put_bytes("/opt/jobs", content.encode("utf-8", "surrogatepass"))
        self.do(f"rm -rf cron/jobs.json; cat /opt/jobs >{self.jobs_file}")

    def assert_nothing_came_of_it(self) -> None:
        assert self.box.run("systemctl is-active hermes-oscron-root.socket").stdout == "active\n"
        for unit, text in self.timers().items():
            assert_harmless(unit, text)
        assert self._state() == self._before
        started = {entry["UNIT"] for entry in self.journal("_PID=1") if entry.get("JOB_TYPE") in ("start", "restart")}
        assert all(OURS.fullmatch(unit) for unit in started), started
        assert not self.journal(f"--grep={TREASURE}")

    def restore(self) -> None:
        """Make the account's files sound again; all must then be as it was."""
        self.do("chmod -R u+rwX . ; rm -rf cron config.yaml profiles; tar -xf ~/sound.tar")
        self.sync()
        assert [*self.timers()] == [f"hermes-job@default:{self.job_id}.timer"]
        assert self.site.armed(self.job_id)

    def timers(self) -> dict[str, str]:
        """What of units there is that live in memory, and what they say."""
        listed = self.box.run("cd /run/systemd/system; ls -A").stdout.splitlines()
        return {unit: self.box.run(f"cat -- {shlex.quote(f'/run/systemd/system/{unit}')}").stdout
                for unit in listed if "hermes" in unit or "taken" in unit}

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """What the journal has since the attack began."""
        told = self.box.run(f"journalctl --no-pager --quiet -o json --after-cursor={shlex.quote(self._cursor)} "
                            f"{shlex.join(matches)}", check=False).stdout
        return [json.loads(line) for line in told.splitlines()]

    def _state(self) -> str:
        """All that is root's, but for the timers of jobs and the folder that they are in."""
        listed = self.box.run(f"find {ROOTS} -xdev -printf '%p|%y|%m|%u|%s|%T@|%l\\n' | sort").stdout
        return "\n".join(line for line in listed.splitlines()
                         if not TIMER.fullmatch(Path(line.split("|")[0]).name)
                         and line.split("|")[0] != "/run/systemd/system")

    def _is_quiet(self) -> bool:
        units = self.box.run("systemctl list-units --plain --no-legend --state=active,activating,deactivating "
                             "'hermes-oscron-sync.service' 'hermes-oscron-root@*' 'hermes-job@*.service'").stdout
        return not units


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
        attacker.assert_nothing_came_of_it()
    finally:
        attacker.restore()


# Raw bytes on the socket


NO_QUESTIONS = [
    b"", b"\n", b"\0" * 100, b"\xff" * 70_000, b"[" * 200_000, b"GET / HTTP/1.1\r\n\r\n", b'{"verb": "enable"}',
    b'{"verb": "start", "instances": ["x.service"]}', b'{"verb": "sync", "units": ["sshd.service"]}',
    b'{"verb": "start", "instances": ["default:x\\n.service"]}', b'{"verb": "sync", "instances": ["../../etc:x"]}',
    b'{"verb": "start", "instances": ["a:b/../../../etc/systemd/system/getty@tty1"]}',
    b'{"verb": "stop", "instances": ["a:*"]}', b'{"verb": "stop", "instances": ["a:b c:d"]}',
    b'{"verb": "start", "instances": ["--all:b\\u0000"]}', b'{"verb": "sync", "leave": ["%n:%h"]}',
]


def test_bytes_that_are_no_request_are_refused_in_a_sentence(attack: Attack) -> None:
    for question in NO_QUESTIONS:
        assert list(json.loads(attack.ask(question))) == ["error"], question


def test_a_question_has_an_end(attack: Attack) -> None:
    assert attack.ask(b"x" * (5 << 20)) in ("BrokenPipeError\n", "ConnectionResetError\n")
    wait_for(lambda: attack.journal("--grep=A question has at most"))


def test_who_says_nothing_is_hung_up_on_and_keeps_nobody_out_for_long(attack: Attack) -> None:
    silent = "import socket, time\nall = [socket.socket(socket.AF_UNIX) for _ in range(40)]\n" \
             "for each in all: each.connect('/run/hermes-oscron-root')\ntime.sleep(5)"
    attack.site.run(f"python3 -c {shlex.quote(silent)}")
    wait_for(lambda: "armed" in attack.ask({"verb": "sync"}), 20)


def test_a_flood_of_questions_ends_and_leaves_the_socket(attack: Attack) -> None:
    flood = "import socket\nfor _ in range(300):\n  each = socket.socket(socket.AF_UNIX)\n" \
            "  each.connect('/run/hermes-oscron-root')\n  each.send(b'{\"verb\": \"sync\"}\\n')"
    attack.site.run(f"python3 -c {shlex.quote(flood)}", check=False)
    wait_for(lambda: "armed" in attack.ask({"verb": "sync"}), 60)


def test_no_other_user_may_ask_even_where_the_socket_lets_them_in(attack: Attack) -> None:
    question = {"verb": "stop"}
    for user in ("ada", "daemon"):
        assert attack.ask(question, user) == "PermissionError\n"
    attack.box.run("chmod 666 /run/hermes-oscron-root")
    try:
        for user in ("ada", "daemon"):
            assert "may not ask" in attack.ask(question, user)
    finally:
        attack.box.run("chmod 600 /run/hermes-oscron-root")
    assert attack.site.armed(attack.job_id)


def test_what_is_no_job_is_started_as_the_account_and_comes_to_nothing(attack: Attack) -> None:
    attack.ask({"verb": "start", "instances": ["default:sshd.service", "default:nothing", "-:-"]})
    wait_for(lambda: "error" not in attack.ask({"verb": "stop", "instances": ["default:sshd.service", "-:-"]}))


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


def test_a_trap_in_the_place_of_a_file_is_not_entered(attack: Attack) -> None:
    for name, trap in TRAPS.items():
        attack.do(trap)
        began = time.monotonic()
        answer = attack.ask({"verb": "sync"})
        assert time.monotonic() - began < 30, name
        assert TREASURE not in answer and "root:" not in answer, name
        attack.ask({"verb": "sync", "instances": [f"default:{attack.job_id}", "treasure:taken"]})
        if "profile" not in name:
            assert f"hermes-job@default:{attack.job_id}.timer" in attack.timers(), f"{name}: what was sound fires on"
        for unit, text in attack.timers().items():
            assert_harmless(unit, text)
        attack.restore()


def test_a_loop_of_links_ends_no_watching_for_good(attack: Attack) -> None:
    attack.do("ln -sfn jobs.json cron/jobs.json")
    failed = "systemctl is-failed hermes-oscron-changed.path"
    wait_for(lambda: attack.box.run(failed, check=False).stdout == "failed\n", 30)
    attack.do("rm cron/jobs.json")
    attack.sync()
    assert attack.box.run("systemctl is-active hermes-oscron-changed.path").stdout == "active\n"


def test_a_crowd_of_profiles_takes_no_inotify_instance_from_root(attack: Attack) -> None:
    attack.do("mkdir -p profiles; cd profiles; seq -f p%g 400 | xargs mkdir")
    attack.sync()
    watches = attack.box.run("systemctl list-units --plain --no-legend 'hermes-oscron-watch@*'").stdout.splitlines()
    assert len(watches) == 10 and all(" active " in line for line in watches)
    attack.box.run("python3 -c 'import ctypes; assert ctypes.CDLL(None).inotify_init() >= 0'")


def test_the_account_has_no_room_in_root_s_run(attack: Attack) -> None:
    assert attack.box.run("find /run -xdev -user hermes ! -type s ! -type p").stdout == ""


NASTY = "x\n[Service]\nExecStart=/bin/touch /opt/treasure/taken\n\\"


def test_hostile_records_give_no_byte_to_a_unit(attack: Attack) -> None:
    cron = {"kind": "cron", "expr": "0 9 * * *"}
    attack.put_jobs(json.dumps({"jobs": [
        *attack.sound,
        *(record(job_id) for job_id in ("../../../etc/systemd/system/x", "a/b", "x.service\n", "", "%n", "*", NASTY)),
        record("name", name=NASTY), record("prompt", prompt=NASTY), record("-x", name=f"%n{NASTY}"),
        record("expr", schedule={**cron, "expr": f"0 9 * * *{NASTY}"}),
        record("kind", schedule={**cron, "kind": NASTY}), record("once", schedule={"kind": "once", "run_at": NASTY}),
        record("many", schedule={"kind": "interval", "minutes": 1e308}),
        record("huge", schedule={**cron, "expr": ",".join(map(str, range(60))) * 1000}),
        record("list", schedule=[cron]), record("next", next_run_at=NASTY), record("u", name="\ud800\u2028"),
    ]}))
    attack.sync()
    assert f"hermes-job@default:{attack.job_id}.timer" in attack.timers()
    assert {"hermes-job@default:name.timer", "hermes-job@default:-x.timer"} <= attack.timers().keys()


def test_more_jobs_than_can_be_change_no_timer(attack: Attack) -> None:
    before = attack.timers()
    attack.put_jobs(json.dumps({"jobs": [record(f"j{n}") for n in range(10_001)]}))
    assert "more than 10000 jobs" in attack.sync()["error"]
    assert attack.timers() == before


def test_no_more_timers_than_can_be_by_asking_one_at_a_time(attack: Attack) -> None:
    attack.put_jobs(json.dumps({"jobs": [*attack.sound, record("more")]}))
    attack.box.run("cd /run/systemd/system; seq -f 'hermes-job@default:x%g.timer' 9999 | xargs touch")
    try:
        assert "more than 10000 jobs" in attack.ask({"verb": "sync", "instances": ["default:more"]})
        assert "armed" in attack.ask({"verb": "sync", "instances": [f"default:{attack.job_id}"]})
    finally:
        attack.box.run("cd /run/systemd/system; find . -name 'hermes-job@default:x*.timer' -delete")


def test_the_same_id_ten_thousand_times_is_one_timer(attack: Attack) -> None:
    attack.put_jobs(json.dumps({"jobs": [record("same", name=f"n{n}") for n in range(10_000)]}))
    attack.sync()
    assert len(attack.timers()) <= 2


def test_no_race_of_files_and_links_brings_in_what_the_account_may_not_read(attack: Attack) -> None:
    race = """
import json, os, socket, threading, time
sound, ended = open("cron/jobs.json").read(), time.monotonic() + 8
def swap():
    while time.monotonic() < ended:
        for target in ("/opt/treasure/jobs.json", "/etc/shadow", "/dev/zero"):
            os.symlink(target, "swap"); os.rename("swap", "cron/jobs.json")
            open("swap", "w").write(sound); os.rename("swap", "cron/jobs.json")
def turn():
    while time.monotonic() < ended:
        os.rename("cron", "cron.real"); os.symlink("/opt/treasure", "cron")
        os.unlink("cron"); os.rename("cron.real", "cron")
def ask():
    while time.monotonic() < ended:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect("/run/hermes-oscron-root")
                asking.sendall(json.dumps({"verb": "sync", "instances": ["default:taken"]}).encode() + b"\\n")
                said = asking.recv(65536)
                assert b"armed" not in said or not json.loads(said).get("armed"), said
            except ConnectionError:
                pass
threads = [threading.Thread(target=each) for each in (swap, ask, ask)]
[each.start() for each in threads]; [each.join() for each in threads]
ended = time.monotonic() + 4
threads = [threading.Thread(target=each) for each in (turn, ask, ask)]
[each.start() for each in threads]; [each.join() for each in threads]
"""
    attack.box.put("/opt/race.py", race)
    attack.do("python3 /opt/race.py")
    assert not [unit for unit in attack.timers() if "taken" in unit]


# Without the helper


def test_the_account_may_not_tell_systemd_anything_itself(attack: Attack) -> None:
    for command in ("systemctl start hermes-job@default:x.service", "systemctl stop hermes-oscron-root.socket",
                    "systemd-run --system /bin/true", "systemctl daemon-reload", "systemctl edit --stdin x </dev/null",
                    "touch /run/systemd/system/x.service", "touch /run/hermes-oscron-root.lock",
                    "rm /run/hermes-oscron-root", "sh -c 'echo x >>/usr/local/lib/hermes-oscron/venv/installation'"):
        assert attack.site.run(command, check=False).returncode != 0, command


def test_nothing_that_root_runs_is_the_account_s_to_change(attack: Attack) -> None:
    places = "/usr/local/lib/hermes-oscron /usr/local/bin /etc/systemd/system"
    assert not attack.box.run(f"find {places} ! -type l '(' ! -user root -o -perm /022 ')'").stdout
    environment = attack.box.run("systemctl show -P Environment hermes-oscron-root@x.service").stdout
    assert "PATH" not in environment and "PYTHON" not in environment and "LD_" not in environment


def test_a_job_is_the_account_and_can_become_nobody_else(attack: Attack) -> None:
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
    ("hermes-oscron.service", 3.0), ("hermes-oscron-root@x.service", 2.0), ("hermes-job@a:b.service", 3.0),
    ("hermes-oscron-sync.service", 3.0), ("hermes-oscron-changed.service", 3.0),
])
def test_systemd_calls_each_unit_ok_or_better(sites: dict[str, Site], unit: str, exposure: float) -> None:
    told = sites["hermes"].box.run(f"systemd-analyze security --no-pager {unit} | tail -1").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+) (\w+)", told)
    assert found and float(found[1]) <= exposure and found[2] == "OK", told
