"""GET /api/gateway/status: the Tasks panel warns unless this reports a gateway that runs."""

from pathlib import Path

from hermes_oscron.schedulers.active import set_disarmed

from ..conftest import Api, write_jobs

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def test_it_runs_if_the_jobs_fire(api: Api) -> None:
    assert api.get("/api/gateway/status") == {
        "configured": True, "running": True, "platforms": [], "last_active": "", "session_count": 0,
        "health": {"state": "alive", "reason": None, "gateway_state": "running"}}


def test_it_does_not_run_if_no_scheduler_can_fire(idle_api: Api) -> None:
    answer = idle_api.get("/api/gateway/status")
    assert (answer["configured"], answer["running"]) == (True, False)
    assert (answer["health"]["state"], answer["health"]["gateway_state"]) == ("down", "stopped")
    assert "systemd" in answer["health"]["reason"]


def test_it_was_last_active_when_the_last_run_ended(api: Api, root: Path) -> None:
    write_jobs(root, {"id": "a", "schedule": DAILY, "last_run_at": "2026-03-15T12:00:00+00:00"},
               {"id": "b", "schedule": DAILY, "last_run_at": 1773583200}, {"id": "c", "schedule": DAILY},
               {"id": "d", "schedule": DAILY, "last_run_at": "yesterday"})
    assert api.get("/api/gateway/status")["last_active"] == "2026-03-15T14:00:00+00:00"


def test_it_needs_the_token(api: Api) -> None:
    assert api.with_token(None).call("GET", "/api/gateway/status")[0] == 401
    assert api.call("GET", "/api/gateway/status", headers={"Origin": "http://evil.example"})[0] == 403


def test_it_does_not_run_while_the_jobs_are_disarmed(api: Api, root: Path) -> None:
    set_disarmed(str(root), True)
    answer = api.get("/api/gateway/status")
    assert (answer["configured"], answer["running"], answer["health"]["state"]) == (True, False, "down")
    assert "'hermes-oscron arm'" in answer["health"]["reason"]
