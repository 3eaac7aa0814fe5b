import os
import time
from pathlib import Path

from ..conftest import Api, write_script
from .test_output import write_outputs

PAGE = """# Cron Job: nightly

**Job ID:** a
**Run Time:** 2026-03-15 09:00:00
**Model:** gpt-9
**Provider:** custom
**Tokens:** 1,234 in / 56 out
**Cost:** $0.0123
**Duration:** 62.5s

## Prompt

**Model:** not this one

## Response

all is well
"""


def test_a_run_has_its_whole_file_and_the_beginning_of_the_response(api: Api, root: Path) -> None:
    write_outputs(root, "a", r=PAGE)
    assert api.get("/api/crons/run?job_id=a&filename=r.md") == {
        "job_id": "a", "filename": "r.md", "content": PAGE, "snippet": "all is well",
        "usage": {"model": "gpt-9", "provider": "custom", "input_tokens": 1234, "output_tokens": 56,
                  "total_tokens": 1290, "estimated_cost_usd": 0.0123, "duration_seconds": 62.5},
        "run": None,
    }


def test_the_usage_has_other_names_in_some_outputs(api: Api, root: Path) -> None:
    other = (PAGE.replace("**Model:** gpt-9", "**Model Used:** gpt-9").replace("**Cost:**", "**Estimated cost:**")
             .replace("**Duration:**", "**Elapsed:**"))
    write_outputs(root, "a", usual=PAGE, other=other)
    usual, named = (api.get(f"/api/crons/run?job_id=a&filename={name}.md")["usage"] for name in ("usual", "other"))
    assert named == usual and len(named) == 7
    runs = api.get("/api/crons/history?job_id=a")["runs"]
    assert [run["usage"] for run in runs] == [usual, usual]


def test_every_run_of_the_history_can_be_read(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hello"))
    api.run_to_end(job["id"])
    run, = api.get(f"/api/crons/history?job_id={job['id']}")["runs"]
    detail = api.get(f"/api/crons/run?job_id={job['id']}&filename={run['filename']}")
    assert (detail["snippet"], detail["usage"]) == ("hello", run["usage"])


def test_the_snippet_has_600_characters_or_a_note_that_it_is_empty(api: Api, root: Path) -> None:
    write_outputs(root, "a", long="## Response\n\n" + "é" * 700, none="## Response\n\n  \n", blank="\n")
    for name, snippet in (("long", "é" * 600), ("none", "(empty)"), ("blank", "(empty)")):
        assert api.get(f"/api/crons/run?job_id=a&filename={name}.md")["snippet"] == snippet


def test_without_the_heading_the_snippet_is_the_beginning(api: Api, root: Path) -> None:
    page = "# Cron Job: a\n\n**Mode:** no_agent (script)\n\n---\n\nall is well\n"
    asked = "## Prompt\n\nuse a ### Response section\n\n"
    write_outputs(root, "a", script=page, asked=f"{asked}## Response\n\nyes", failed=f"{asked}## Error\n\nno",
                  other="# Response\n\nshort")
    for name, snippet in (("script", page.strip()), ("asked", "yes"), ("failed", f"{asked}## Error\n\nno"),
                          ("other", "short")):
        assert api.get(f"/api/crons/run?job_id=a&filename={name}.md")["snippet"] == snippet


def test_a_long_run_is_not_cut(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="x" * 100_000)
    assert len(api.get("/api/crons/run?job_id=a&filename=r.md")["content"]) == 100_000


def test_a_missing_run_is_404(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="x")
    (root / "cron" / "output" / "a" / "notes.txt").write_text("x")
    for query in ("job_id=a&filename=other.md", "job_id=b&filename=r.md", "job_id=a&filename=notes.txt",
                  "job_id=a&filename=r.MD", f"job_id=a&filename={'x' * 250}.md"):
        status, answer = api.call("GET", f"/api/crons/run?{query}")
        assert (status, set(answer)) == (404, {"error"}), query


def test_a_path_is_refused(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="x")
    for name in ("../a/r.md", "..%2Fa%2Fr.md", "%2Fetc%2Fpasswd", "..", ".", "a%5Cb.md", "r.md%00", "r.md%0A", "",
                 "x" * 300):
        status, answer = api.call("GET", f"/api/crons/run?job_id=a&filename={name}")
        assert status == 400 and "filename" in answer["error"], name
    assert api.call("GET", "/api/crons/run?job_id=a")[0] == 400
    assert api.call("GET", "/api/crons/run?job_id=..&filename=r.md")[0] == 400


def test_links_out_of_the_folder_and_pipes_are_refused(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="x")
    folder = root / "cron" / "output" / "a"
    (root / "secret.md").write_text("secret")
    (folder / "link.md").symlink_to(root / "secret.md")
    (folder / "folder.md").mkdir()
    os.mkfifo(folder / "pipe.md")
    (root / "cron" / "output" / "b").symlink_to(root)
    for query in ("job_id=a&filename=link.md", "job_id=a&filename=folder.md", "job_id=a&filename=pipe.md",
                  "job_id=b&filename=secret.md"):
        assert api.call("GET", f"/api/crons/run?{query}")[0] == 404, query
    assert api.get("/api/crons/output?job_id=a&limit=9")["outputs"] == [{"filename": "r.md", "content": "x"}]


def test_the_beginning_of_an_endless_file_is_returned_soon(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="## Response\n\nit began well\n")
    os.truncate(root / "cron" / "output" / "a" / "r.md", 2**40)
    started = time.monotonic()
    content = api.get("/api/crons/run?job_id=a&filename=r.md")["content"]
    assert content.startswith("## Response\n\nit began well\n")
    assert content.endswith(" bytes more]\n") and len(content) < 20 * 1024**2
    api.get("/api/crons/output?job_id=a")
    assert time.monotonic() - started < 10
