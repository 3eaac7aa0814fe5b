"""Jobs move from timers to crontab lines and back; machines without systemd, cron or crontab(1)."""

import os
import random
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import CrontabSite, add_account, free_port, sleep_until

THEIRS = b"# theirs\nMAILTO=\"\"\n\n5 4 30 2 * echo theirs\r\n"
SCHEDULES = ("30 8 * * 1", "every 45m", "every 7h", "in 3h")


class MovingSite(CrontabSite):
    """An account whose jobs move between its user manager and its crontab."""

    options = ""

    def timers(self) -> set[str]:
        """Return the jobs that have a timer, or the file of one."""
        files = self.run(f"cd {self.unit_dir} && ls | grep '^hermes-job@.*timer'", check=False).stdout.split()
        return {name.partition(":")[2].removesuffix(".timer") for name in self.armed_timers() | set(files)}

    def lined(self) -> set[str]:
        """Return the jobs that have a line that fires."""
        ours = [line.decode() for line in self.crontab().splitlines() if b"hermes-cron-exec" in line]
        return {line.partition(" default:")[2].split()[0] for line in ours if not line.startswith("#")}

    def server(self) -> str:
        return self.systemctl("show -P MainPID hermes-oscron.service").strip()


@pytest.fixture(scope="module")
def mia(machine: Box) -> MovingSite:
    add_account(machine, "mia")
    site = MovingSite(machine, "mia", free_port())
    site.install()
    return site


@pytest.fixture
def site(mia: MovingSite) -> Iterator[MovingSite]:
    mia.install_crontab(THEIRS)
    yield mia
    mia.clear()
    mia.oscron("sync --scheduler systemd")


def test_all_jobs_move_to_the_crontab_and_back(site: MovingSite) -> None:
    jobs = {site.create(schedule=schedule)["id"] for schedule in SCHEDULES}
    paused = site.create(schedule="0 9 * * *", enabled=False)["id"]
    assert (site.timers(), site.crontab()) == (jobs, THEIRS)
    server = site.server()

    site.oscron("sync --scheduler crontab")
    assert (site.timers(), site.lined()) == (set(), jobs)
    assert site.lines(paused)[0].startswith(b"# ") and site.crontab().startswith(THEIRS)
    assert site.crontab().count(b" sync # hermes-oscron\n") == 2
    assert "fired by cron" in site.doctor()[1] and site.doctor()[0] == 0

    assert site.server() == server != "0"
    assert site.api.get("/health")["scheduler"] == "crontab"
    jobs.add(site.create(schedule="0 9 * * *")["id"])
    site.verb("resume", paused)
    assert (site.timers(), site.lined()) == (set(), jobs | {paused}), "a server that was there before knows"
    site.verb("pause", paused)
    assert (site.timers(), site.lined(), site.server()) == (set(), jobs, server)

    site.oscron("sync")
    assert site.lined() == jobs, "auto stays where the jobs are"
    site.install()
    assert (site.timers(), site.lined()) == (set(), jobs)

    site.api.get("/api/crons")
    server = site.server()
    site.oscron("sync --scheduler systemd")
    assert (site.timers(), site.crontab()) == (jobs, THEIRS)
    jobs.add(site.create(schedule="0 9 * * *")["id"])
    assert (site.timers(), site.crontab(), site.server()) == (jobs, THEIRS, server)
    assert "systemd timers" in site.doctor()[1] and site.doctor()[0] == 0


def test_a_run_in_progress_survives_the_move(site: MovingSite) -> None:
    for target in ("crontab", "systemd"):
        job_id = site.create("sleep 3; echo whole", schedule="every 1h")["id"]
        site.api.start_run(job_id)
        site.oscron(f"sync --scheduler {target}")
        assert list(site.api.running()) == [job_id]
        wait_for(lambda job_id=job_id: site.api.job(job_id)["last_status"] == "ok")
        assert "whole" in site.outputs(job_id)


def test_no_job_is_armed_twice_after_any_end_of_a_move(site: MovingSite) -> None:
    """Moves are killed at random times, while jobs are created and deleted."""
    dice = random.Random(6)
    jobs = [site.create(schedule=schedule)["id"] for schedule in SCHEDULES]
    for nth in range(24):
        target = ("crontab", "systemd")[nth // 2 % 2]
        seconds = round(dice.uniform(0.05, 0.5), 2)
        site.run(f"timeout --signal KILL {seconds} {site.bin}/hermes-oscron sync --scheduler {target}", check=False)
        assert not site.timers() & site.lined()
        jobs.append(site.create(schedule=dice.choice(SCHEDULES))["id"])
        site.verb("delete", jobs.pop(dice.randrange(len(jobs))))
        assert not site.timers() & site.lined()
    for target, wanted in (("crontab", (set(), set(jobs))), ("systemd", (set(jobs), set()))):
        site.oscron(f"sync --scheduler {target}")
        assert (site.timers(), site.lined()) == wanted
        assert site.crontab().startswith(THEIRS)
    assert site.crontab() == THEIRS


@pytest.mark.usefixtures("unwatched")
def test_a_sync_moves_the_jobs_to_the_configured_scheduler(site: MovingSite) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.put(f"{site.hermes}/oscron.toml", '[scheduler]\nkind = "crontab"\n')
    try:
        status, said = site.doctor()
        assert status == 1 and "oscron.toml sets crontab" in said
        site.oscron("sync")
        assert (site.timers(), site.lined()) == (set(), {job_id}) and site.doctor()[0] == 0
        refused = site.run(f"{site.bin}/hermes-oscron sync --scheduler systemd", check=False)
        assert refused.returncode == os.EX_CONFIG and "oscron.toml sets the scheduler to crontab" in refused.stderr
    finally:
        site.run_prompts()


def test_jobs_are_not_moved_if_cron_is_not_installed(site: MovingSite) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.box.run("systemctl stop cron")
    try:
        refused = site.run(f"{site.bin}/hermes-oscron sync --scheduler crontab", check=False)
        assert refused.returncode == 1 and "The jobs stay with systemd: No cron daemon runs here" in refused.stderr
        assert (site.timers(), site.crontab()) == ({job_id}, THEIRS)
    finally:
        site.box.run("systemctl start cron")


def test_jobs_are_not_moved_if_crontab_refuses(site: MovingSite) -> None:
    job_id = site.create(schedule="0 9 * * *")["id"]
    site.box.run("echo mia >/etc/cron.deny")
    try:
        refused = site.run(f"{site.bin}/hermes-oscron sync --scheduler crontab", check=False)
        assert refused.returncode == 1 and "not allowed" in refused.stderr
        assert (site.timers(), site.crontab()) == ({job_id}, THEIRS)
        assert site.api.get("/health")["scheduler"] == "systemd"
    finally:
        site.box.run("rm /etc/cron.deny")


def test_uninstalling_removes_only_the_lines_of_hermes_oscron(machine: Box) -> None:
    add_account(machine, "uwe")
    site = CrontabSite(machine, "uwe", free_port())
    for before in (THEIRS, b""):
        if before:
            site.install_crontab(before)
        site.install()
        job_id = site.create(schedule="0 9 * * *")["id"]
        site.create(schedule="0 9 * * *", enabled=False)
        assert site.armed(job_id)
        for status in (0, 1):  # the second time, nothing is installed
            assert site.run(f"{INSIDE}/install.sh --uninstall", check=False).returncode == status
            assert site.crontab() == before
            assert not site.run("ls -R .config .local | grep -i hermes", check=False).stdout
            assert not site.run("ls .hermes/cron/oscron | grep -e bin -e scheduler", check=False).stdout
        assert job_id in {job["id"] for job in site.stored_jobs()}
        site.run("crontab -r", check=False)
        assert not site.spool.exists()


class BareSite(CrontabSite):
    """An account that sees neither systemd nor the files `hidden`."""

    options = ""

    def __init__(self, box: Box, user: str, port: int, *hidden: str) -> None:
        super().__init__(box, user, port)
        self._hidden = hidden

    def run(self, command: str, check: bool = True) -> Any:
        hide = "".join(f"mount --bind /dev/null {path} && " for path in self._hidden)
        as_user = f"exec setpriv --reuid={self.user} --regid={self.user} --init-groups --reset-env sh -c "
        inside = f"mount -t tmpfs tmpfs /run/systemd && {hide}{as_user}{shlex.quote(f'cd; {command}')}"
        return self.box.run(f"unshare --mount sh -c {shlex.quote(inside)}", check=check)

    def serve(self) -> None:
        """Serve the API in the background."""
        self.run(f"setsid {self.bin}/hermes-oscron serve --port {self.port} >serve.log 2>&1 & echo $! >serve.pid")
        wait_for(lambda: self.run("grep Listening serve.log", check=False).stdout)

    def stop_server(self) -> None:
        self.run("kill $(cat serve.pid)")


def test_without_systemd_cron_fires(machine: Box) -> None:
    add_account(machine, "nils", linger=False)
    site = BareSite(machine, "nils", free_port())
    said = site.install()
    assert "Serve the API:" in said and "hermes-oscron serve" in said and "crontab -l" in said
    site.serve()
    try:
        assert site.api.get("/health")["scheduler"] == "crontab"
        schedule = site.soon()
        job_id = site.create("echo without systemd", schedule=schedule)["id"]
        assert site.armed(job_id) and "fired by cron" in site.doctor()[1]
        by_hand = site.create("echo by hand", schedule="0 9 * * *")["id"]
        assert site.api.run_to_end(by_hand)["last_status"] == "ok"
        sleep_until(schedule)
        wait_for(lambda: site.api.job(job_id)["state"] == "completed")
        assert "without systemd" in site.outputs(job_id)
        wait_for(lambda: not site.armed(job_id))
    finally:
        site.stop_server()
    site.run(f"{INSIDE}/install.sh --uninstall")
    assert site.crontab() == b"" and not site.run("ls -R .local | grep -i hermes", check=False).stdout


@pytest.mark.parametrize(("hidden", "cron_runs", "way_out"), [
    ([], False, "service cron start"),
    (["/usr/bin/crontab"], True, "apt install cron"),
    (["/usr/bin/crontab"], False, "apt install cron"),
], ids=["no daemon", "no crontab", "neither"])
def test_without_systemd_and_cron_the_error_names_what_is_missing(machine: Box, hidden: list[str], cron_runs: bool,
                                                                  way_out: str) -> None:
    """The installation worked before; now the machine has nothing that fires jobs."""
    machine.run("id ole || useradd --create-home ole", check=False)
    site = BareSite(machine, "ole", free_port())
    site.install()
    bare = BareSite(machine, "ole", site.port, *hidden)
    bare.api = site.api
    job_id = site.run(f"{site.bin}/hermes-oscron create '0 9 * * *' x").stdout.split()[1]
    stored, lines = site.stored_jobs(), site.crontab()
    bare.serve()
    if not cron_runs:
        machine.run("systemctl stop cron")
    try:
        assert bare.api.get("/api/crons") == {"jobs": [], "cron_unavailable": True}
        for verb, body in (("create", {"prompt": "x", "schedule": "0 9 * * *"}),
                           ("update", {"job_id": job_id, "schedule": "0 10 * * *"})):
            status, sentence = bare.api.refused(f"/api/crons/{verb}", body)
            assert status == 503 and way_out in sentence
        refused = bare.run(f"{bare.bin}/hermes-oscron create '0 9 * * *' x", check=False)
        assert refused.returncode == 1 and way_out in refused.stderr and "Traceback" not in refused.stderr
        status, said = bare.doctor()
        assert status == 2 and "WRONG: Nothing fires: " in said and way_out in said
        told = bare.run(f"{INSIDE}/install.sh", check=False)
        assert told.returncode == 1 and way_out in told.stderr and "not all jobs could be armed" in told.stderr
        assert (site.stored_jobs(), site.crontab()) == (stored, lines)
    finally:
        bare.stop_server()
        if not cron_runs:
            machine.run("systemctl start cron")
    site.oscron("sync")
    assert site.doctor()[0] < 2  # a warning, perhaps: without systemd the box is no container, and its clock counts
    site.run(f"{INSIDE}/install.sh --uninstall")
