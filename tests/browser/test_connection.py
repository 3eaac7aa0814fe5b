"""The pages when the server goes away and comes back, and when a login ends."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, expect

from ..conftest import wait_for
from .conftest import Site


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def serve(port: int, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "hermes_oscron.cli", "serve", "--port", str(port),
                                    "--scheduler", "foreground"], stdout=file, stderr=file)

    wait_for(lambda: b"Listening on" in log.read_bytes())
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(10)


def test_a_server_that_exits_and_returns(chromium: Browser, root: Path, tmp_path: Path) -> None:
    port = free_port()
    process = serve(port, tmp_path / "log")
    try:
        site = Site(chromium, f"http://localhost:{port}", root)
        page = site.page()
        expect(page.get_by_text("No jobs yet")).to_be_visible()
        end(process)
        expect(page.locator("#notice")).to_contain_text("The server does not answer")
        process = serve(port, tmp_path / "log")
        site.api.create(name="after the restart")
        expect(page.locator(".lane a")).to_have_text("after the restart")
        expect(page.locator("#notice")).to_be_hidden()
        site.close()
    finally:
        end(process)


def test_a_login_that_has_expired(site: Site) -> None:
    page = site.page()
    page.goto("/?hours=72")
    os.unlink(site.root / "cron" / "oscron" / "sessions")
    notice = page.locator("#notice")
    expect(notice).to_contain_text("Your login has expired.")
    notice.get_by_role("link", name="Log in").click()
    page.fill("#password", site.api.token or "")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site.url}/?hours=72")


def test_an_action_after_the_login_has_expired(site: Site) -> None:
    job = site.api.create(name="one")
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}")
    os.unlink(site.root / "cron" / "oscron" / "sessions")
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("You are logged out")).to_be_visible()
    assert site.api.job(job["id"])["last_run_at"] is None


def test_a_form_survives_the_end_of_a_login(site: Site) -> None:
    page = site.page()
    page.goto("/jobs/new")
    page.fill("[name=schedule]", "daily at 6")
    page.fill("[name=prompt]", "an hour of work")
    os.unlink(site.root / "cron" / "oscron" / "sessions")
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("Log in in another tab")).to_be_visible()
    other = site.watched(page.context.new_page())
    other.goto("/login")
    other.fill("#password", site.api.token or "")
    other.get_by_role("button", name="Log in").click()
    expect(other).to_have_url(f"{site.url}/")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Check it, and send it again")
    expect(page.locator("[name=prompt]")).to_have_value("an hour of work")
    page.get_by_role("button", name="Create the job").click()
    expect(page.get_by_text("The job is created.")).to_be_visible()
    assert [job["prompt"] for job in site.api.get("/api/crons")["jobs"]] == ["an hour of work"]


def test_a_link_on_another_site_finds_the_login(site: Site, tmp_path: Path) -> None:
    """The cookie is SameSite=Strict, so the first request comes without it."""
    (tmp_path / "mail.html").write_text(f'<a href="{site.url}/audit">a job failed</a>')
    page = site.page()
    mail = page.context.new_page()
    mail.goto(f"file://{tmp_path}/mail.html")
    mail.get_by_role("link").click()
    expect(mail.get_by_role("heading", name="Audit", level=1)).to_be_visible()


def test_a_logout(site: Site) -> None:
    page = site.page()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    page.go_back()
    page.reload()
    expect(page).to_have_url(f"{site.url}/login?next=%2F")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_a_hidden_page_asks_for_nothing(site: Site) -> None:
    """Then a server with systemd's sockets can exit."""
    page = site.page()
    page.wait_for_timeout(1000)
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { get: () => true })
        document.dispatchEvent(new Event("visibilitychange"))
    }""")
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(7000)
    assert asked == []
