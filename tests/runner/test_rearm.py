"""What a run asks of what fires its job."""

from pathlib import Path

import pytest

from hermes_oscron.hermes import store
from hermes_oscron.hermes.homes import Home
from hermes_oscron.runner.rearm import rearm
from hermes_oscron.schedulers.charge import put_in_charge
from tests.runner.fires import make_script


@pytest.mark.parametrize(("fires", "asked"), [("systemd", True), ("foreground", False)])
def test_a_sync_is_asked_for_by_a_file_where_systemd_fires_and_nowhere_else(
        root: Path, home: Home, fires: str, asked: bool) -> None:
    record = store.find(home, make_script(root, "true\n"))
    put_in_charge(str(root), fires)
    for _ in range(2):
        rearm(home, record)
        assert (root / "cron" / "oscron" / "sync-wanted").exists() == asked


def test_a_sync_that_cannot_be_asked_for_is_told(root: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    put_in_charge(str(root), "systemd")
    (root / "cron" / "oscron" / "sync-wanted").mkdir()
    rearm(home, None)
    assert "'hermes-oscron sync' will put it right" in capsys.readouterr().err
