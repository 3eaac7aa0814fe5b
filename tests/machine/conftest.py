"""One booted machine, and hermes-oscron on it: the system's for `hermes`, `ada`'s own, and `cora`'s with cron."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.machine.box import Box
from tests.machine.sites import CrontabSite, ForegroundSite, Site, SystemSite, add_account, free_port


@pytest.fixture(scope="session")
def machine() -> Iterator[Box]:
    with contextlib.closing(Box()) as box:
        box.boot()
        yield box


@pytest.fixture(scope="session")
def sites(machine: Box) -> dict[str, Site]:
    """Return the installations by account."""
    add_account(machine, "ada")
    both = {"hermes": SystemSite(machine, "hermes", free_port()), "ada": Site(machine, "ada", free_port())}
    for site in both.values():
        site.install()
    return both


@pytest.fixture(params=["hermes", "ada"])
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Iterator[Site]:
    """Each installation in turn. Its jobs are deleted after the test."""
    chosen = sites[request.param]
    yield chosen
    chosen.clear()


@pytest.fixture
def unwatched(site: Site) -> Iterator[None]:
    """Only the test requests syncs of `site`."""
    with site.unwatched():
        yield


@pytest.fixture(scope="session")
def crontab_site(machine: Box) -> CrontabSite:
    """Return an installation of the account `cora`, whose jobs cron fires."""
    add_account(machine, "cora")
    site = CrontabSite(machine, "cora", free_port())
    site.install()
    return site


@pytest.fixture(scope="module")
def foreground_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForegroundSite]:
    """Return a home in place whose jobs a foreground server fires."""
    site = ForegroundSite(tmp_path_factory.mktemp("foreground"))
    site.start_server()
    yield site
    site.stop_server()


@pytest.fixture(params=["hermes", "ada", "cora"])
def any_site(request: pytest.FixtureRequest, sites: dict[str, Site], crontab_site: CrontabSite) -> Iterator[Site]:
    """The system's installation, an account's own, and one with cron. Its jobs are deleted after the test."""
    chosen = {**sites, "cora": crontab_site}[request.param]
    yield chosen
    chosen.clear()


@pytest.fixture(scope="module")
def bob(box: Box) -> SystemSite:
    """Return an installation by root for the account `bob`, on the `box` of the module."""
    site = SystemSite(box, "bob", free_port())
    site.options = "--account bob"
    site.install()
    return site
