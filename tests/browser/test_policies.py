"""The policies in the forms: each key has a field, what is not changed stays, and an error is shown at its field."""

import pytest
from playwright.sync_api import Page, expect

from hermes_oscron.jobs.policy import KEYS

from ..conftest import write_jobs
from .conftest import Site
from .sample import record
from .test_look import violations

GIVEN = {"timeout": "15m", "retries": 2, "retry_backoff": 1.5, "retry_on": ["timeout", 75], "overlap": "queue",
         "timezone": "Europe/Berlin", "exclude": ["2026-12-24..2027-01-01", "/etc/holidays"], "group": "backups",
         "max_parallel": 2, "memory_max": "512M", "run_on": "local",
         "environment": {"LANG": "C", "TEXT": "two\nlines = 2", "QUOTED": '"x"', "EMPTY": "", "SPACE": " a "},
         "credentials": {"key": "/etc/job.key"}}


def field(name: str) -> str:
    return f"[name='policy.{name}']"


def open_groups(page: Page) -> None:
    closed = page.locator("details.card:not([open]) > summary")
    while closed.count():
        closed.first.click()


def test_each_policy_has_a_field_with_its_meaning(site: Site) -> None:
    page = site.page()
    page.goto("/jobs/new")
    open_groups(page)
    for key in KEYS.values():
        expect(page.locator(field(key.name))).to_be_visible()
        expect(page.locator(f"[id='hint-policy.{key.name}']")).to_contain_text(key.meaning)
    assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_job_is_created_with_policies_and_copied_with_them(site: Site) -> None:
    page = site.page()
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "daily at 9")
    page.fill("[name=prompt]", "hello")
    open_groups(page)
    for name, text in {"timeout": "90m", "retry_on": "error, 75", "group": "123", "memory_max": "1G",
                       "environment": "LANG=C\n\nURL=http://x/?a=b\n", "not_before": "2026-01-01"}.items():
        page.fill(field(name), text)
    page.select_option(field("overlap"), "replace")
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("The job is created.")).to_be_visible()
    wanted = {"timeout": 5400, "retry_on": ["error", 75], "group": "123", "memory_max": 2**30, "overlap": "replace",
              "environment": {"LANG": "C", "URL": "http://x/?a=b"}, "not_before": "2026-01-01"}
    [job] = site.api.get("/api/crons")["jobs"]
    assert job["policy"] == wanted
    facts = page.locator("#h-schedule ~ dl")
    for text in ("90m", "error,75", "1G", "URL=http://x/?a=b"):
        expect(facts.get_by_text(text)).to_be_visible()
    page.get_by_role("link", name="Copy").click()
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("The job is created.")).to_be_visible()
    assert [each["policy"] for each in site.api.get("/api/crons")["jobs"]] == [wanted, wanted]


def test_a_form_keeps_the_policies_that_it_does_not_change(site: Site) -> None:
    job = site.api.create(name="one", policy=GIVEN)
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}/edit")
    page.fill("[name=name]", "two")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes are saved.")).to_be_visible()
    after = site.api.job(job["id"])
    assert (after["name"], after["policy"]) == ("two", job["policy"])
    page.get_by_role("link", name="Edit", exact=True).click()
    open_groups(page)
    page.fill(field("timeout"), "")
    page.fill(field("run_on"), "")
    lines = page.locator(field("environment")).input_value().split("\n")
    page.fill(field("environment"), "\n".join(["NEW=1", *lines[1:]]))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes are saved.")).to_be_visible()
    variables = {name: text for name, text in GIVEN["environment"].items() if name != "LANG"}  # type: ignore[attr-defined]
    assert site.api.job(job["id"])["policy"] == {
        **{key: value for key, value in job["policy"].items() if key not in ("timeout", "run_on")},
        "environment": {**variables, "NEW": "1"}}


@pytest.mark.parametrize(("name", "text", "sentence"), [
    ("timeout", "soon", "must be a time from 1s"), ("retries", "many", "must be a whole number from 0 to 100"),
    ("environment", "LANG", "takes lines like NAME=VALUE"), ("environment", "1X=2", "is not the name of a variable"),
    ("environment", 'A="x', "is a text of JSON"), ("max_parallel", "2", "set 'policy.group' too"),
    ("cpu_quota", "50%", "needs systemd"), ("exclude", "someday", "days, ranges of days"),
])
def test_an_error_is_shown_at_its_field(site: Site, name: str, text: str, sentence: str) -> None:
    page = site.page()
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "daily at 9")
    page.fill("[name=prompt]", "kept")
    open_groups(page)
    page.fill(field(name), text)
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    wrong = page.locator(field(name))
    expect(wrong).to_have_value(text)
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    expect(page.locator(f"[id='error-policy.{name}']")).to_contain_text(sentence)
    expect(page.locator("[name=prompt]")).to_have_value("kept")
    assert site.api.get("/api/crons")["jobs"] == []
    if name == "timeout":
        assert violations(page) == []
        page.locator("[name=schedule]").focus()
        page.get_by_role("link", name="Go to the field").click()
        page.keyboard.press("Tab")
        expect(page.locator(field("stop_timeout"))).to_be_focused()


def test_a_policy_of_another_program_is_shown_and_kept(site: Site) -> None:
    odd = {"timeout": ["<b>"], "unknown": {"x": 1}, "nice": 3}
    write_jobs(site.root, record("j1", "odd", "0 9 * * *", policy=odd))
    page = site.page()
    page.goto("/jobs/default/j1/edit")
    open_groups(page)
    expect(page.locator(field("timeout"))).to_have_value('["<b>"]')
    page.fill("[name=name]", "renamed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes are saved.")).to_be_visible()
    after = site.api.job("j1")
    assert (after["name"], after["policy"]) == ("renamed", odd)
