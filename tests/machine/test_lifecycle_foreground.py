"""The lifecycle of jobs that a foreground `hermes-oscron serve` fires, in place."""

from collections.abc import Iterator

import pytest

from tests.machine.lifecycle import Lifecycle
from tests.machine.sites import ForegroundSite


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForegroundSite]:
    site = ForegroundSite(tmp_path_factory.mktemp("foreground"))
    site.start_server()
    yield site
    site.stop_server()


@pytest.fixture
def site(server: ForegroundSite) -> Iterator[ForegroundSite]:
    yield server
    server.clear()


class TestForeground(Lifecycle):
    """`serve --scheduler foreground`."""
