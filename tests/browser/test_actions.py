"""Everything that a person does with jobs on the pages, with real jobs."""

import re
import time

from playwright.sync_api import Page, expect

from hermes_oscron.hermes.home import home_of
from hermes_oscron.runs import ledger, lock
from hermes_oscron.runs.ledger import End
from hermes_oscron.runs.model import Run

from ..conftest import release_script, wait_for, write_script, write_waiting_script
from .conftest import Site


def create(page: Page, **fields: str) -> str:
    """Create a job by the form; return the path of its page."""
    page.goto("/jobs/new")
    for name, value in fields.items():
        if value == "yes":
            page.check(f"[name={name}]")
        else:
            page.fill(f"[name={name}]", value)
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("The job is created.")).to_be_visible()
    return page.url.partition("?")[0]


def create_waiting(site: Site, page: Page) -> str:
    """Create a job that runs until `release_script`; return the path of its page."""
    return create(page, name="waiting", schedule="daily at 9:00", script=write_waiting_script(site.root),
                  no_agent="yes")


def test_a_job_from_its_creation_to_its_end(site: Site) -> None:
    page = site.page()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    create(page, name="Report", schedule="weekdays at 9:30", script=write_script(site.root, "r.sh", "echo done\n"),
           no_agent="yes")
    expect(page.get_by_text("At 09:30, Monday to Friday")).to_be_visible()
    expect(page.locator("#h-times ~ ol li")).to_have_count(10)
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("table.runs .outcome").get_by_text("ok")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Output of")).click()
    expect(page.locator("pre.whole")).to_have_text("done")
    page.get_by_role("link", name="Rendered").click()
    expect(page.locator(".markdown")).to_have_text("done")
    page.get_by_role("link", name="Raw file").click()
    assert page.locator("body").inner_text().startswith("# Cron Job: Report")


def test_a_run_is_followed_and_stopped(site: Site) -> None:
    page = site.page()
    script = write_script(site.root, "slow.sh", "for i in $(seq 600); do echo step $i; sleep 0.3; done\n")
    create(page, name="slow", schedule="daily at 9:00", script=script, no_agent="yes")
    page.get_by_role("button", name="Run now").click()
    log = page.locator("[data-log]")
    expect(log).to_contain_text("step 1\n")
    expect(log).to_contain_text("step 8\n")
    assert len(re.findall("step 1\n", log.text_content() or "")) == 1, "each part is shown once"
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The run is stopped.")).to_be_visible()
    expect(page.locator("table.runs .outcome").get_by_text("stopped")).to_be_visible()
    expect(page.locator(".badge")).to_contain_text("stopped")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(log).to_have_count(0)


def test_the_end_of_a_run_is_shown_without_a_reload(site: Site) -> None:
    page = site.page()
    create_waiting(site, page)
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".badge")).to_contain_text("running")
    release_script(site.root)
    expect(page.locator("table.runs .outcome").get_by_text("ok")).to_be_visible()
    expect(page.get_by_role("button", name="Run now")).to_be_visible()


def test_the_overview_shows_a_run_of_another_client_and_stops_it(site: Site) -> None:
    job = site.api.create(name="waiting", script=write_waiting_script(site.root), no_agent=True)
    page = site.page()
    expect(page.locator(".lane a")).to_have_text("waiting")
    site.api.start_run(job["id"])
    stop = page.get_by_role("button", name="Stop waiting")
    expect(stop).to_be_visible()
    expect(page.locator(".lane.running .track g.running")).to_have_count(1)
    stop.click()
    expect(stop).to_have_count(0)
    wait_for(lambda: not site.api.running())


def test_a_job_of_another_client_appears(site: Site) -> None:
    page = site.page()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    site.api.create(name="from Hermes")
    expect(page.locator(".lane a")).to_have_text("from Hermes")


def test_pause_with_a_reason_and_resume(site: Site) -> None:
    page = site.page()
    create(page, name="one", schedule="every 2h", prompt="hello")
    page.locator("summary", has_text="Pause").click()
    page.fill("#reason", "until <b>Monday</b>")
    page.locator("#pause button").click()
    expect(page.get_by_text("The job is paused.")).to_be_visible()
    expect(page.get_by_text("until <b>Monday</b>")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The job is resumed.")).to_be_visible()
    expect(page.locator(".badge")).to_contain_text("scheduled")


def test_edit_copy_and_delete(site: Site) -> None:
    page = site.page()
    path = create(page, name="one", schedule="every 2h", prompt="line one\nline two")
    page.get_by_role("link", name="Edit", exact=True).click()
    expect(page.locator("[name=prompt]")).to_have_value("line one\nline two")
    page.fill("[name=schedule]", "daily at 7:15")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Every day at 07:15")).to_be_visible()
    page.get_by_role("link", name="Copy").click()
    expect(page.locator("[name=name]")).to_have_value("one (copy)")
    page.get_by_role("button", name="Create the job").click()
    expect(page.locator(".badge")).to_contain_text("paused")
    copies = site.api.get("/api/crons")["jobs"]
    assert [job["prompt"] for job in copies] == ["line one\nline two"] * 2
    page.goto(path)
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete the job").click()
    expect(page).to_have_url(f"{site.url}/")
    assert [job["name"] for job in site.api.get("/api/crons")["jobs"]] == ["one (copy)"]


def test_a_deleted_job_keeps_its_outputs_if_asked(site: Site) -> None:
    page = site.page()
    job = site.api.create(name="x", script=write_script(site.root, "x.sh", "echo x"), no_agent=True)
    site.api.run_to_end(job["id"])
    page.goto(f"/jobs/default/{job['id']}")
    page.locator("summary", has_text="Delete").click()
    page.get_by_label("Keep its outputs").check()
    page.get_by_role("button", name="Delete the job").click()
    expect(page).to_have_url(f"{site.url}/")
    assert site.api.outputs(job["id"])


def test_two_tabs(site: Site) -> None:
    page = site.page()
    path = create(page, name="one", schedule="every 2h", prompt="hello")
    other = site.watched(page.context.new_page())
    other.goto(path)
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete the job").click()
    expect(page).to_have_url(f"{site.url}/")
    other.get_by_role("button", name="Run now").click()
    expect(other.get_by_role("heading", name="Not found")).to_be_visible()
    other.get_by_role("link", name="Back").click()
    expect(other.get_by_text("No jobs yet")).to_be_visible()


def test_a_schedule_is_explained_while_it_is_typed(site: Site) -> None:
    page = site.page()
    page.goto("/jobs/new")
    explained = page.locator("#explained")
    page.fill("[name=schedule]", "every monday and friday at 9")
    expect(explained.locator(".words")).to_have_text("At 09:00, on Monday and Friday")
    expect(explained.locator("li")).to_have_count(5)
    page.fill("[name=schedule]", "evry day at 9")
    expect(explained.locator(".problem")).to_contain_text("is not a schedule")
    explained.get_by_role("button", name="every day at 9").click()
    expect(page.locator("[name=schedule]")).to_have_value("every day at 9")
    expect(explained.locator(".words")).to_have_text("Every day at 09:00")
    page.fill("[name=schedule]", "0 0 13 * 5")
    expect(explained.locator(".problem.warn")).to_contain_text("not only where both hold")


def test_an_error_opens_the_form_again_as_it_was(site: Site) -> None:
    page = site.page()
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "daily")
    page.fill("[name=prompt]", "kept")
    page.locator("summary", has_text="Context").click()
    page.fill("[name=workdir]", "no/absolute/path")
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_role("alert")).to_contain_text("'workdir' must be the absolute path")
    expect(page.locator("[name=prompt]")).to_have_value("kept")
    expect(page.locator("[name=workdir]")).to_have_value("no/absolute/path")


def test_every_action_works_without_javascript(site: Site) -> None:
    page = site.page(java_script_enabled=False)
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "daily at 9")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("#explained .words")).to_have_text("Every day at 09:00")
    page.fill("[name=name]", "plain")
    page.fill("[name=script]", write_waiting_script(site.root))
    page.check("[name=no_agent]")
    page.get_by_role("button", name="Create the job").click()
    path = page.url.partition("?")[0]
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The run is stopped.")).to_be_visible()
    page.locator("summary", has_text="Pause").click()
    page.locator("#pause button").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.fill("[name=name]", "plainer")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="plainer")).to_be_visible()
    page.goto("/?hours=1&text=plain")
    expect(page.locator(".lane a")).to_have_text("plainer")
    page.goto(path)
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete the job").click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()


def test_a_script_is_offered(site: Site) -> None:
    write_script(site.root, "offered.sh", "")
    page = site.page()
    page.goto("/jobs/new")
    assert page.locator("#l-scripts option").evaluate_all("each => each.map(option => option.value)") == ["offered.sh"]


def test_the_audit_and_the_checks(site: Site) -> None:
    site.api.create(name="one")
    page = site.page()
    page.get_by_role("link", name="Audit").click()
    page.get_by_role("button", name="Audit now").click()
    expect(page.get_by_text("each occurrence has one row")).to_be_visible()
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("Scheduler", exact=True)).to_be_visible()
    page.get_by_role("button", name="Check again").click()
    expect(page.locator("#live .well, #live .findings")).to_be_visible()


def test_a_run_on_a_cluster_has_its_node_and_its_job(site: Site) -> None:
    job = site.api.create(name="remote")
    page = site.page()
    path = f"/jobs/default/{job['id']}"
    home, now = home_of(str(site.root), "default"), time.time()
    with ledger.writing(home) as books:
        here = ledger.begin_row(books, job["id"], "remote", "manual", now - 90, now - 90)
        ledger.end_row(books, here, End(now - 89, "ok"))
    page.goto(path)
    expect(page.locator("table.runs th").get_by_text("Node")).to_have_count(0)
    with ledger.writing(home) as books:
        row = ledger.begin_row(books, job["id"], "remote", "manual", now - 60, now - 60)
        ledger.place_row(books, row, "n2", "4711")
        ledger.end_row(books, row, End(now - 50, "ok"))
    held = lock.acquire(home, job["id"])
    assert held
    held.write(Run(job["id"], now - 5, "manual", node="n1", slurm_job="4712"))
    page.goto(path)
    expect(page.locator(f"#run-{row} td[data-label=Node]")).to_have_text("n2 (job 4711 of Slurm)")
    expect(page.locator(f"#run-{here} td[data-label=Node]")).to_have_text("")
    expect(page.locator("#h-log")).to_contain_text("on n1 (job 4712 of Slurm)")
    held.release()
