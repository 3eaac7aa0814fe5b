"""The pages of an installation, which run in the sandbox of the API: findings, lines, and the output of a run."""

import re
from html import unescape
from urllib.parse import urlencode

from tests.conftest import wait_for
from tests.machine.sites import CrontabSite, Site

DAILY = "15 9 * * 1-5"


def page(site: Site, path: str) -> str:
    """Return the page at `path`, as text without escapes."""
    status, _, content = site.api.send("GET", path, None, {"Authorization": f"Bearer {site.api.token}"}, None)
    assert status == 200, content.decode()
    return unescape(content.decode())


def post(site: Site, path: str) -> int:
    """Send the form without fields at `path`, and return the status."""
    [token] = re.findall(r'name="csrf" value="([0-9a-f]{64})"', page(site, "/jobs/new"))[:1]
    headers = {"Authorization": f"Bearer {site.api.token}", "Content-Type": "application/x-www-form-urlencoded",
               "Origin": site.api.url}
    status, _, _ = site.api.send("POST", path, urlencode({"csrf": token}).encode(), headers, None)
    return status


def findings(site: Site) -> list[str]:
    """Return the findings on the page, after new checks."""
    assert post(site, "/checks") == 303
    found = wait_for(lambda: (text := page(site, "/checks")) and "data-poll" not in text and text, 40)
    return re.findall(r'<b class="hidden">\w+: </b><bdi>(.*?)</bdi>', found, re.S)


def test_the_health_on_the_page_is_that_of_doctor(any_site: Site) -> None:
    site = any_site
    site.create(schedule=DAILY)
    _, printed = site.doctor()
    assert (findings(site), printed.strip().splitlines()[-1]) == ([], "OK: no problems found.")
    broken = site.create("echo broken", schedule=DAILY)
    site.run(f"rm {site.hermes}/scripts/{broken['script']}")
    [finding] = findings(site)
    assert broken["id"] in finding and finding in site.doctor()[1]


def test_a_page_shows_the_lines_by_which_a_job_is_armed(any_site: Site) -> None:
    site = any_site
    job_id = site.create(schedule=DAILY)["id"]
    lines = re.findall(r'<code class="line">(.*?)</code>', page(site, f"/jobs/default/{job_id}"))
    assert lines
    if isinstance(site, CrontabSite):
        [line] = site.lines(job_id)
        assert line.decode().startswith(lines[0])
    else:
        unit = site.systemctl(f"cat hermes-job@default:{job_id}.timer")
        assert re.findall("^OnCalendar=.*$", unit, re.M) == lines


def test_the_output_of_a_run_is_followed_and_the_run_stopped(any_site: Site) -> None:
    site = any_site
    job_id = site.create("for i in $(seq 300); do echo step $i; sleep 0.2; done", schedule=DAILY)["id"]
    path = f"/jobs/default/{job_id}"
    site.verb("run", job_id)
    wait_for(lambda: "step 5\n" in page(site, path))
    assert post(site, f"{path}/stop") == 303
    assert "stopped" in page(site, path) and not site.api.running()
    wait_for(lambda: not site.run(f"ls -A {site.hermes}/cron/oscron/live").stdout)


def test_the_link_of_open_logs_in(any_site: Site) -> None:
    site = any_site
    url = site.oscron("open").strip()
    assert url.startswith(f"http://localhost:{site.port}/login?link=")
    status, headers, _ = site.api.send("GET", url.removeprefix(f"http://localhost:{site.port}"), None, {}, None)
    assert status == 303 and headers["Set-Cookie"]
