"""The look of the pages: accessible, in both themes, on every width, on paper, with little to load."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ..conftest import serving, write_jobs
from .conftest import Site, sample_site, screenshot
from .sample import record

PAGES = {"overview": "/", "3days": "/?hours=72", "week": "/?hours=168", "job": "/jobs/default/a8",
         "paused": "/jobs/default/a7", "new": "/jobs/new", "edit": "/jobs/default/a1/edit", "health": "/checks",
         "alerts": "/alerts", "audit": "/audit?run=1",
         "output": "/jobs/default/a1/outputs/2026-11-27_07-00-04.md", "missing": "/jobs/default/none"}
MAX_PAGE_BYTES, MAX_FILES_BYTES = 200_000, 60_000
MAX_FIRST_PAINT_MS = 3000
OVERLAPPING = """() => [".axis text:not(.change)", ".top nav a"].flatMap(selector => {
    const found = [...document.querySelectorAll(selector)].map(each => [each.getBoundingClientRect(), each.textContent])
        .filter(each => each[0].width).sort((a, b) => a[0].top - b[0].top || a[0].left - b[0].left)
    return found.flatMap((each, at) => at && (each[0].left < found[at - 1][0].right || each[0].top > found[0][0].bottom)
        ? [`${found[at - 1][1]} | ${each[1]}`] : [])
})"""
"""The labels of the timeline that overlap, and the pages that are on a further line."""
OUTPUT = """# Cron Job: Morning briefing

**Job ID:** a1
**Duration:** 95.0s
**Tokens:** 4,096 in / 1,024 out

## Prompt

Write the briefing.

## Response

# Good morning

It stays dry until **16:00**. Three things today:

1. the review at 10:00
2. lunch with `Ada`
3. [the report](https://example.org/report)

| train | leaves | late |
|---|---|---|
| RE 1 | 8:04 | no |
| S 7 | 8:11 | 4 min |
"""


@pytest.fixture(scope="module")
def pages(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with sample_site(chromium, tmp_path_factory.mktemp("look")) as site:
        folder = site.root / "cron" / "output" / "a1"
        folder.mkdir(parents=True)
        (folder / "2026-11-27_07-00-04.md").write_text(OUTPUT)
        yield site


@pytest.fixture
def look(pages: Site) -> Iterator[Site]:
    yield pages
    pages.close()


def violations(page: Page) -> list[str]:
    """Return what axe-core finds on `page`, best practices included."""
    found: Any = Axe().run(page).response
    return [f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for each in found["violations"] for node in each["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(look: Site, theme: str) -> None:
    page = look.page(theme=theme)
    found = {}
    for name, path in PAGES.items():
        page.goto(path)
        found[name] = violations(page)
    page.goto("/jobs/default/a1")
    for name in ("Pause", "Delete"):
        page.locator("summary", has_text=name).click()
    found["open"] = violations(page)
    page.goto("/jobs/new")
    for summary in page.locator("details.card summary").all():
        summary.click()
    page.fill("[name=schedule]", "0 0 13 * 5")
    expect(page.locator("#explained .problem.warn")).to_be_visible()
    found["explained"] = violations(page)
    other = look.page(theme=theme, log_in=False)
    other.goto("/login")
    found["login"] = violations(other)
    assert {name: each for name, each in found.items() if each} == {}


def test_the_overview_during_a_run(look: Site) -> None:
    """Its pictures are those of the README."""
    (look.root / "scripts" / "report.sh").write_text("sleep 60\n")
    look.api.start_run("a2")
    for theme in ("light", "dark"):
        page = look.page(theme=theme)
        expect(page.get_by_role("button", name="Stop Back up the photo library")).to_be_visible()
        expect(page.locator("#h-health ~ .well")).to_be_visible()
        page.goto("/")
        page.wait_for_timeout(200)
        screenshot(page, f"overview-{theme}", full_page=False)
    page.get_by_role("button", name="Stop Back up the photo library").click()
    expect(page.get_by_role("button", name="Stop Back up the photo library")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_no_page_is_wider_than_the_screen(look: Site, width: int, theme: str) -> None:
    page = look.page(width=width, theme=theme)
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_timeout(50)
        screenshot(page, f"{name}-{width}-{theme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(OVERLAPPING) == [], name


def test_outcomes_have_a_shape_and_not_only_a_colour(look: Site) -> None:
    page = look.page()
    shapes = page.locator(".legend use").evaluate_all("each => each.map(use => use.getAttribute('href'))")
    assert len(set(shapes)) == len(shapes) == 8
    drawn = set(page.locator(".track use").evaluate_all("each => each.map(use => use.getAttribute('href'))"))
    assert drawn <= set(shapes) and {"#m-ok", "#m-missed", "#m-error"} <= drawn
    assert page.locator(".track .coming circle").count() > 10


def test_the_keyboard_reaches_everything(look: Site) -> None:
    page = look.page()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.goto("/jobs/default/a1")
    page.locator("summary", has_text="Pause").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#reason")).to_be_hidden()
    expect(page.locator("summary", has_text="Pause")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The job is paused.")).to_be_visible()
    page.get_by_role("button", name="Resume").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The job is resumed.")).to_be_visible()


def test_a_lane_is_described_in_words(look: Site) -> None:
    label = look.page().get_by_role("img", name="Check certificates").get_attribute("aria-label")
    assert label and "missed" in label and "ok" in label and "next at" in label


def test_little_is_loaded(look: Site) -> None:
    page = look.page()
    page.reload()
    sizes = page.evaluate("""() => Object.fromEntries(performance.getEntriesByType("resource")
        .concat(performance.getEntriesByType("navigation")).map(each => [each.name, each.decodedBodySize]))""")
    document = sizes.pop(f"{look.url}/")
    files = sum(size for name, size in sizes.items() if "/assets/" in name)
    painted = page.evaluate("""() => new Promise(resolve => new PerformanceObserver(found => {
        for (const each of found.getEntriesByName("first-contentful-paint")) resolve(each.startTime);
    }).observe({type: "paint", buffered: true}))""")
    print(f"page {document} bytes, files {files} bytes, first paint {painted:.0f} ms")
    assert document < MAX_PAGE_BYTES and files < MAX_FILES_BYTES and painted < MAX_FIRST_PAINT_MS


def test_it_can_be_printed(look: Site) -> None:
    page = look.page(theme="dark")
    page.emulate_media(media="print")
    expect(page.locator(".top nav")).to_be_hidden()
    expect(page.locator(".lane").first).to_be_visible()
    expect(page.locator(".timeline-card")).to_have_css("background-color", "rgb(255, 255, 255)")
    assert len(page.pdf()) > 10_000


def test_filter_search_and_zoom(look: Site) -> None:
    page = look.page()
    names = page.locator(".lane a")
    expect(names).to_have_count(10)
    page.get_by_role("link", name="Paused").click()
    expect(names).to_have_text(["Invoice reminders"])
    page.get_by_role("link", name="All", exact=False).last.click()
    page.goto("/")
    page.get_by_label("Search jobs").press_sequentially("cal")
    expect(names).to_have_text(["Sync calendars"])
    expect(page.get_by_label("Search jobs")).to_be_focused()
    page.goto("/")
    before = page.locator(".lane .track").first.inner_html()
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    assert page.locator(".lane .track").first.inner_html() != before
    page.get_by_role("link", name="research").click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()


def test_times_are_those_of_the_reader(look: Site) -> None:
    page = look.page(timezone_id="Asia/Tokyo")
    expect(page.locator(".zones")).to_contain_text("Times are in Asia/Tokyo, your zone; the server's is UTC.")
    page.goto("/jobs/default/a1")
    first = page.locator("#h-times ~ ol li time").first
    expect(first).to_contain_text("16:00:00")
    expect(first.locator("small")).to_contain_text("07:00:00 UTC")


def test_a_clock_change_is_marked(chromium: Browser, root: Path, tmp_path: Path) -> None:
    write_jobs(root, record("a1", "one", "0 9 * * *"))
    write_zone(tmp_path / "zones" / "Test" / "Shifting", int(time.time()) + 6 * 3600)
    with serving("--scheduler", "foreground", log=tmp_path / "log", environment={
            "HERMES_TIMEZONE": "Test/Shifting", "PYTHONTZPATH": str(tmp_path / "zones")}) as url:
        site = Site(chromium, url, root)
        page = site.page()
        line = page.locator(".grid line.change")
        expect(line).to_have_count(1)
        assert float((line.get_attribute("x1") or "").rstrip("%")) == pytest.approx(62.5, abs=0.2)
        expect(page.locator(".legend li").last).to_have_text("clocks forward 60 min, Test/Shifting")
        expect(page.locator(".axis text.change")).to_contain_text("±h")
        screenshot(page, "clock-change")
        page.get_by_role("link", name="1 hour").click()
        expect(page.locator(".grid line.now")).to_have_count(1)
        expect(line).to_have_count(0)
        site.close()


def write_zone(path: Path, change_at: int) -> None:
    """Write a zone whose clocks go forward by an hour at that time (RFC 9636, version 1)."""
    path.parent.mkdir(parents=True)
    path.write_bytes(struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 1, 2, 8) + struct.pack(">lB", change_at, 1)
                     + struct.pack(">lBBlBB", 0, 0, 0, 3600, 1, 4) + b"AAA\0BBB\0")
