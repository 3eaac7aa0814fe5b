"""The fields of the agent's own create and update: accepted and stored as the agent at hand stores them."""

from pathlib import Path
from typing import Any

import pytest

from hermes_oscron.jobs.fields import FIELDS, ValidationError
from tests.agent.model import Model
from tests.agent.test_fire import agent
from tests.conftest import write_script
from tests.runner.jobs import make, make_script, record, service

OURS = {"enabled", "profile", "toast_notifications"}
NOT_OF_CLIENTS = {"origin", "skill"}
"""The agent's gateway sets the origin; `skill` is the old form of `skills`."""
VALUES: dict[str, Any] = {
    "prompt": "Say ping.", "name": "n", "repeat": 3, "deliver": "local", "skills": ["a"], "model": "m", "provider": "p",
    "base_url": "http://127.0.0.1:1/v1/", "script": "a.sh", "context_from": ["self"], "enabled_toolsets": ["web"],
    "workdir": "/tmp", "attach_to_session": False, "monitor_script": "a.sh", "reasoning_effort": "HIGH",
    "failure_deliver": "telegram", "interpreter": "~/venv/bin/python",
}
SCHEDULED = {"id", "schedule", "schedule_display", "created_at", "next_run_at", "armed_at"}


def fields_of_agent(root: Path) -> set[str]:
    return set(agent(root, "import inspect; from cron.jobs import create_job; "
                           "answer = list(inspect.signature(create_job).parameters)"))


@pytest.fixture
def has_newer_fields(hermes: Path) -> bool:
    return "monitor_url" in fields_of_agent(hermes)


def test_every_field_of_the_agent_s_create_is_accepted(hermes: Path) -> None:
    assert fields_of_agent(hermes) - NOT_OF_CLIENTS <= FIELDS.keys()


@pytest.mark.parametrize("given", [
    {}, {"no_agent": True, "script": "a.sh"}, {"model": "m", "provider": "p", "base_url": "http://127.0.0.1:1/v1/"},
    VALUES,
])
def test_a_record_is_the_one_that_the_agent_s_create_writes(hermes: Path, given: dict[str, Any]) -> None:
    write_script(hermes, "a.sh", "echo hi\n")
    known = fields_of_agent(hermes)
    given = {"prompt": "Say ping."} | {name: value for name, value in given.items() if name in known}
    ours = record(hermes, make(hermes, **given))
    theirs = agent(hermes, f"from cron.jobs import create_job; answer = create_job(schedule='0 9 * * *', **{given!r})")
    unset = {"last_delivery_unverified": None, "last_failure": None, "failure_streak": 0, "monitor_state": None,
             "monitor_script": None, "monitor_url": None}
    for name, value in theirs.items():
        if name not in SCHEDULED and not (name in unset and value == unset[name] and name not in ours):
            assert ours[name] == value, name
    assert {name for name, value in ours.items() if value is not None} - theirs.keys() <= OURS | SCHEDULED


def test_an_update_stores_what_the_agent_s_update_stores(hermes: Path) -> None:
    known = fields_of_agent(hermes)
    write_script(hermes, "a.sh", "echo hi\n")
    changes = {name: value for name, value in VALUES.items() if name in known and name not in ("repeat", "prompt")}
    first, second = make(hermes), make(hermes)
    service(hermes).update(first, changes)
    agent(hermes, f"from cron.jobs import update_job; answer = update_job('{second}', {changes!r})")
    ours, theirs = record(hermes, first), record(hermes, second)
    for name in (*changes, "skill"):
        expected = theirs[name]
        if name == "base_url":  # only the agent's create removes the last slash
            expected = expected.rstrip("/")
        assert ours[name] == expected, name
    assert ours.get("model_snapshot") == theirs.get("model_snapshot")


def test_an_empty_text_clears_a_field(hermes: Path, has_newer_fields: bool) -> None:
    job_id = make(hermes, model="m", base_url="http://127.0.0.1:1", **({"reasoning_effort": "low"}
                                                                       if has_newer_fields else {}))
    service(hermes).update(job_id, {"model": "", "base_url": "", "reasoning_effort": ""})
    assert [record(hermes, job_id).get(name) for name in ("model", "base_url", "reasoning_effort")] == [None] * 3


def test_snapshots_are_those_of_the_agent_and_none_where_it_has_none(hermes: Path, has_newer_fields: bool) -> None:
    job_id = make(hermes)
    if has_newer_fields:
        assert "model_snapshot" not in record(hermes, job_id)
        return
    before = record(hermes, job_id)
    assert before["model_snapshot"] and before["provider_snapshot"]
    service(hermes).update(job_id, {"model": "other", "provider": "p"})
    assert (record(hermes, job_id)["model_snapshot"], record(hermes, job_id)["provider_snapshot"]) == (None, None)
    service(hermes).update(job_id, {"model": "", "provider": ""})
    assert record(hermes, job_id)["model_snapshot"] == before["model_snapshot"]
    assert record(hermes, make_script(hermes, "true\n"))["model_snapshot"] is None


def test_a_pinned_job_keeps_the_agent_s_present_model(hermes: Path, has_newer_fields: bool) -> None:
    if not has_newer_fields:
        with pytest.raises(ValidationError, match="agent has no 'pinned'"):
            make(hermes, pinned=True)
        return
    job_id = make(hermes, pinned=True)
    pinned = record(hermes, job_id)
    assert pinned["model"] and pinned["provider"] and "pinned" not in pinned
    service(hermes).update(job_id, {"pinned": False})
    assert (record(hermes, job_id)["model"], record(hermes, job_id)["provider"]) == (None, None)
    service(hermes).update(job_id, {"pinned": True})
    assert record(hermes, job_id)["model"] == pinned["model"]
    assert record(hermes, make(hermes, pinned=True, model="mine"))["model"] == "mine"


@pytest.mark.parametrize("field", ["monitor_script", "reasoning_effort", "failure_deliver", "interpreter"])
def test_a_field_that_the_agent_does_not_have_is_refused_and_nothing_is_stored(
        hermes: Path, has_newer_fields: bool, field: str) -> None:
    if has_newer_fields:
        make(hermes, **{field: VALUES[field]})
        return
    job_id = make(hermes)
    before = (hermes / "cron" / "jobs.json").read_bytes()
    for refused in (lambda: make(hermes, **{field: VALUES[field]}),
                    lambda: service(hermes).update(job_id, {field: VALUES[field]})):
        with pytest.raises(ValidationError, match=f"agent has no '{field}'"):
            refused()
    assert (hermes / "cron" / "jobs.json").read_bytes() == before


def test_a_snapshot_is_of_the_profile_that_the_job_runs_in(hermes: Path, model: Model, has_newer_fields: bool) -> None:
    (hermes / "profiles" / "work" / "cron").mkdir(parents=True)
    (hermes / "profiles" / "work" / "config.yaml").write_text(model.config.replace("stub-model", "work-model"))
    job_id = make(hermes, profile="work", **({"pinned": True} if has_newer_fields else {}))
    field = "model" if has_newer_fields else "model_snapshot"
    assert record(hermes, job_id)[field] == "work-model"
    if not has_newer_fields:
        service(hermes).update(job_id, {"profile": ""})
        assert record(hermes, job_id)[field] == "stub-model"
