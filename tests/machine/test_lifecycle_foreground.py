"""The lifecycle of jobs that a foreground `hermes-oscron serve` fires, in place."""

from collections.abc import Iterator

import pytest

from tests.machine.lifecycle import Lifecycle
from tests.machine.sites import ForegroundSite


@pytest.fixture
def site(foreground_site: ForegroundSite) -> Iterator[ForegroundSite]:
    yield foreground_site
    foreground_site.clear()


class TestForeground(Lifecycle):
    """`serve --scheduler foreground`."""
