"""The profile that a client chooses for one request: by the WebUI's cookie, or by a header."""

from pathlib import Path
from typing import Any

import pytest

from ..conftest import Api, stored, write_jobs, write_script
from .test_list import add_profile
from .test_output import write_outputs

COOKIE = {"Cookie": "theme=dark; hermes_profile=work; hermes_session=x"}
HEADER = {"X-Hermes-Profile": "work"}


def call(api: Api, path: str, body: Any = None, chosen: dict[str, str] = COOKIE) -> Any:
    status, answer = api.call("GET" if body is None else "POST", path, body, headers=chosen)
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("chosen", [COOKIE, HEADER, {"Cookie": 'hermes_profile="work"'}])
def test_the_list_is_that_of_the_chosen_profile(api: Api, root: Path, chosen: dict[str, str]) -> None:
    add_profile(root, "work", "w1")
    job = api.create()
    for _ in range(2):
        answer = call(api, "/api/crons", chosen=chosen)
        assert (answer["active_profile"], [each["id"] for each in answer["jobs"]]) == ("work", ["w1"])
        assert [each["id"] for each in api.get("/api/crons")["jobs"]] == [job["id"]]
    rows = call(api, "/api/crons?all_profiles=1", chosen=chosen)["jobs"]
    assert [(row["id"], row["read_only"]) for row in rows] == [("w1", False), (job["id"], True)]


def test_every_command_works_on_the_chosen_profile(api: Api, root: Path) -> None:
    add_profile(root, "work")
    work = root / "profiles" / "work"
    (work / "scripts").mkdir()
    fields = {"schedule": "0 9 * * *", "no_agent": True, "script": write_script(work, "a.sh", "echo hi")}
    job = call(api, "/api/crons/create", fields)["job"]
    assert (job["owner_profile"], stored(root), [each["id"] for each in stored(work)]) == ("work", [], [job["id"]])
    this = {"job_id": job["id"]}
    assert call(api, "/api/crons/update", {**this, "name": "n"})["job"]["name"] == "n"
    assert call(api, "/api/crons/pause", this)["job"]["state"] == "paused"
    assert call(api, "/api/crons/resume", this)["job"]["state"] == "scheduled"
    assert call(api, "/api/crons/run", this)["ok"]
    for command in ("update", "pause", "resume", "run", "delete"):
        assert api.refused(f"/api/crons/{command}", this)[0] == 404
    call(api, "/api/crons/delete", this)
    assert stored(work) == []


def test_every_answer_is_of_the_chosen_profile(api: Api, root: Path) -> None:
    work = root / "profiles" / "work"
    write_jobs(work, {"id": "a", "name": "n", "prompt": "p", "last_run_at": "2026-03-15T12:00:00+00:00"})
    write_outputs(work, "a", r="hello")
    assert [each["filename"] for each in call(api, "/api/crons/output?job_id=a")["outputs"]] == ["r.md"]
    assert call(api, "/api/crons/history?job_id=a")["total"] == 1
    assert call(api, "/api/crons/run?job_id=a&filename=r.md")["content"] == "hello"
    assert [each["job_id"] for each in call(api, "/api/crons/recent")["completions"]] == ["a"]
    assert call(api, "/api/crons/status") == {"running": {}}
    assert call(api, "/api/gateway/status")["last_active"] == "2026-03-15T12:00:00+00:00"
    assert api.get("/api/crons/output?job_id=a")["outputs"] == api.get("/api/crons/recent")["completions"] == []


def test_the_choice_comes_before_the_active_profile(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    (root / "active_profile").write_text("work\n")
    assert call(api, "/api/crons", chosen={"Cookie": "hermes_profile=default"})["active_profile"] == "default"


def test_the_header_comes_before_the_cookie(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    chosen = {"X-Hermes-Profile": "work", "Cookie": "hermes_profile=default"}
    assert call(api, "/api/crons", chosen=chosen)["active_profile"] == "work"


def test_an_empty_choice_means_the_active_profile(api: Api, root: Path) -> None:
    for none in ({"Cookie": "hermes_profile="}, {"Cookie": 'hermes_profile=""'}, {"X-Hermes-Profile": " "}):
        assert call(api, "/api/crons", chosen=none)["active_profile"] == "default"


def test_a_profile_that_does_not_exist_is_404(api: Api, root: Path) -> None:
    add_profile(root, "work", "w1")
    (root / "secret").mkdir()
    for name in ("nobody", "../secret", "work/../../secret", "x" * 500, "w\xf6rk", ".."):
        for path, body in (("/api/crons", None), ("/api/crons/recent", None), ("/api/gateway/status", None),
                           ("/api/crons/create", {"prompt": "p", "schedule": "30m"})):
            status, answer = api.call("GET" if body is None else "POST", path, body, headers={"X-Hermes-Profile": name})
            assert (status, set(answer)) == (404, {"error"}) and len(answer["error"]) < 300, (name, path)
    (root / "profiles" / "work").rename(root / "elsewhere")
    assert api.call("GET", "/api/crons", headers=COOKIE)[0] == 404
    assert stored(root) == []
