"""No GET request changes a file, or pays for a second opinion."""

import json
import os
import re
from pathlib import Path

import pytest

from hermes_oscron.service.jobs import JobService
from hermes_oscron.web import openapi, token
from hermes_oscron.web.app import make_app
from hermes_oscron.web.authentication import Authenticator
from tests.conftest import Api, InProcessApi, read_token, serving
from tests.fuzz.world import Ledger
from tests.runner.jobs import files
from tests.service.world import DAILY_JOB, UnwatchedSelection, cut_off_run, put_record, reconciler

OUTPUT = "2026-11-23_09-00-00.md"
QUERIES = {
    "/api/crons": "?all_profiles=1", "/api/crons/delivery-options": "", "/api/crons/history": "?job_id=sound",
    "/api/crons/output": "?job_id=sound", "/api/crons/recent": "?since=0",
    "/api/crons/runs": "?job_id=sound", "/api/crons/upcoming": "",
    "/api/crons/run": f"?job_id=sound&filename={OUTPUT}", "/api/crons/status": "?job_id=sound",
    "/api/auth/status": "", "/api/gateway/status": "", "/api/openapi.json": "", "/health": "", "/metrics": "",
}


def test_every_route_that_reads_is_tried() -> None:
    paths = json.loads(openapi.document().body)["paths"]
    assert QUERIES.keys() == {path for path, methods in paths.items() if "get" in methods}


@pytest.mark.parametrize("path", QUERIES)
def test_a_get_request_changes_no_file(root: Path, path: str) -> None:
    """Also if a run was cut off, which a sync would record."""
    put_record(root, **DAILY_JOB)
    ledger = Ledger(str(root))
    reconciler(root, ledger).sync()
    page = root / "cron" / "output" / "sound" / OUTPUT
    page.parent.mkdir(parents=True)
    page.write_text("# Cron Job: sound\n\n## Response\n\nfine\n")
    cut_off_run(root, "sound")
    selection = UnwatchedSelection(str(root), ledger)
    api = InProcessApi(make_app(selection, JobService(selection), Authenticator(str(root))),
                       token.get_or_create(str(root)))
    before, names = files(root), sorted(map(str, root.rglob("*")))
    assert api.call("GET", path + QUERIES[path])[0] == 200
    assert files(root) == before and sorted(map(str, root.rglob("*"))) == names
    assert os.listdir(root / "cron" / "oscron" / "runs") == ["sound"]


def test_no_get_request_imports_croniter(root: Path, tmp_path: Path) -> None:
    put_record(root, **DAILY_JOB)
    log = tmp_path / "serve.log"

    def imports_croniter() -> bool:
        return bool(re.search(r"^import time:.*\| +croniter$", log.read_text(), re.M))

    with serving("--scheduler", "foreground", log=log, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as url:
        api = Api(url, read_token(root))
        for path, query in QUERIES.items():
            api.call("GET", path + query)
        assert len(api.get("/api/crons")["jobs"]) == 2
        assert not imports_croniter()
        api.create(schedule="0 9 * * 1")
        assert imports_croniter()
