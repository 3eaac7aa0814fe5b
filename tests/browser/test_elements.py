"""The elements of the overview and of a job's page, with the jobs and runs of a week."""

import datetime
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger, lock
from hermes_oscron.runs.ledger import End
from hermes_oscron.runs.model import Run
from hermes_oscron.schedulers.active import set_disarmed

from ..conftest import Api, release_script, wait_for, write_jobs, write_script, write_waiting_script
from .conftest import Site
from .sample import record


def width_of(bar: Locator) -> float:
    return float((bar.get_attribute("width") or "").removesuffix("%"))


def test_missed_runs_failures_and_the_next_runs_are_listed(sample: Site) -> None:
    page = sample.page()
    missed = page.locator("section", has=page.get_by_role("heading", name="Missed in the last 7 days"))
    expect(missed.get_by_role("link", name="Check certificates")).to_be_visible()
    expect(missed.locator("li").first).to_contain_text("The machine was off or asleep.")
    failed = page.locator("section", has=page.get_by_role("heading", name="Failed in the last 7 days"))
    expect(failed.locator("li").filter(has_text="Nightly integration tests")).to_contain_text("last")
    coming = page.locator("section", has=page.get_by_role("heading", name="Next", exact=True))
    expect(coming.locator("li")).to_have_count(8)
    times = coming.locator("time").evaluate_all("each => each.map(time => Number(time.dataset.t))")
    assert times == sorted(times) and times[0] > time.time() - 60
    coming.get_by_role("link").first.click()
    expect(page.locator("#h-times")).to_be_visible()


def test_a_bar_is_as_long_as_its_run_and_now_has_a_line(sample: Site) -> None:
    page = sample.page()
    expect(page.locator(".grid line.now")).to_have_attribute("x1", "50%")
    tests = page.locator(".lane", has_text="Nightly integration tests").locator(".bar").first
    backup = page.locator(".lane", has_text="Back up the photo library").locator(".bar").first
    assert width_of(tests) / 50 * 24 == pytest.approx(1.5, rel=0.55), "from 0.7 to 1.5 times 90 min"
    assert 0 < width_of(backup) < width_of(tests)
    page.goto("/?hours=168")
    assert page.locator(".lane", has_text="Check certificates").locator(".track use").count() > 20


def test_the_time_of_a_run_in_progress_counts_on(site: Site) -> None:
    job = site.api.create(name="waiting", script=write_waiting_script(site.root), no_agent=True)
    site.api.start_run(job["id"])
    page = site.page()
    elapsed = page.locator("#h-now ~ ul .elapsed")
    expect(elapsed).to_be_visible()
    before = elapsed.inner_text()
    expect(elapsed).not_to_have_text(before)
    release_script(site.root)
    expect(elapsed).to_have_count(0)


def test_many_jobs_are_on_several_pages_by_profile(site: Site) -> None:
    other = site.root / "profiles" / "research"
    (other / "cron").mkdir(parents=True)
    write_jobs(site.root, *(record(f"a{n}", f"job {n}", "0 9 * * *") for n in range(450)))
    write_jobs(other, *(record(f"b{n}", f"study {n}", "0 9 * * *") for n in range(50)))
    page = site.page()
    names = page.locator(".lane a")
    expect(names).to_have_count(100)
    expect(page.get_by_text("Page 1 of 5, 500 jobs")).to_be_visible()
    expect(names.nth(9)).to_have_text("job 9")
    page.get_by_role("link", name="Next", exact=True).click()
    expect(names.first).to_have_text("job 100")
    page.get_by_role("link", name="Previous").click()
    expect(names.first).to_have_text("job 0")
    page.goto("/?page=5")
    expect(page.locator(".group")).to_have_text(["default", "research"])
    page.get_by_label("Search jobs").press_sequentially("study 4")
    expect(names).to_have_count(11)
    page.get_by_role("link", name="default", exact=True).click()
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_the_page_of_a_job_has_its_line_its_plot_its_cost_and_its_pages_of_runs(sample: Site) -> None:
    page = sample.page()
    page.goto("/jobs/default/a4")
    facts = page.locator("#h-schedule ~ dl")
    expect(facts).to_contain_text("*/30 * * * *")
    expect(facts).to_contain_text("foreground")
    rows = page.locator("table.runs tbody tr")
    expect(rows).to_have_count(50)
    bars = page.locator(".plot a")
    expect(bars).to_have_count(50)
    outcomes = rows.locator(".outcome").all_inner_texts()
    drawn = page.locator(".plot g").evaluate_all("each => each.map(group => group.getAttribute('class'))")
    assert [each.strip() for each in outcomes] == drawn
    expect(bars.first.locator("title")).to_contain_text("took")
    late = page.locator(".plot .late")
    assert late.count() > 0
    ran = rows.filter(has_text="5,120").first
    expect(ran).to_contain_text("$0.0123")
    expect(ran.locator("[data-label=CPU], [data-label=Memory]")).to_have_count(2)
    expect(page.locator("#h-runs ~ p")).to_contain_text("tokens")
    newest = rows.first.get_attribute("id")
    page.get_by_role("link", name="Earlier").click()
    expect(rows).to_have_count(50)
    assert rows.first.get_attribute("id") != newest
    page.get_by_role("link", name="Newest").click()
    expect(rows.first).to_have_attribute("id", newest or "")
    address = bars.first.get_attribute("href")
    page.goto(f"/jobs/default/a4{address}")
    expect(page.locator("tr:target")).to_have_count(1)


def test_a_running_job_is_deleted_and_its_run_stopped(site: Site) -> None:
    job = site.api.create(name="waiting", script=write_waiting_script(site.root), no_agent=True)
    site.api.start_run(job["id"])
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}")
    page.locator("summary", has_text="Delete").click()
    page.get_by_label("Stop the run in progress").check()
    page.get_by_role("button", name="Delete the job").click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    wait_for(lambda: not site.api.running())


def test_outputs_are_listed_and_kept_apart(site: Site) -> None:
    job = site.api.create(name="x", script=write_script(site.root, "x.sh", "echo $$"), no_agent=True)
    for _ in range(2):
        site.api.run_to_end(job["id"])
        time.sleep(1.1)
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}")
    page.locator("#outputs summary").click()
    expect(page.locator("#outputs a")).to_have_count(len(site.api.outputs(job["id"])))
    page.locator("#outputs a").last.click()
    expect(page.locator("pre.whole")).to_be_visible()


def test_a_gap_in_the_ledger_is_shown_by_the_audit(site: Site) -> None:
    job = site.api.create(name="one")
    with ledger.writing(home_of(str(site.root), "default")) as books:
        row = ledger.begin_row(books, job["id"], "one", "schedule", time.time(), time.time())
        ledger.end_row(books, row, End(time.time(), "ok"))
    page = site.page()
    page.goto("/audit")
    page.get_by_role("button", name="Audit now").click()
    found = page.locator("table.runs tbody tr").filter(has_text=job["id"])
    expect(found).to_contain_text("is of a time at which the job was not due")
    found.get_by_role("link").click()
    expect(page.get_by_role("heading", name="one")).to_be_visible()


def test_a_link_of_open_logs_in_once(site: Site) -> None:
    printed = subprocess.run([sys.executable, "-m", "hermes_oscron.cli", "open"], check=True, capture_output=True,
                             text=True).stdout
    path = printed[printed.index("/login"):].strip()
    page = site.page(log_in=False)
    page.goto(path)
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    other = site.page(log_in=False)
    other.goto(path)
    expect(other.get_by_role("alert")).to_be_visible()
    expect(other.get_by_label("Token")).to_be_visible()


def test_disarmed_jobs_and_one_that_never_fires_are_reported(site: Site) -> None:
    write_jobs(site.root, record("a1", "well", "0 9 * * *"), record("a2", "odd", "61 9 * * *"))
    page = site.page()
    expect(page.locator(".lane.broken a")).to_have_text("odd")
    page.locator(".lane.broken a").click()
    expect(page.get_by_role("alert")).to_contain_text("It never fires:")
    set_disarmed(str(site.root), True)
    for path in ("/", "/jobs/default/a1"):
        page.goto(path)
        expect(page.get_by_role("alert").first).to_contain_text("The jobs are disarmed since")
    set_disarmed(str(site.root), False)
    page.goto("/")
    expect(page.get_by_text("The jobs are disarmed since")).to_have_count(0)


def test_a_job_is_created_in_another_profile(site: Site) -> None:
    research = site.root / "profiles" / "research"
    (research / "scripts").mkdir(parents=True)
    (research / "config.yaml").write_text("")
    (research / "scripts" / "study.sh").write_text("")
    (site.root / "oscron.toml").write_text(
        '[policy]\ntimeout = "2h"\nenvironment.LANG = "C"\n'
        '[profile.research.policy]\ntimeout = "30m"\noverlap = "queue"\nenvironment.A = "\\n"\n')
    page = site.page()
    page.goto("/jobs/new")
    assert page.locator("#l-profiles option").count() == 2 and page.locator("#l-targets option").count() > 0
    timeout = page.locator("[name='policy.timeout']")
    expect(timeout).to_have_attribute("placeholder", "Default: 2h")
    page.select_option("[name=profile_of_job]", "research")
    expect(timeout).to_have_attribute("placeholder", "Default: 30m")
    expect(page.locator("[name='policy.environment']")).to_have_attribute("placeholder", 'Default: LANG=C\nA="\\n"')
    expect(page.locator("[name='policy.overlap'] option").first).to_have_text("Default: queue")
    expect(page.locator("[name='policy.stop_timeout']")).to_have_attribute("placeholder", "")
    expect(page.locator("#l-scripts option")).to_have_attribute("value", "study.sh")
    page.fill("[name=schedule]", "daily at 9")
    page.fill("[name=prompt]", "hello")
    page.get_by_role("button", name="Create the job").click()
    expect(page.locator(".crumbs")).to_contain_text("research")
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#h-schedule")).to_be_visible()
    page.goto("/?profile=default")
    expect(page.locator(".lane")).to_have_count(0)
    page.get_by_role("link", name="All profiles").click()
    expect(page.locator(".lane")).to_have_count(1)


def test_how_a_job_is_armed_and_why_nothing_fires(chromium: Browser, idle_api: Api, root: Path) -> None:
    (root / "cron" / "oscron").mkdir(exist_ok=True)
    write_jobs(root, record("a1", "Report", "30 9 * * 1-5", repeat={"times": 9, "completed": 2}))
    site = Site(chromium, idle_api.url, root)
    page = site.page()
    expect(page.get_by_role("alert")).to_contain_text("Nothing fires:")
    expect(page.locator(".headline")).to_contain_text("Nothing runs by itself at the moment.")
    page.goto("/jobs/default/a1")
    facts = page.locator("#h-schedule ~ dl")
    armed = re.compile(r"^OnCalendar=Mon\.\.Fri \*-\*-\* 09:30:00( UTC)?$")
    expect(facts.locator("code.line")).to_have_text(armed)
    expect(facts).to_contain_text("systemd")
    expect(facts).to_contain_text("2 of 9")
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "weekdays at 9:30")
    expect(page.locator("#explained code.line")).to_have_text(armed)
    site.close()


def test_what_keeps_a_job_from_its_times_is_shown(site: Site) -> None:
    now, home = time.time(), home_of(str(site.root), "default")
    later = datetime.datetime.fromtimestamp(now // 1 + 7200, datetime.UTC).isoformat()
    write_jobs(site.root, record("a1", "held", "0 9 * * *", next_run_at=later, quota_hold_until=later),
               record("a2", "undelivered", "0 9 * * *", last_delivery_error="delivery failed: <b>no route</b>"))
    (site.root / "ESTOP").write_text('{"reason": "maintenance"}')
    waiting = lock.acquire(home, "a2")
    assert waiting
    waiting.write(Run("a2", now - 5, "schedule", queued=True, due=now - 5))
    with ledger.writing(home) as books:
        for number in range(2):
            row = ledger.begin_row(books, "a1", "held", "schedule", now - 600, now - 600 + number * 60)
            ledger.end_row(books, row, End(now - 590 + number * 60, "error", f"failure {number}", 1))
    page = site.page()
    expect(page.get_by_role("alert")).to_contain_text("default: Hermes is paused (maintenance)")
    expect(page.locator("#h-now ~ ul li")).to_contain_text("queued for")
    expect(page.locator(".lane.queued")).to_contain_text("undelivered")
    page.get_by_role("link", name="undelivered").first.click()
    expect(page.locator("#h-log")).to_contain_text("Queued for")
    expect(page.locator(".problem.warn").get_by_text("delivery failed: <b>no route</b>")).to_be_visible()
    waiting.release()
    page.goto("/jobs/default/a1")
    warnings = page.locator(".problem.warn")
    expect(warnings.get_by_text("The job will not run as it should. There is no script")).to_be_visible()
    expect(warnings.get_by_text("Held until")).to_be_visible()
    expect(page.locator("table.runs tbody tr").first).to_contain_text("attempt 2")


def test_long_lists_have_the_number_of_the_others(site: Site) -> None:
    now, home = time.time(), home_of(str(site.root), "default")
    write_jobs(site.root, *(record(f"a{n}", f"odd {n}", "61 9 * * *") for n in range(10)))
    with ledger.writing(home) as books:
        for n in range(11):  # the last one was deleted
            row = ledger.begin_row(books, f"a{n}", f"odd {n}", "schedule", now - 3600 + n, now - 3600 + n)
            ledger.end_row(books, row, End(now - 3500 + n, "error", "no route to host", 1))
            ledger.insert_not_run(books, f"a{n}", f"odd {n}", now - 7200 + n, "missed", "The machine was off.")
    page = site.page()
    failed = page.locator("section", has=page.get_by_role("heading", name="Failed in the last 7 days"))
    missed = page.locator("section", has=page.get_by_role("heading", name="Missed in the last 7 days"))
    for section in (failed, missed):
        expect(section.locator("li")).to_have_count(8)
        expect(section.locator("li").first).to_contain_text("odd 10 deleted")
        expect(section.locator(".more")).to_have_text("3 more")
    health = page.locator("section", has=page.get_by_role("heading", name="Health", exact=True))
    expect(health.locator(".findings li")).to_have_count(4)
    health.get_by_role("link", name=re.compile("[0-9]+ more")).click()
    expect(page.get_by_role("heading", name="Health", level=1)).to_be_visible()
    assert page.locator(".findings li").count() >= 10
    page.go_back()
    failed.get_by_role("link", name="3 more").click()
    expect(page.get_by_role("link", name="Failing")).to_have_attribute("aria-current", "true")
    expect(page.locator(".lane")).to_have_count(10)
