import os
from pathlib import Path

from ..conftest import Api, write_script

HEADING = "# Cron Job: x\n\n**Job ID:** a\n"


def write(root: Path, job_id: str, name: str, text: str) -> Path:
    path = root / "cron" / "output" / job_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_runs_are_listed_newest_first_with_their_sizes_and_times(api: Api, root: Path) -> None:
    for day in range(1, 8):
        path = write(root, "a", f"2027-03-0{day}_09-00-00.md", "x" * day)
        os.utime(path, (day, day))
    answer = api.get("/api/crons/history?job_id=a&offset=2&limit=3")
    assert (answer["job_id"], answer["total"], answer["offset"]) == ("a", 7, 2)
    assert answer["runs"] == [
        {"filename": f"2027-03-0{day}_09-00-00.md", "size": day, "modified": float(day), "usage": {}}
        for day in (5, 4, 3)]
    assert len(api.get("/api/crons/history?job_id=a")["runs"]) == 7
    assert api.get("/api/crons/history?job_id=a&offset=99")["runs"] == []


def test_a_job_without_runs_has_none(api: Api) -> None:
    answer = api.get("/api/crons/history?job_id=never-was")
    assert answer == {"job_id": "never-was", "runs": [], "total": 0, "offset": 0}


def test_fifty_come_unless_a_number_is_given_and_that_stays_within_bounds(api: Api, root: Path) -> None:
    for number in range(60):
        write(root, "a", f"2027-03-01_09-00-{number:02}.md", "")
    for query, count in (("", 50), ("&limit=0", 1), ("&limit=-5", 1), ("&limit=9999", 60), ("&limit=7", 7)):
        assert len(api.get(f"/api/crons/history?job_id=a{query}")["runs"]) == count
    for query in ("limit=many", "offset=", "offset=1.5", "limit=%00"):
        status, answer = api.call("GET", f"/api/crons/history?job_id=a&{query}")
        assert status == 400 and "whole number" in answer["error"]
    for query in ("", "?job_id=", "?job_id=../a"):
        assert api.call("GET", f"/api/crons/history{query}")[0] == 400


def test_what_a_run_used_is_read_from_its_own_heading_alone(api: Api, root: Path) -> None:
    write(root, "a", "2027-03-01_09-00-00.md", f"""{HEADING}**Model:** big-model 2\n**Provider:** custom
**Tokens:** 1,234 in / 56 out\n**Cost:** $0.0123\n**Duration:** 2m 3.5s\n\n## Prompt\n\n**Cost:** $99\n""")
    write(root, "a", "2027-03-02_09-00-00.md", f"{HEADING}\n## Prompt\n\n**Model:** forged\n")
    forged, used = (run["usage"] for run in api.get("/api/crons/history?job_id=a")["runs"])
    assert forged == {}
    assert used == {"model": "big-model 2", "provider": "custom", "input_tokens": 1234, "output_tokens": 56,
                    "total_tokens": 1290, "estimated_cost_usd": 0.0123, "duration_seconds": 123.5}


def test_a_run_of_ours_tells_how_long_it_took(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "sleep 0.2"))
    api.run_to_end(job["id"])
    [run] = api.get(f"/api/crons/history?job_id={job['id']}")["runs"]
    assert 0.1 <= run["usage"]["duration_seconds"] < 5


def test_links_and_what_is_no_file_are_not_read(api: Api, root: Path) -> None:
    secret = root / "secret.md"
    secret.write_text("**Model:** secret")
    folder = write(root, "a", "2027-03-01_09-00-00.md", "fine").parent
    (folder / "2027-03-02_09-00-00.md").symlink_to(secret)
    (folder / "2027-03-03_09-00-00.md").mkdir()
    os.mkfifo(folder / "2027-03-04_09-00-00.md")
    (root / "cron" / "output" / "b").symlink_to(folder)
    assert [run["filename"] for run in api.get("/api/crons/history?job_id=a")["runs"]] == ["2027-03-01_09-00-00.md"]
    assert [output["content"] for output in api.get("/api/crons/output?job_id=a")["outputs"]] == ["fine"]
    assert api.get("/api/crons/history?job_id=b")["runs"] == []
