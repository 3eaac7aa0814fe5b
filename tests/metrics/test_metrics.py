"""The metrics agree with the ledger row by row, and are what Prometheus accepts."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hermes_oscron.hermes.home import Home
from hermes_oscron.metrics import exposition
from hermes_oscron.runs import ledger, retention
from hermes_oscron.runs.totals import DURATION_BUCKETS_S
from tests.conftest import Api, wait_for
from tests.runner.jobs import MANUAL, change_record, configure, fire, make, make_script, reconciler, service
from tests.runs.ledgers import rows

DOCS = Path(__file__).parents[2] / "docs"
PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.usefixtures("without_systemd_environment")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is part of the Debian package prometheus")
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def samples_in(text: str) -> Samples:
    """Return the values by name and labels, without the prefix of the names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name.removeprefix("hermes_oscron_"), {})[
                tuple(sorted(sample.labels.items()))] = sample.value
    return found


def samples(root: Path) -> Samples:
    return samples_in(exposition.text(str(root)).decode())


def labels(**of: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(of.items()))


def enter(home: Home, job_id: str, outcome: str, trigger: str, due: float, took_s: float, late_s: float = 0.0) -> None:
    usage = json.dumps({"input_tokens": 100, "output_tokens": 7, "estimated_cost_usd": 0.5})
    with ledger.writing(home) as books:
        if outcome in ledger.NOT_RUN:
            ledger.insert_not_run(books, job_id, "", due, outcome, "no reason")
            return
        row = ledger.begin_row(books, job_id, "", trigger, due, due + late_s)
        ledger.end_row(books, row, ledger.End(due + late_s + took_s, outcome, usage=usage))


@pytest.fixture
def filled(root: Path, home: Home) -> str:
    """The id of a job that has rows of each kind."""
    job_id = make(root, name='Say "hello"\n')
    now = time.time() - 10_000
    for number, outcome in enumerate(ledger.OUTCOMES * 3):
        enter(home, job_id, outcome, ledger.TRIGGERS[number % 4], now + 300 * number, number * 10.0, number / 4)
    return job_id


def assert_agrees(root: Path, found: Samples) -> None:
    """Compare `found` with each row of the ledger."""
    counted: dict[tuple[tuple[str, str], ...], float] = {}
    durations, latenesses = list[float](), list[float]()
    for row in rows(root):
        outcome = row.outcome or ""
        if outcome in ledger.NOT_RUN or not outcome:
            continue
        key = labels(profile="default", job=row.job, outcome=outcome, trigger=row.trigger)
        counted[key] = counted.get(key, 0) + 1
        assert row.started is not None and row.ended is not None
        durations += [row.ended - row.started] * (outcome != "interrupted")
        latenesses += [row.started - row.due] * (row.trigger in ledger.BY_SCHEDULE)
    assert found["runs_total"] == counted
    assert found["run_duration_seconds_count"] == {labels(profile="default"): len(durations)}
    assert found["run_duration_seconds_sum"][labels(profile="default")] == pytest.approx(sum(durations))
    assert found["start_lateness_seconds_sum"][labels(profile="default")] == pytest.approx(sum(latenesses))
    for limit in DURATION_BUCKETS_S:
        key = labels(profile="default", le=str(limit))
        assert found["run_duration_seconds_bucket"][key] == sum(each <= limit for each in durations)


def test_metrics_agree_with_the_ledger_row_by_row(root: Path, filled: str) -> None:
    found = samples(root)
    assert_agrees(root, found)
    of_job = labels(profile="default", job=filled)
    runs = [row for row in rows(root) if row.outcome not in ledger.NOT_RUN]
    assert found["tokens_total"] == {labels(profile="default", job=filled, direction="input"): 100.0 * len(runs),
                                     labels(profile="default", job=filled, direction="output"): 7.0 * len(runs)}
    assert found["cost_dollars_total"] == {of_job: 0.5 * len(runs)}
    assert found["occurrences_not_run"] == {
        labels(profile="default", job=filled, outcome=outcome): 3.0 for outcome in ledger.NOT_RUN}
    last = max(row.ended or 0 for row in runs if row.outcome == "ok")
    assert found["job_last_success_timestamp_seconds"][of_job] == pytest.approx(last)
    streak = [row.outcome in ("error", "timeout", "interrupted") for row in runs if (row.ended or 0) > last]
    assert found["job_failures_in_a_row"][of_job] == sum(streak) == 3
    assert found["job_info"] == {labels(profile="default", job=filled, name='Say "hello"'): 1.0}
    assert found["jobs"] == {labels(profile="default", state="scheduled"): 1.0}


def test_no_counter_goes_back_when_rows_are_removed(root: Path, home: Home, filled: str) -> None:
    before = samples(root)
    for kept in (10, 3):
        with ledger.writing(home) as books:
            retention.sweep(books, 0, kept, time.time())
    assert len(rows(root)) < 6
    after = samples(root)
    for name in before:
        if name.endswith(("_total", "_bucket", "_count", "_sum")):
            assert after[name] == pytest.approx(before[name]), name


def test_a_pause_and_a_run_are_seen(root: Path) -> None:
    job_id = make_script(root, "exit 3\n")
    service(root).pause(job_id)
    (root / "ESTOP").touch()
    fire(job_id, *MANUAL)
    found = samples(root)
    assert found["jobs"] == {labels(profile="default", state="paused"): 1.0}
    assert found["paused"] == {labels(profile="default"): 1.0}
    assert "job_next_run_timestamp_seconds" not in found


def test_a_damaged_ledger_is_a_metric(root: Path, home: Home) -> None:
    make(root)
    Path(home.state.ledger).write_bytes(b"no database" * 1000)
    found = samples(root)
    assert found["ledger_readable"] == {labels(profile="default"): 0.0}
    assert found["jobs_readable"] == {labels(profile="default"): 1.0}


@needs_promtool
def test_prometheus_finds_no_fault_in_the_metrics(root: Path, filled: str) -> None:
    checked = subprocess.run([str(PROMTOOL), "check", "metrics"], input=exposition.text(str(root)), capture_output=True,
                             check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@needs_promtool
def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    for file in (DOCS / "prometheus" / "rules.yml", Path(__file__).with_name("rules.test.yml")):
        shutil.copy(file, tmp_path)
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]):
        checked = subprocess.run([str(PROMTOOL), *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def names_in(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"hermes_oscron_([a-z_]+)", text)}


def test_page_rules_and_dashboard_have_the_metrics_that_there_are(root: Path, filled: str) -> None:
    text = exposition.text(str(root)).decode()
    known = set(re.findall(r"^# TYPE hermes_oscron_(\w+) ", text, re.M))
    page = (DOCS / "metrics.md").read_text()
    table = page.partition("## What there is")[2].partition("\n## ")[0]
    described = {name for row in table.splitlines() if row.startswith("| `")
                 for name in re.findall(r"`(\w+)(?:\{[^`]*)?`", row.split(" | ")[0])}
    assert described == known
    dashboard = json.loads((DOCS / "prometheus" / "dashboard.json").read_text())
    used = {name for panel in dashboard["panels"] for target in panel["targets"] for name in names_in(target["expr"])}
    assert names_in((DOCS / "prometheus" / "rules.yml").read_text()) | used - {""} <= known


def test_a_scrape_needs_the_token_and_agrees_with_the_ledger(api: Api, root: Path, filled: str) -> None:
    status, headers, body = api.send("GET", "/metrics", None, {"Authorization": f"Bearer {api.token}"}, None)
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert_agrees(root, samples_in(body.decode()))
    assert api.with_token(None).call("GET", "/metrics")[0] == 401


def test_the_file_is_written_after_runs_and_syncs(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "hermes.prom"
    configure(root, f'[metrics]\ntextfile = "{file}"\n')
    job_id = make_script(root, "true\n", schedule="* * * * *")
    wait_for(file.exists)
    change_record(root, job_id, next_run_at=time.strftime("%Y-%m-%dT%H:%M:00+00:00", time.gmtime()))
    fire(job_id)
    wait_for(lambda: "runs_total" in samples_in(file.read_text()))
    assert_agrees(root, samples_in(file.read_text()))
    assert file.stat().st_mode & 0o777 == 0o644
    before = file.stat().st_mtime_ns
    reconciler(root).sync()
    wait_for(lambda: file.stat().st_mtime_ns > before)


def test_the_file_is_complete_after_a_kill_at_any_step(root: Path, tmp_path: Path, filled: str) -> None:
    file = tmp_path / "hermes.prom"
    configure(root, f'[metrics]\ntextfile = "{file}"\n')
    command = [sys.executable, "-I", "-m", "hermes_oscron.notify"]
    subprocess.run(command, check=True, timeout=30)
    complete = samples_in(file.read_text())
    for step in range(20):
        writer = subprocess.Popen(command)
        time.sleep(0.02 * step)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert samples_in(file.read_text()) == complete, step
    assert [name for name in os.listdir(tmp_path) if name.endswith(".prom")] == ["hermes.prom"]
