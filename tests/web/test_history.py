import os
import time
from pathlib import Path

from ..conftest import Api, write_script
from .test_output import days, write_outputs


def names(api: Api, query: str = "") -> list[str]:
    return [run["filename"] for run in api.get(f"/api/crons/history?job_id=a{query}")["runs"]]


def test_a_run_is_a_file_with_its_size_and_time(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hello there"))
    api.run_to_end(job["id"])
    answer = api.get(f"/api/crons/history?job_id={job['id']}")
    run, = answer.pop("runs")
    assert answer == {"job_id": job["id"], "total": 1, "offset": 0}
    path = root / "cron" / "output" / job["id"] / run["filename"]
    assert set(run) == {"filename", "size", "modified", "usage", "run"}
    assert (run["size"], run["modified"]) == (path.stat().st_size, path.stat().st_mtime)
    assert abs(run["modified"] - time.time()) < 60
    assert 0 <= run["usage"]["duration_seconds"] < 10


def test_the_newest_50_runs_are_the_default(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(60))
    everything = [f"{name}.md" for name in reversed(days(60))]
    assert names(api) == everything[:50]
    assert names(api, "&limit=3") == everything[:3]
    assert names(api, "&offset=58") == everything[58:]
    assert names(api, "&offset=2&limit=2") == everything[2:4]
    assert names(api, "&offset=60") == names(api, "&offset=99999999999999999999") == []
    assert api.get("/api/crons/history?job_id=a&offset=58")["total"] == 60


def test_a_number_may_begin_with_zeros_and_have_many_digits(api: Api, root: Path) -> None:
    write_outputs(root, "a", **{f"r{n}": "x" for n in range(9)})
    for limit, count in (("0" * 30 + "7", 7), ("9" * 5000, 9), ("-" + "9" * 5000, 1)):
        assert len(api.get(f"/api/crons/history?job_id=a&limit={limit}")["runs"]) == count
    assert len(api.get("/api/crons/history?job_id=a&offset=" + "0" * 30 + "4")["runs"]) == 5


def test_the_limit_is_clamped(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(300), **{f"x{name}": "x" for name in days(300)})
    for limit, count in {"0": 1, "-3": 1, "500": 500, "501": 500, "9" * 5000: 500}.items():
        assert len(names(api, f"&limit={limit}")) == count, limit
    assert names(api, "&offset=-5") == names(api)


def test_a_value_that_is_not_a_number_is_refused(api: Api) -> None:
    for query in ("limit=", "limit=many", "limit=2.5", "offset=x", "offset=", "limit=%ff", "offset=--1"):
        status, answer = api.call("GET", f"/api/crons/history?job_id=a&{query}")
        assert status == 400 and query.partition("=")[0] in answer["error"], query


def test_a_job_that_never_ran_has_no_runs(api: Api) -> None:
    assert api.get("/api/crons/history?job_id=never-was") == {"job_id": "never-was", "runs": [], "total": 0,
                                                              "offset": 0}


def test_a_missing_or_malformed_job_id_is_refused(api: Api) -> None:
    for query in ("", "?job_id=", "?job_id=..", "?job_id=..%2Fa", "?job_id=a%00"):
        status, answer = api.call("GET", f"/api/crons/history{query}")
        assert status == 400 and "job_id" in answer["error"], query


def test_the_usage_of_a_run_is_included(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="# Cron Job: x\n\n**Model:** m\n**Tokens:** 1,234 in / 56 out\n\n## Response\n\nhi\n")
    run, = api.get("/api/crons/history?job_id=a")["runs"]
    assert run["usage"] == {"model": "m", "input_tokens": 1234, "output_tokens": 56, "total_tokens": 1290}


def test_only_files_in_the_folder_of_the_job_are_runs(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(1))
    folder = root / "cron" / "output" / "a"
    (folder / "link.md").symlink_to("/etc/hostname")
    (folder / "folder.md").mkdir()
    os.mkfifo(folder / "pipe.md")
    (folder / ".hidden.md").write_text("x")
    (root / "cron" / "output" / "b").symlink_to("/etc")
    assert names(api) == ["2026-01-01_09-00-00.md"]
    assert api.get("/api/crons/history?job_id=b")["total"] == 0
