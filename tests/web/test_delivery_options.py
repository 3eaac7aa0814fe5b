import json
import subprocess
import time
from pathlib import Path
from typing import Any

from ..agent.conftest import AGENT
from ..conftest import Api, write_jobs

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
PLATFORMS_OF_THE_AGENT = """
import json
from cron import scheduler
try:
    from cron.scheduler import _KNOWN_DELIVERY_PLATFORMS as known
except ImportError:
    from cron.scheduler_delivery import _KNOWN_DELIVERY_PLATFORMS as known
print(json.dumps([*known, *scheduler._iter_home_target_platforms()]))
"""


def values(api: Api) -> list[str]:
    platforms = api.get("/api/crons/delivery-options")["platforms"]
    assert all(set(platform) == {"value", "label"} and platform["label"] for platform in platforms)
    return [platform["value"] for platform in platforms]


def record(job_id: str, deliver: Any) -> dict[str, Any]:
    return {"id": job_id, "prompt": "p", "schedule": DAILY, "deliver": deliver}


def test_local_and_origin_come_first(api: Api) -> None:
    offered = values(api)
    assert offered[:2] == ["local", "origin"]
    assert {"telegram", "discord", "slack", "signal", "matrix", "feishu"} <= set(offered)


def test_every_platform_of_the_installed_agent_is_offered(api: Api, root: Path) -> None:
    said = subprocess.run([AGENT / "python", "-P", "-c", PLATFORMS_OF_THE_AGENT], env={"HERMES_HOME": str(root)},
                          check=True, capture_output=True, timeout=60)
    platforms = json.loads(said.stdout.splitlines()[-1])
    assert len(platforms) > 15 and set(platforms) <= set(values(api))


def test_the_answer_does_not_wait_for_the_agent(api: Api, root: Path) -> None:
    (root / "oscron.toml").write_text(f'[exec]\nagent = "{AGENT}/hermes"\n')
    started = time.monotonic()
    assert "telegram" in values(api)
    assert time.monotonic() - started < 0.5  # the agent needs more to start


def test_what_is_saved_in_any_job_is_offered(api: Api, root: Path) -> None:
    write_jobs(root, record("a", "telegram:-100:17"), record("b", ["slack", "matrix"]), record("c", "telegram"),
               record("d", None), record("e", ["local"]))
    write_jobs(root / "profiles" / "work", record("a", "their_platform:1"))
    offered = values(api)
    assert offered[-3:] == ["telegram:-100:17", "slack,matrix", "their_platform:1"]
    assert len(set(offered)) == len(offered)


def test_an_unreadable_profile_hides_no_target(api: Api, root: Path) -> None:
    (root / "profiles" / "work" / "cron").mkdir(parents=True)
    (root / "profiles" / "work" / "cron" / "jobs.json").write_text("{")
    assert "telegram" in values(api)
