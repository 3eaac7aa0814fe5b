"""The pages without a browser: who gets them, which forms are accepted, and the headers that protect them."""

import contextlib
import re
from email.message import Message
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from hermes_oscron.jobs import policy
from hermes_oscron.web.dashboard import form

from ..conftest import Api, InProcessApi

HTML = {"Accept": "text/html"}
PAGES = ["/", "/jobs/new", "/checks", "/alerts", "/audit", "/explain?schedule=daily"]


class Browser:
    """A browser without a screen: it keeps its cookie, and sends forms as pages have them."""

    def __init__(self, api: Api) -> None:
        self.api = api.with_token(None)
        self.cookie = ""

    def get(self, path: str, **headers: str) -> tuple[int, Message, str]:
        given = HTML | ({"Cookie": self.cookie} if self.cookie else {}) | headers
        status, answer, content = self.api.send("GET", path, None, given, None)
        return status, answer, content.decode()

    def post(self, path: str, form: dict[str, str], **headers: str) -> tuple[int, Message, str]:
        given = HTML | {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self.cookie,
                        "Origin": self.api.url} | headers
        status, answer, content = self.api.send("POST", path, urlencode(form).encode(), given, None)
        if set_cookie := answer["Set-Cookie"]:
            self.cookie = set_cookie.partition(";")[0]
        return status, answer, content.decode()

    def log_in(self, token: str | None, then: str = "/") -> tuple[int, Message, str]:
        return self.post("/login", {"password": token or "", "next": then})

    def form_token(self, path: str = "/jobs/new") -> str:
        match = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(path)[2])
        assert match
        return match[1]


@pytest.fixture
def browser(api: InProcessApi) -> Browser:
    """A browser that is logged in."""
    found = Browser(api)
    assert found.log_in(api.token)[0] == 303
    return found


@pytest.mark.parametrize("path", [*PAGES, "/jobs/default/x", "/jobs/default/x/edit", "/jobs/default/x/outputs/a.md",
                                  "/jobs/default/x/log"])
def test_a_page_without_a_login_leads_to_the_login(api: Api, path: str) -> None:
    status, headers, content = Browser(api).get(path)
    assert (status, content) == (303, "")
    assert headers["Location"].startswith("/login?next=%2F")


def test_a_login_leads_to_the_page_that_was_asked_for(api: Api) -> None:
    status, headers, _ = Browser(api).log_in(api.token, "/jobs/new?profile=default")
    assert (status, headers["Location"]) == (303, "/jobs/new?profile=default")


@pytest.mark.parametrize("then", ["//elsewhere.example/", "https://elsewhere.example/", "/\\elsewhere.example",
                                  "javascript:alert(1)", "/\r\nX: y", ""])
def test_a_login_leads_nowhere_else(api: Api, then: str) -> None:
    assert Browser(api).log_in(api.token, then)[1]["Location"] == "/"


def test_a_wrong_token_is_refused_with_a_sentence(api: Api) -> None:
    browser = Browser(api)
    status, _, content = browser.log_in("wrong")
    assert status == 401 and "Wrong token" in content and not browser.cookie
    for _ in range(10):
        status, _, content = browser.log_in("wrong")
    assert status == 429 and "wait" in content


def test_a_link_on_another_site_finds_the_login_again(api: Api, browser: Browser) -> None:
    """The browser keeps back the cookie, so the page asks for itself again."""
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    status, headers, content = Browser(api).get("/audit", **cross)
    assert (status, headers["Refresh"], content) == (200, "0", "")
    assert Browser(api).get("/audit", **(cross | {"Sec-Fetch-Site": "same-origin"}))[0] == 303


@pytest.mark.parametrize("path", [*PAGES, "/login"])
def test_a_page_loads_nothing_from_elsewhere(browser: Browser, path: str) -> None:
    status, headers, content = browser.get(path) if path != "/login" else Browser(browser.api).get(path)
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin", "with 'no-referrer' a form would send the Origin null"
    assert not re.search(r'(?:src|href|action)="(?!/|#|\?)', content)
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", content), "the policy forbids it"


@pytest.mark.parametrize("path", ["/logout", "/jobs/new", "/checks", "/jobs/default/x/run", "/jobs/default/x/stop",
                                  "/jobs/default/x/pause", "/jobs/default/x/resume", "/jobs/default/x/delete",
                                  "/jobs/default/x/edit"])
@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_form_without_its_token_is_refused(browser: Browser, api: InProcessApi, path: str, token: str) -> None:
    path = path.replace("/x/", f"/{api.create()['id']}/")
    before = api.get("/api/crons")["jobs"]
    status, _, content = browser.post(path, {"csrf": token, "schedule": "daily", "prompt": "what was typed"})
    assert status == 403 and "another login" in content and api.get("/api/crons")["jobs"] == before
    assert ("what was typed" in content) == path.endswith(("new", "edit")), "a form is shown again"


def test_the_token_of_another_login_is_refused(api: InProcessApi, browser: Browser) -> None:
    other = Browser(api)
    other.log_in(api.token)
    assert other.form_token() != browser.form_token()
    assert browser.post("/checks", {"csrf": other.form_token()})[0] == 403
    assert browser.post("/checks", {"csrf": browser.form_token()})[0] == 303


def test_a_form_of_another_site_is_refused(browser: Browser) -> None:
    token = browser.form_token()
    for origin in ("http://elsewhere.example", "null"):
        status, _, content = browser.post("/checks", {"csrf": token}, Origin=origin)
        assert status == 403 and "is not this server" in content


def test_a_form_that_is_too_large_or_not_one_is_refused(browser: Browser) -> None:
    token = browser.form_token()
    assert browser.post("/jobs/new", {"csrf": token, "prompt": "x" * 1024 * 1024})[0] == 413
    assert browser.post("/jobs/new", {"csrf": token}, **{"Content-Type": "application/json"})[0] == 415
    assert browser.post("/jobs/new", {f"field{n}": "" for n in range(300)})[0] == 400


def test_the_actions_in_order(browser: Browser, api: InProcessApi) -> None:
    token = browser.form_token()
    status, headers, _ = browser.post("/jobs/new", {
        "csrf": token, "profile_of_job": "default", "name": "one", "schedule": "daily at 9:00", "prompt": "hello",
        "deliver": "local", "toast_notifications": "yes"})
    assert status == 303
    path = headers["Location"].partition("?")[0]
    job = api.job(path.rpartition("/")[2])
    assert (job["name"], job["schedule"]["expression"], job["prompt"]) == ("one", "0 9 * * *", "hello")
    assert "The job is created." in browser.get(headers["Location"])[2]
    browser.post(f"{path}/pause", {"csrf": token, "reason": "a holiday"})
    assert api.job(job["id"])["paused_reason"] == "a holiday"
    browser.post(f"{path}/resume", {"csrf": token})
    assert api.job(job["id"])["state"] == "scheduled"
    browser.post(f"{path}/delete", {"csrf": token})
    assert api.job(job["id"]) is None
    assert browser.get(path)[0] == 404


def test_an_edit_changes_only_fields_that_differ(browser: Browser, api: InProcessApi) -> None:
    job = api.create(name="one", skills=["a", "b"], model="m", provider="p", repeat=5)
    path = f"/jobs/default/{job['id']}/edit"
    page = browser.get(path)[2]
    form = {name: unescape(value)
            for name, value in re.findall(r'<input(?! type="checkbox")[^>]* name="(\w+)" value="([^"]*)"', page)}
    form["prompt"] = unescape(re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.S)[0])
    form["toast_notifications"] = "yes"
    assert browser.post(path, form)[0] == 303
    assert api.job(job["id"]) == job
    assert browser.post(path, form | {"name": "two", "skills": "b,  c", "repeat": ""})[0] == 303
    after = api.job(job["id"])
    assert (after["name"], after["skills"], after["repeat"]["times"]) == ("two", ["b", "c"], None)
    assert {key: after[key] for key in ("model", "prompt", "schedule")} == {
        key: job[key] for key in ("model", "prompt", "schedule")}


@pytest.mark.parametrize(("form", "sentence"), [
    ({"schedule": "evry day at 9"}, "write `every day at 9`"), ({"schedule": ""}, "schedule is missing"),
    ({"schedule": "daily", "repeat": "many"}, "'repeat' must be a positive integer"),
    ({"schedule": "daily", "script": "../../etc/passwd", "no_agent": "yes"}, "script"),
])
def test_a_form_that_is_refused_keeps_its_fields(browser: Browser, form: dict[str, str], sentence: str) -> None:
    given = {"csrf": browser.form_token(), "name": "<kept> & \"quoted\"", "prompt": "\nkept too", **form}
    status, _, content = browser.post("/jobs/new", given)
    assert status == 400 and sentence in unescape(content)
    assert "&lt;kept&gt; &amp; &quot;quoted&quot;" in content and "\n\nkept too</textarea>" in content


def test_a_page_that_does_not_exist_is_a_page(browser: Browser) -> None:
    for path in ("/jobs/default/nothing", "/jobs/nobody/x", "/jobs/default/nothing/outputs/x.md", "/assets/x.css"):
        status, headers, content = browser.get(path)
        assert status == 404 and headers["Content-Type"].startswith("text/html") and "<h1>Not found</h1>" in content


def test_files_of_the_pages_may_be_kept_and_are_named_by_content(api: Api) -> None:
    page = Browser(api).get("/login")[2]
    for path in re.findall(r'"(/assets/[^"]+)"', page):
        status, headers, _ = api.send("GET", path, None, {}, None)
        assert status == 200 and "immutable" in headers["Cache-Control"]


def test_a_ledger_that_cannot_be_read_is_reported_beside_the_jobs(browser: Browser, api: Api, root: Path) -> None:
    job = api.create(name="one", policy={"budget": "5000 tokens per day"})
    assert "0 of 5,000 tokens today" in browser.get(f"/jobs/default/{job['id']}")[2]
    ledger = root / "cron" / "oscron" / "runs.db"
    while not ledger.is_dir():  # the server may write a new one in between
        ledger.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            ledger.mkdir()
    status, _, content = browser.get("/")
    assert status == 200 and "runs.db cannot be used" in content and job["id"] in content
    assert "runs.db cannot be used" in browser.get(f"/jobs/default/{job['id']}")[2]


def test_jobs_that_cannot_be_read_are_reported(browser: Browser, api: Api, root: Path) -> None:
    api.create(name="one")
    (root / "cron" / "jobs.json").write_text("{")
    status, _, content = browser.get("/")
    assert status == 200 and "jobs.json" in content


def test_a_new_key_of_the_policy_has_a_field_without_more(monkeypatch: pytest.MonkeyPatch) -> None:
    key = policy.Key("colour", policy.one_of("red", "blue"), "text", "Its colour.")
    monkeypatch.setitem(policy.KEYS, key.name, key)
    found = form.inputs(form.defaults() | {"policy.colour": "red"}, True, {})
    [colour] = dict(form.groups(found))["Other"]
    assert colour == form.Input("policy.colour", "Colour", "Its colour.", "choice", "red", ("", "red", "blue"))
    assert form.changed({"policy.colour": "blue"}, form.defaults(), {})["policy"] == {"colour": "blue"}
