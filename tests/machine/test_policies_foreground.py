"""The policies of jobs under the scheduler `foreground`."""

from collections.abc import Iterator

import pytest

from tests.machine.policies import Policies
from tests.machine.sites import ForegroundSite


@pytest.fixture
def site(foreground_site: ForegroundSite) -> Iterator[ForegroundSite]:
    yield foreground_site
    foreground_site.clear()


class TestForeground(Policies):
    """Each policy, where a foreground `serve` fires."""
