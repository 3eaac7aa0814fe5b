"""Which scheduler should fire, and which one is active."""

from pathlib import Path

import pytest

from hermes_oscron.config import Config, ConfigError
from hermes_oscron.schedulers.active import active_scheduler, set_active_scheduler
from hermes_oscron.schedulers.crontab import daemon
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.protocol import SchedulerError
from hermes_oscron.schedulers.systemd.path_watch import NoWatcher, PathWatcher
from hermes_oscron.schedulers.systemd.systemctl import own_systemctl
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection, choose_scheduler
from hermes_oscron.service.sync import Reconciler


def kind(root: Path, configured: str = "auto", asked: str | None = None) -> str:
    return choose_scheduler(str(root), Config(scheduler=configured), active_scheduler(str(root)), asked).kind


def test_the_requested_or_configured_scheduler_is_chosen(root: Path) -> None:
    for each in ("systemd", "crontab", "foreground"):
        assert kind(root, configured=each) == kind(root, asked=each) == each
        assert kind(root, configured=each, asked="auto") == each


def test_a_request_for_another_scheduler_than_the_configured_one_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"oscron\.toml sets the scheduler to crontab; change it there"):
        kind(root, configured="crontab", asked="systemd")


def test_auto_is_systemd_if_it_runs_and_else_cron(root: Path) -> None:
    assert kind(root) == ("crontab" if own_systemctl().unreachable() else "systemd")


@pytest.mark.skipif(not daemon.has_crontab(), reason="auto drops cron only on a machine without it")
def test_auto_keeps_the_active_scheduler(root: Path) -> None:
    set_active_scheduler(str(root), "crontab")
    assert kind(root) == "crontab"


def test_auto_drops_a_scheduler_that_this_machine_does_not_have(root: Path) -> None:
    set_active_scheduler(str(root), "foreground")
    assert kind(root) != "foreground"
    foreground = Foreground(str(root))
    with foreground.firing(lambda now: {}):
        assert kind(root) == "foreground"


def test_the_first_command_that_arms_makes_its_scheduler_the_active_one(root: Path) -> None:
    assert active_scheduler(str(root)) is None
    JobService(Selection(str(root), Foreground(str(root)))).create({"prompt": "x", "schedule": "every 2h"})
    assert active_scheduler(str(root)) == "foreground"
    assert Selection.load(str(root), Config(), "crontab").active.kind == "foreground", "until a sync"


def test_jobs_are_not_moved_if_the_other_scheduler_cannot_fire(root: Path) -> None:
    set_active_scheduler(str(root), "crontab")
    with pytest.raises(SchedulerError, match="The jobs stay with crontab: No 'hermes-oscron serve"):
        Reconciler(Selection(str(root), Foreground(str(root)))).sync()
    assert active_scheduler(str(root)) == "crontab"


def test_a_sync_does_not_move_jobs_away_from_a_server_that_fires(root: Path) -> None:
    foreground = Foreground(str(root))
    set_active_scheduler(str(root), "foreground")
    with foreground.firing(lambda now: {}), pytest.raises(SchedulerError):
        Reconciler(Selection.load(str(root), Config(), "crontab")).sync()
    assert active_scheduler(str(root)) == "foreground"


def test_files_are_watched_by_systemd_unless_a_server_fires(root: Path) -> None:
    for each, expected in (("foreground", NoWatcher), ("crontab", PathWatcher), ("systemd", PathWatcher)):
        set_active_scheduler(str(root), each)
        assert isinstance(Selection.load(str(root), Config(), each).watcher, expected)
