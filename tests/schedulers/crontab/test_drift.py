"""The difference between the crontab and the plans."""

from pathlib import Path

import pytest

from hermes_oscron.schedulers.crontab.scheduler import Crontab

from .conftest import NOW, PLAN


@pytest.fixture
def doubled(crontab: Crontab, lines: Path) -> Crontab:
    """Return the scheduler of a crontab that has two lines for `PLAN`."""
    line = lines.read_bytes()
    lines.write_bytes(line + line.replace(b"0 9 ", b"0 10 "))
    return crontab


def test_a_second_line_of_a_job_is_drift(doubled: Crontab) -> None:
    assert doubled.drift({PLAN.instance: PLAN}, NOW).wrong == {
        PLAN.instance: "its crontab line differs from jobs.json."}


def test_two_lines_without_a_job_are_not_harmless(doubled: Crontab) -> None:
    """cron fires both: doctor must report them."""
    assert doubled.drift({}, NOW).wrong == {
        PLAN.instance: "it has a crontab line, but no scheduled job in jobs.json."}
