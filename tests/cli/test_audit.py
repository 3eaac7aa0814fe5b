import datetime
import json
import os
from pathlib import Path

from .conftest import Cli


def test_the_command_prints_what_it_finds_and_fails(cli: Cli, root: Path) -> None:
    job = cli.json("create", "0 9 * * *", "say hello")
    assert cli.out("audit") == "Audited 1 job: 0 occurrences, 0 rows: OK, each occurrence has one row.\n"
    folder = root / "cron" / "output" / job["id"]
    folder.mkdir(parents=True)
    (folder / "2026-03-02_12-00-00.md").write_text("# Cron Job: a\n")
    future = datetime.datetime.now(datetime.UTC).timestamp() + 30
    os.utime(folder / "2026-03-02_12-00-00.md", (future, future))
    cli.run("sync")
    found = cli.run("audit", job["id"])
    assert found.returncode == 1 and found.stdout.startswith(f"MISSING: default:{job['id']} at ")
    [answer] = json.loads(cli.run("audit", f"default:{job['id']}", "--json").stdout)
    assert answer["job_id"] == job["id"] and [each["kind"] for each in answer["discrepancies"]] == ["missing"]
    assert "not in the ledger" in cli.refused("audit", "ffffffffffff")


def test_a_time_limits_the_audit(cli: Cli) -> None:
    cli.out("create", "0 9 * * *", "say hello")
    assert "OK" in cli.out("audit", "--since", "2027-03-15T09:00")
    assert "not an ISO time" in cli.refused("audit", "--since", "soon", code=2)
