"""The difference between the crontab and the plans."""

from pathlib import Path

import pytest

from hermes_oscron.schedulers.crontab.scheduler import Crontab
from hermes_oscron.schedulers.protocol import Changes
from tests.schedulers.plans import daily_plan

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


@pytest.mark.parametrize("variable", [b"CRON_TZ=Asia/Tokyo\n", b" RANDOM_DELAY = 30\n", b'"CRON_TZ" = "UTC"\n'])
def test_lines_below_a_variable_by_which_cronie_fires_them_at_other_times_are_moved_above_it(
        crontab: Crontab, lines: Path, variable: bytes) -> None:
    ours = lines.read_bytes()
    theirs = b"MAILTO=ops\n", variable + b"0 9 * * * true\n"
    lines.write_bytes(theirs[0] + theirs[1] + ours)
    assert crontab.drift({PLAN.instance: PLAN}, NOW).wrong == {
        PLAN.instance: "its crontab line differs from jobs.json."}
    other = daily_plan("default:b")
    crontab.apply(Changes({PLAN.instance: PLAN, "default:b": other}, [], []), NOW)
    above, below = lines.read_bytes().split(variable)
    assert above.startswith(theirs[0] + ours) and crontab.line(crontab.entry(other, NOW)) in above
    assert below == b"0 9 * * * true\n"
    assert not crontab.drift({PLAN.instance: PLAN, "default:b": other}, NOW).wrong
    crontab.remove_all()
    assert lines.read_bytes() == theirs[0] + theirs[1]
