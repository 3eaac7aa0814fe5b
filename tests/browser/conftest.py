"""A real Chromium on the pages of a real server whose foreground scheduler fires real jobs.

After each test the browser must have asked no other server, and have logged no error.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from ..conftest import PATIENCE, Api, read_token, serving
from .sample import write_sample

CHROMIUM = shutil.which("chromium") or ""
EXPECTED = re.compile(r"Failed to load resource: .*(?:status of (?:4\d\d|503)|"
                      r"net::ERR_(?:CONNECTION_[A-Z]+|EMPTY_RESPONSE|CONTENT_LENGTH_MISMATCH))")
"""Chromium logs an answer that is an error, and a server that is away; tests provoke both."""
TIMEOUT_MS = 10_000 * PATIENCE
SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder in which the tests leave their screenshots."""

expect.set_options(timeout=TIMEOUT_MS)


class Site:
    """The pages of the server at `url`, seen by a browser that is logged in."""

    def __init__(self, browser: Browser, url: str, root: Path) -> None:
        self.url, self.root, self.api = url, root, Api(url, read_token(root))
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.said: list[str] = []
        self.elsewhere: list[str] = []

    def page(self, width: int = 1280, theme: str = "light", log_in: bool = True, **options: Any) -> Page:
        """Return a new page, in a browser of its own."""
        context = self._browser.new_context(**{
            "viewport": {"width": width, "height": 900}, "color_scheme": theme, "timezone_id": "UTC",
            "base_url": self.url, **options})
        context.set_default_timeout(TIMEOUT_MS)
        self._contexts.append(context)
        page = self.watched(context.new_page())
        if log_in:
            page.goto("/login")
            page.fill("#password", self.api.token or "")
            page.get_by_role("button", name="Log in").click()
            expect(page).to_have_url(f"{self.url}/")
        return page

    def watched(self, page: Page) -> Page:
        """Record the errors of `page` and its requests to other servers."""
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", self._see)
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not EXPECTED.search(text):
            self.said.append(text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.elsewhere.append(request.url)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        said, elsewhere = self.said[:], self.elsewhere[:]
        self.said.clear()
        self.elsewhere.clear()
        assert (said, elsewhere) == ([], [])


def screenshot(page: Page, name: str, full_page: bool = True) -> None:
    """Leave a picture of `page` in the folder of $SCREENSHOTS, if that is set."""
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png", full_page=full_page)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("there is no chromium; tests/run installs it on Debian")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def site(chromium: Browser, server: str, root: Path) -> Iterator[Site]:
    """A server without jobs."""
    found = Site(chromium, server, root)
    yield found
    found.close()


@contextlib.contextmanager
def sample_site(chromium: Browser, folder: Path) -> Iterator[Site]:
    root = folder / "hermes"
    (root / "scripts").mkdir(parents=True)
    (root / "profiles" / "research" / "scripts").mkdir(parents=True)
    write_sample(root)
    with serving("--scheduler", "foreground", log=folder / "serve.log",
                 environment={"HERMES_HOME": str(root), "HERMES_TIMEZONE": "UTC"}) as url:
        yield Site(chromium, url, root)


@pytest.fixture(scope="module")
def _sample(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sample_site(chromium, tmp_path_factory.mktemp("sample")) as found:
        yield found


@pytest.fixture
def sample(_sample: Site) -> Iterator[Site]:
    """A server after a week of use, which the tests of a module share."""
    yield _sample
    _sample.close()
