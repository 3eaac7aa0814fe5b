"""The first hour of a new user: an empty page, a job that fails, its alert, its log, the fix, and the next success."""

from playwright.sync_api import expect

from ..conftest import wait_for, write_script
from ..notify.receivers import Mailbox, receiving
from .conftest import Site, screenshot

BROKEN = """echo "Copying 3 folders to /mnt/backup"
sleep 4
echo "photos: 1,204 files"
sleep 1
echo "mail: cannot stat '/mnt/backup/mail': No such file or directory" >&2
exit 2
"""


def test_from_an_empty_page_to_a_failure_and_the_next_success(site: Site) -> None:
    with receiving() as mailbox:
        walk(site, mailbox)


def walk(site: Site, mailbox: Mailbox) -> None:
    page = site.page()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    screenshot(page, "story-1-empty")
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_text("No alerts are set up")).to_be_visible()
    screenshot(page, "story-1-no-alerts")
    (site.root / "oscron.toml").write_text(f'[notify]\nurls = ["{mailbox.url}"]\n')
    page.reload()
    expect(page.get_by_text("No alerts in the last week")).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="Create the first one").click()
    write_script(site.root, "backup.sh", BROKEN)
    page.fill("[name=name]", "Nightly backup")
    page.get_by_label("Schedule").press_sequentially("evry night at 2:30", delay=20)
    expect(page.locator("#explained .problem")).to_be_visible()
    screenshot(page, "story-2-misspelt")
    page.fill("[name=schedule]", "every day at 2:30")
    expect(page.locator("#explained .words")).to_have_text("Every day at 02:30")
    page.fill("[name=script]", "backup.sh")
    page.get_by_label("Without an agent").check()
    screenshot(page, "story-3-explained")
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("The job is created.")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("[data-log]")).to_contain_text("photos: 1,204 files")
    screenshot(page, "story-4-running")
    expect(page.get_by_role("alert")).to_contain_text("exited with code 2: mail: cannot stat")
    expect(page.locator("table.runs .outcome").get_by_text("error")).to_be_visible()
    screenshot(page, "story-5-failed")
    [mail] = wait_for(lambda: mailbox.mails)
    assert mail["Subject"].startswith("Nightly backup failed")
    page.get_by_role("link", name="Alerts").click()
    alerts = page.locator("table.runs tbody tr")
    expect(alerts).to_have_count(1)
    expect(alerts).to_contain_text("sent")
    expect(alerts).to_contain_text("cannot stat '/mnt/backup/mail'")
    screenshot(page, "story-5-alert")
    alerts.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Nightly backup")).to_be_visible()
    page.get_by_role("link", name="Overview").first.click()
    expect(page.get_by_text("The job fails.")).to_be_visible()
    expect(page.locator(".troubles .reason")).to_contain_text("cannot stat")
    screenshot(page, "story-6-overview")
    page.locator(".troubles .what").click()
    page.get_by_role("link", name="Output of").click()
    expect(page.locator("pre.whole")).to_contain_text("No such file or directory")
    page.go_back()
    write_script(site.root, "backup.sh", "echo done\n")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("table.runs .outcome").get_by_text("ok")).to_be_visible()
    expect(page.locator(".badge")).to_contain_text("scheduled")
    page.get_by_role("link", name="Overview").first.click()
    expect(page.get_by_text("The job is well.")).to_be_visible()
    expect(page.locator(".troubles .over")).to_have_count(1)
    screenshot(page, "story-7-well")
    wait_for(lambda: len(mailbox.mails) == 2)
    page.get_by_role("link", name="Alerts").click()
    expect(alerts).to_have_count(2)
    expect(alerts.first).to_contain_text("Nightly backup succeeded again")
