"""The lifecycle of jobs that a real cron fires. Most of it waits for the next minute."""

from collections.abc import Iterator

import pytest

from tests.machine.lifecycle import Lifecycle
from tests.machine.sites import CrontabSite


@pytest.fixture
def site(crontab_site: CrontabSite) -> Iterator[CrontabSite]:
    yield crontab_site
    crontab_site.clear()


class TestCrontab(Lifecycle):
    """`install.sh --scheduler crontab`, for an ordinary account."""
