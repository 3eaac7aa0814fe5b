"""Names, prompts, reasons and outputs that attack: a page shows them as text, and nothing of them runs or loads."""

import time
from pathlib import Path

from playwright.sync_api import Page, expect

from ..conftest import wait_for, write_jobs, write_script
from .conftest import Site
from .sample import record

SCRIPT = "<script>window.owned = 1</script><img src=x onerror='window.owned=1'>\"'><svg onload=window.owned=1>"
NAMES = {"h1": SCRIPT, "h2": "{{owned}} % end \n% import os\n\\", "h3": "\u202egnihton\u202c \u2066x\u2069 \u05d0",
         "h4": "x" * 200, "h5": "\x1b[31mred\x1b[0m\x07 \x9b1m \u0000"[:-1], "h6": "a\u0301\u0489" * 60,
         "h7": "&lt;b&gt; &amp; <b>bold</b>", "h8": "\ud83d"}
OUTPUT = f"""# Cron Job: hostile

## Prompt

{SCRIPT}

## Response

{SCRIPT}

[run](javascript:window.owned=1) [data](data:text/html,<script>owned=1</script>) [up](//elsewhere.example/x)
![pixel](http://elsewhere.example/pixel.png) ![own](/logout)
<iframe src="http://elsewhere.example/"></iframe> <style>body {{ display: none }}</style>
[good](https://example.org/) <https://example.org/auto> \u202egnp.exe\u202c \x1b[2J\x1b]0;title\x07

    {SCRIPT}

```html
{SCRIPT}
```
"""


def assert_unharmed(page: Page) -> None:
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert page.locator("main script, main iframe, main img, main style").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def write_hostile(root: Path) -> None:
    fields = {"prompt": SCRIPT, "last_status": "error", "last_error": SCRIPT, "paused_reason": SCRIPT,
              "deliver": SCRIPT, "skills": [SCRIPT], "model": SCRIPT, "workdir": SCRIPT}
    write_jobs(root, *(record(job_id, name, "0 9 * * *", **fields) for job_id, name in NAMES.items()))


def test_names_and_prompts(site: Site) -> None:
    write_hostile(site.root)
    wait_for(lambda: len(site.api.get("/api/crons")["jobs"]) == len(NAMES))
    for width in (360, 1280):
        page = site.page(width=width)
        expect(page.locator(".lane")).to_have_count(len(NAMES))
        assert_unharmed(page)
        for job_id in NAMES:
            for path in (f"/jobs/default/{job_id}", f"/jobs/default/{job_id}/edit", f"/jobs/default/{job_id}/copy"):
                page.goto(path)
                assert_unharmed(page)
        page.goto("/jobs/default/h1")
        assert SCRIPT in page.locator("h1").inner_text()
        assert page.locator("pre.prompt").inner_text() == SCRIPT


def test_an_edit_keeps_what_a_name_contains(site: Site) -> None:
    job = site.api.create(name="<b>&amp;\"'\u202e", prompt="\n\n  <i>\n% raise\n{{x}}\n")
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}/edit")
    page.fill("[name=schedule]", "daily at 4")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Every day at 04:00")).to_be_visible()
    after = site.api.job(job["id"])
    assert (after["name"], after["prompt"]) == (job["name"], job["prompt"])


def test_an_output(site: Site) -> None:
    job = site.api.create(name="hostile")
    folder = site.root / "cron" / "output" / job["id"]
    folder.mkdir(parents=True)
    (folder / "a.md").write_text(OUTPUT)
    page = site.page()
    address = f"/jobs/default/{job['id']}/outputs/a.md"
    for view in ("rendered", "plain"):
        page.goto(f"{address}?view={view}")
        assert_unharmed(page)
    page.goto(address)
    links = page.locator(".markdown a").evaluate_all("each => each.map(link => link.getAttribute('href'))")
    assert links == ["http://elsewhere.example/pixel.png", "https://example.org/", "https://example.org/auto"]
    assert "\x1b" not in (page.locator("main").text_content() or "")
    page.goto(f"{address}?view=raw")
    assert page.evaluate("window.owned") is None
    assert page.evaluate("document.contentType") == "text/plain"


def test_an_output_of_5_mib(site: Site) -> None:
    job = site.api.create(name="long")
    folder = site.root / "cron" / "output" / job["id"]
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("# Cron Job: x\n\n## Response\n\n" + "*a* [b](c) > <i> `d`\n" * (5 * 2**20 // 21))
    (folder / "b.md").write_text("# Cron Job: x\n\n## Response\n\n" + "> " * 40_000 + "[" * 15_000)
    page = site.page()
    for name in ("a.md", "b.md"):
        began = time.monotonic()
        page.goto(f"/jobs/default/{job['id']}/outputs/{name}?view=rendered")
        assert time.monotonic() - began < 15
        assert_unharmed(page)
    page.goto(f"/jobs/default/{job['id']}/outputs/a.md")
    expect(page.get_by_text("It is too long to be rendered")).to_be_visible()
    expect(page.get_by_text("characters more are in the raw file.")).to_be_visible()


def test_a_log_of_a_run(site: Site) -> None:
    script = write_script(site.root, "hostile.sh", f"cat <<'END'\n{SCRIPT}\nEND\n"
                                                   "printf '\\033[2J\\033]0;x\\007'; echo done; sleep 20\n")
    job = site.api.create(name="hostile", script=script, no_agent=True)
    site.api.start_run(job["id"])
    page = site.page()
    page.goto(f"/jobs/default/{job['id']}")
    expect(page.locator("[data-log]")).to_contain_text("done")
    assert page.locator("[data-log]").text_content() == f"{SCRIPT}\ndone\n"
    assert_unharmed(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The run is stopped.")).to_be_visible()


def test_a_search_and_an_address(site: Site) -> None:
    page = site.page()
    page.goto("/?text=%22%3E%3Cscript%3Ewindow.owned=1%3C/script%3E&hours=x&page=99999&shown=%3Cb%3E&profile=%3Ci%3E")
    assert_unharmed(page)
    page.goto("/jobs/default/%3Cscript%3Ewindow.owned=1%3C%2Fscript%3E")
    assert_unharmed(page)
    page.goto("/login?next=javascript:window.owned=1")
    expect(page).to_have_url(f"{site.url}/")
