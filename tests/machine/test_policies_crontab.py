"""The policies of jobs under the scheduler `crontab`."""

from collections.abc import Iterator

import pytest

from tests.machine.policies import Policies
from tests.machine.sites import CrontabSite


@pytest.fixture
def site(crontab_site: CrontabSite) -> Iterator[CrontabSite]:
    yield crontab_site
    crontab_site.clear()


class TestCrontab(Policies):
    """Each policy, where a real cron fires."""
