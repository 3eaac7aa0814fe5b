import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_oscron.files import mtime_is_final
from hermes_oscron.hermes import job_store

from ..conftest import Api, wait_for

DOCTOR = "'hermes-oscron doctor' shows the reason."


def test_it_answers_without_a_token(server: str) -> None:
    anyone = Api(server, None)
    answer = anyone.get("/health")
    assert (answer["status"], answer["scheduler"]) == ("ok", "foreground")
    assert anyone.headers["Content-Type"] == "application/json"
    assert anyone.headers["Cache-Control"] == "no-store"


def break_jobs(root: Path) -> None:
    (root / "cron" / "jobs.json").write_text("{")


def break_jobs_of_another_profile(root: Path) -> None:
    path = root / "profiles" / "work" / "cron" / "jobs.json"
    path.parent.mkdir(parents=True)
    path.mkdir()


def use_runtime_db(root: Path) -> None:
    (root / "cron" / "runtime.db").touch()


def damage_token(root: Path) -> None:
    (root / "cron" / "oscron" / "token").write_bytes(b"\xff")


def remove_token(root: Path) -> None:
    (root / "cron" / "oscron" / "token").unlink()


@pytest.mark.parametrize(("damage", "sentence"), [
    (break_jobs, f"The jobs of a profile cannot be read. {DOCTOR}"),
    (break_jobs_of_another_profile, f"The jobs of a profile cannot be read. {DOCTOR}"),
    (use_runtime_db, f"The jobs of a profile cannot be read. {DOCTOR}"),
    (damage_token, f"Calls cannot be authenticated. {DOCTOR}"),
    (remove_token, "There is no token for calls. 'hermes-oscron token' makes one."),
])
def test_it_shows_what_cannot_be_read_until_it_is_repaired(
    api: Api, root: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str,
) -> None:
    api.create()
    shutil.copytree(root, tmp_path / "whole", ignore=shutil.ignore_patterns("runs.db*"))  # it is being written
    before = api.get("/health")
    assert before == {"status": "ok", "scheduler": "foreground", "armed": True}
    damage(root)
    for _ in range(2):
        after = api.with_token(None).get("/health")
        assert after == {**before, "status": "error", "error": sentence}
    for name in ("profiles", "cron/runtime.db"):
        subprocess.run(["rm", "-rf", root / name], check=True)
    shutil.copytree(tmp_path / "whole", root, dirs_exist_ok=True)
    assert api.get("/health") == before


def test_a_file_that_cannot_be_read_is_not_read_again_at_each_call(
    api: Api, root: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    api.create()
    break_jobs(root)
    os.utime(root / "cron" / "jobs.json", (1, 1))
    wait_for(lambda: mtime_is_final(os.stat(root / "cron" / "jobs.json"), time.time_ns()))
    assert api.get("/health")["status"] == "error"
    monkeypatch.setattr(job_store, "unusable", None)
    assert api.get("/health")["status"] == "error"


def test_it_shows_that_nothing_fires(idle_api: Api) -> None:
    answer = idle_api.get("/health")
    assert answer["status"] == "error" and answer["error"].startswith("Nothing fires: ")


def test_disarmed_jobs_are_not_an_error(api: Api, root: Path) -> None:
    api.create()
    (root / "cron" / "oscron" / "disarmed").touch()
    assert api.get("/health") == {"status": "ok", "scheduler": "foreground", "armed": False}


def test_it_reveals_nothing_about_the_jobs(api: Api) -> None:
    job = api.create(name="secret plan")
    answer = str(api.with_token(None).get("/health"))
    assert "secret plan" not in answer and job["id"] not in answer


def test_a_request_from_a_foreign_page_is_refused(api: Api) -> None:
    assert api.call("GET", "/health", headers={"Host": "evil.example"})[0] == 403
    assert api.call("GET", "/health", headers={"Origin": "http://evil.example"})[0] == 403


def test_it_only_takes_get(api: Api) -> None:
    assert api.call("POST", "/health", {})[0] == 405
