"""Which scheduler should fire, and which does."""

from pathlib import Path

import pytest

from hermes_oscron.bridge import Bridge
from hermes_oscron.hermes.config import Config, ConfigError
from hermes_oscron.schedulers.charge import in_charge, put_in_charge
from hermes_oscron.schedulers.choose import choose, manager
from hermes_oscron.schedulers.crontab import daemon
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.schedulers.plan import SchedulerError


def kind(root: Path, configured: str = "auto", asked: str | None = None) -> str:
    return choose(str(root), Config(scheduler=configured), in_charge(str(root)), asked).kind


def test_what_is_asked_for_or_configured_is_chosen(root: Path) -> None:
    for each in ("systemd", "crontab", "foreground"):
        assert kind(root, configured=each) == kind(root, asked=each) == each
        assert kind(root, configured=each, asked="auto") == each


def test_one_cannot_ask_for_another_than_is_configured(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"oscron\.toml says that crontab fires"):
        kind(root, configured="crontab", asked="systemd")


def test_auto_is_systemd_where_it_runs_and_else_cron(root: Path) -> None:
    assert kind(root) == ("crontab" if manager().unreachable() else "systemd")


@pytest.mark.skipif(not daemon.has_crontab(), reason="auto leaves a crontab only where there can be none")
def test_auto_stays_with_what_fires(root: Path) -> None:
    put_in_charge(str(root), "crontab")
    assert kind(root) == "crontab"


def test_auto_leaves_what_this_machine_cannot_have(root: Path) -> None:
    put_in_charge(str(root), "foreground")
    assert kind(root) != "foreground"
    foreground = Foreground(str(root))
    with foreground.firing(lambda now: {}):
        assert kind(root) == "foreground"


def test_the_first_verb_that_arms_puts_its_scheduler_in_charge(root: Path) -> None:
    assert in_charge(str(root)) is None
    Bridge(str(root), Foreground(str(root))).create({"prompt": "x", "schedule": "every 2h"})
    assert in_charge(str(root)) == "foreground"
    assert Bridge.configured(str(root), Config(), "crontab").scheduler.kind == "foreground", "until a sync"


def test_jobs_stay_where_they_are_when_the_other_cannot_fire(root: Path) -> None:
    put_in_charge(str(root), "crontab")
    with pytest.raises(SchedulerError, match="The jobs stay with crontab: No 'hermes-oscron serve"):
        Bridge(str(root), Foreground(str(root))).sync()
    assert in_charge(str(root)) == "crontab"


def test_a_server_that_fires_is_not_left_by_a_sync(root: Path) -> None:
    foreground = Foreground(str(root))
    put_in_charge(str(root), "foreground")
    with foreground.firing(lambda now: {}), pytest.raises(SchedulerError):
        Bridge.configured(str(root), Config(), "crontab").sync()
    assert in_charge(str(root)) == "foreground"
