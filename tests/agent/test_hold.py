"""The holds that the agent itself plans, where it has them (from 0.22 on)."""

import datetime
from pathlib import Path

import pytest

from hermes_oscron.jobs.record import HOLD_FIELDS, hold_of
from tests.agent.test_fire import agent
from tests.runner.jobs import make, reconciler, record, service

SIX_HOURS_S = 6 * 3600
FAR = datetime.date.today() + datetime.timedelta(days=300)
YEARLY = f"0 9 1 {FAR.month} *"
"""Due in about 300 days; the agent plans a run of its own only if the next one is more than half a period away."""


@pytest.mark.parametrize(("schedule", "failure", "reason"), [
    ("*/10 * * * *", f"quota_hold_seconds={SIX_HOURS_S}", "quota"),
    (YEARLY, f"quota_hold_seconds={SIX_HOURS_S}, recover_consumed_fire=True", "quota"),
    ("every 10m", f"quota_hold_seconds={SIX_HOURS_S}", "quota"),
    (YEARLY, "model_unreachable=True", "model unreachable"),
    ("every 6h", "model_unreachable=True", "model unreachable"),
])
def test_a_hold_of_the_agent_is_kept_and_armed(hermes: Path, schedule: str, failure: str, reason: str) -> None:
    if not agent(hermes, "import inspect; from cron.jobs import mark_job_run\n"
                         "answer = 'quota_hold_seconds' in inspect.signature(mark_job_run).parameters"):
        pytest.skip("This agent has no holds.")
    job_id = make(hermes, schedule=schedule)
    agent(hermes, f"from cron.jobs import mark_job_run; answer = mark_job_run('{job_id}', False, 'no', {failure})")
    written = record(hermes, job_id)
    hold = hold_of(written)
    assert hold and hold.reason == reason
    reconciler(hermes).sync()
    assert record(hermes, job_id) == written
    assert service(hermes).show(job_id)["held"].endswith(f": {reason}")
    again = agent(hermes, f"from cron.jobs import mark_job_run; mark_job_run('{job_id}', True); answer = 0")
    assert again == 0 and not any(record(hermes, job_id).get(field) for field in HOLD_FIELDS)
    assert hold_of(record(hermes, job_id)) is None
