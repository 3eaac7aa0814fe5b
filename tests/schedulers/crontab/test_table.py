"""The parts of editing a crontab that need no cron."""

import pytest

from hermes_oscron.schedulers.crontab import table
from hermes_oscron.schedulers.protocol import SchedulerError


def test_edits_of_an_account_s_crontab_exclude_each_other_across_hermes_homes() -> None:
    told = r"^(/\S*) has been locked by another process .*'fuser \1' shows which"
    with table.account_lock(), pytest.raises(SchedulerError, match=told), table.account_lock(timeout_s=0.1):
        pass
    with table.account_lock(timeout_s=0.1):
        pass
