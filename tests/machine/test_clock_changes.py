"""A real cron daemon at clock changes: libfaketime moves cron, its jobs and our runner to that night."""

import contextlib
import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.machine.box import INSIDE, Box
from tests.machine.sites import free_port

FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "faketime is not installed")
SPRING = datetime.datetime(2027, 3, 28, 1, tzinfo=datetime.UTC)
AUTUMN = datetime.datetime(2027, 10, 31, 1, tzinfo=datetime.UTC)
"""When the clocks of Europe/Berlin go from 02:00 to 03:00, and from 03:00 back to 02:00."""


class Night:
    """The account `eve` of a machine in Berlin, whose jobs cron fires, at another time than now."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._ahead = 0

    def begin(self, moment: datetime.datetime) -> None:
        """Set the time of cron, and of all that eve does, to `moment`."""
        self._box.run("systemctl stop cron; pkill -x cron; sleep 0.5", check=False)
        self._ahead = int(moment.timestamp() - time.time())
        variables = self._clock.replace(" ", "\\n")
        self._box.run(f"printf '{variables}\\n' | crontab -", user="eve")
        self._box.run(f"env {self._clock} setsid cron -f </dev/null >/dev/null 2>&1 &")
        wait_for(lambda: self._box.run("pgrep -x cron", check=False).stdout)
        time.sleep(1.1)  # cron sees no change within the second in which it has read the crontabs
        self.oscron("sync")

    @property
    def _clock(self) -> str:
        return f"LD_PRELOAD={FAKETIME} FAKETIME=+{self._ahead} NO_FAKE_STAT=1"

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self._ahead)

    def wait_until(self, moment: datetime.datetime) -> None:
        time.sleep(max(0.0, (moment - self.now()).total_seconds()))

    def oscron(self, arguments: str) -> str:
        return self._box.run(f"env {self._clock} .local/bin/hermes-oscron {arguments}", user="eve").stdout

    def create(self, schedule: str) -> Any:
        return json.loads(self.oscron(f"create '{schedule}' --no-agent --script stamp.sh --json"))

    def runs(self, job: Any) -> list[str]:
        """Return the minutes, in UTC, in which `job` has run."""
        said = self._box.run(f"cat .hermes/stamps/{job['id']}", user="eve", check=False).stdout
        return sorted(line for line in said.split() if line)


@pytest.fixture(scope="module")
def night() -> Iterator[Night]:
    with contextlib.closing(Box()) as box:
        box.boot()
        box.run("ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime; echo Europe/Berlin >/etc/timezone; "
                "useradd --create-home eve && loginctl enable-linger eve && systemctl restart cron && sleep 1")
        box.run(f"PORT={free_port()} {INSIDE}/install.sh --scheduler crontab", user="eve")
        # Syncs that systemd would start are of another time than that night.
        box.run("systemctl --user stop hermes-oscron-changed.path hermes-oscron-sync.timer hermes-oscron-sync.socket",
                user="eve")
        box.put("/home/eve/.hermes/scripts/stamp.sh",
                'mkdir -p ~/.hermes/stamps; date --utc +%H:%M >>~/.hermes/stamps/$HERMES_JOB_ID\n', "eve")
        yield Night(box)


def test_a_skipped_time_is_caught_up_once_right_after_the_gap(night: Night) -> None:
    night.begin(SPRING - datetime.timedelta(seconds=20))
    skipped, twice_skipped, after, starred, before = (night.create(schedule) for schedule in (
        "30 2 * * *", "15,45 2 * * *", "0 3 * * *", "*/30 * * * *", "59 1 * * *"))
    assert skipped["next_run_at"] == "2027-03-28T03:00:00+02:00"
    night.wait_until(SPRING + datetime.timedelta(seconds=66))
    assert [night.runs(job) for job in (skipped, twice_skipped, after, starred)] == [["01:00"]] * 4
    assert night.runs(before) == []
    assert json.loads(night.oscron(f"show {skipped['id']} --json"))["next_run_at"] == "2027-03-29T02:30:00+02:00"


def test_a_starred_expression_fires_by_elapsed_time_in_a_repeated_hour(night: Night) -> None:
    night.begin(AUTUMN - datetime.timedelta(seconds=20))
    fixed, starred, interval, once = (
        night.create(schedule) for schedule in ("0,1 2 * * *", "*/30 * * * *", "every 1m", "2027-10-31T01:01:00Z"))
    night.wait_until(AUTUMN + datetime.timedelta(seconds=66))
    assert night.runs(fixed) == [], "its times were an hour ago"
    assert night.runs(starred) == ["01:00"] and night.runs(once) == ["01:01"]
    assert night.runs(interval) == ["01:00", "01:01"]
    assert "1 */24,2 31 10 *" not in night.oscron("list")
