"""The page of alerts, with real receivers: one that accepts, one that is down, and one that refuses."""

import time
from pathlib import Path

from playwright.sync_api import expect

from hermes_oscron.notify import outbox

from ..conftest import write_script
from ..notify.receivers import free_port, monitoring, receiving
from .conftest import Site, screenshot
from .test_look import violations

PASSWORD = "correct-horse"


def configure(root: Path, text: str) -> None:
    (root / "oscron.toml").write_text(f"[notify]\n{text}\n")


def test_without_a_receiver_the_page_explains_how_to_set_one(site: Site) -> None:
    page = site.page()
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_role("heading", name="No alerts are set up")).to_be_visible()
    expect(page.get_by_label("Lines for oscron.toml")).to_contain_text("urls = [")
    expect(page.get_by_text(f"{site.root}/oscron.toml")).to_be_visible()
    configure(site.root, "on = []\ncommand = ['/bin/true']")
    page.reload()
    expect(page.get_by_text("No alerts in the last week")).to_be_visible()
    expect(page.get_by_text("Alerts are sent of: nothing.")).to_be_visible()


def test_what_was_sent_to_whom_and_what_could_not_be_delivered(site: Site) -> None:
    with receiving() as mailbox, monitoring() as monitor:
        monitor.status = 410
        down = free_port()
        configure(site.root, f'urls = ["{mailbox.url}", "json://me:{PASSWORD}@127.0.0.1:{down}/{PASSWORD}"]\n'
                             f'ping = "{monitor.url}/{PASSWORD}/{{job}}"')
        job = site.api.create(name="<b>Backup</b>", no_agent=True,
                              script=write_script(site.root, "b.sh", "echo 'no such host' >&2; exit 3\n"))
        page = site.page()
        page.get_by_role("link", name="Alerts").click()
        rows = page.locator("table.runs tbody tr")
        expect(rows).to_have_count(0)
        site.api.post("/api/crons/run", {"job_id": job["id"]})
        mail = rows.filter(has_text="mailto example.org (").filter(has_text="sent")
        expect(mail).to_contain_text("<b>Backup</b> failed")
        expect(mail).to_contain_text("exited with code 3: no such host")
        expect(mail.locator("time")).to_have_count(2)
        assert len(mailbox.mails) == 1
        waiting = rows.filter(has_text="json 127.0.0.1 (").filter(has_text="waiting")
        expect(waiting).to_contain_text("Not delivered: Apprise exited with code 1")
        expect(page.locator(".findings")).to_contain_text("has accepted no alert since")
        expect(page.locator(".findings")).to_contain_text("1 waits and is sent again")
        failed = rows.filter(has_text="signal fail").filter(has_text="failed")
        expect(failed).to_contain_text("answered with 404")
        expect(page.locator(".findings")).to_contain_text("2 could not be delivered in the last week")
        screenshot(page, "alerts")
        assert PASSWORD not in page.content() and str(down) not in page.content()
        assert violations(page) == []
        page.set_viewport_size({"width": 360, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".findings").get_by_role("link", name="mailto").click()
        expect(rows).to_have_count(1)
        page.get_by_role("link", name="All, newest first").click()
        expect(rows).to_have_count(4)
        rows.first.get_by_role("link").click()
        expect(page.get_by_role("heading", name="<b>Backup</b>")).to_be_visible()


def test_earlier_alerts_are_on_further_pages(site: Site) -> None:
    configure(site.root, 'command = ["/bin/true"]')
    with outbox.writing(str(site.root)) as box:
        for number in range(150):
            outbox.add(box, str(number), outbox.COMMAND, time.time(), {"title": f"alert {number}", "text": ""})
        outbox.give_up(box, outbox.waiting(box, outbox.COMMAND, 150), "It is down.", time.time())
    page = site.page()
    page.goto("/alerts")
    rows = page.locator("table.runs tbody tr")
    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text("alert 149")
    page.get_by_role("link", name="Earlier").click()
    expect(rows).to_have_count(50)
    expect(rows.last).to_contain_text("alert 0")
    page.get_by_role("link", name="All, newest first").click()
    expect(rows).to_have_count(100)


def test_an_outbox_that_cannot_be_read_is_reported(site: Site) -> None:
    page = site.page()
    (site.root / "cron" / "oscron" / "alerts.db").mkdir()
    configure(site.root, 'command = ["/bin/true"]')
    page.goto("/alerts")
    expect(page.get_by_role("alert")).to_contain_text("alerts.db")
