"""All verbs in any order, against a model that is a dictionary."""

import datetime
import json
from contextlib import ExitStack
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hermes_oscron.hermes.home import SAFE_NAME
from hermes_oscron.schedule.model import interval
from hermes_oscron.schedulers.protocol import Plan
from tests.fuzz.world import new_world

SCHEDULES = {
    "0 9 * * *": ("cron", "0 9 * * *"), "weekdays at 9:30": ("cron", "30 9 * * 1-5"), "*/15 * * * *": ("cron", None),
    "every 2h": ("interval", "every 2h"), "90m": ("interval", "every 90m"), "2040-02-29T12:00": ("once", None),
}
NO_SCHEDULES = ["", "x", "0 0 30 2 *", "every 0m", "61 * * * *", "2020-01-01T00:00", "9999-01-01", "\0", "0 9 * * * *"]
TEXTS = st.text(st.characters(codec=None), min_size=1, max_size=20).filter(lambda text: "\0" not in text)
PROMPTS = TEXTS.filter(lambda text: text.strip())
SKILLS = TEXTS.filter(lambda text: text == text.strip())
"""Skills as the agent reads them: without white space around them, and each once."""
OF_A_JOB = ["update", "pause", "resume", "delete", "run"]
NO_BODIES = [b"", b"{", b"[]", b"null", b'"x"', b"7", b"\xff", b'{"job_id": }', b"[" * 100_000, b'{"a": 1' + b" " * 99]
NO_IDS = [None, "", 7, True, [], {}, "../x", "a/b", ".x", "x" * 65, "a b", "a\n", "é", "\0", "%n", "a:b"]
FIELDS = {
    "name": TEXTS, "prompt": PROMPTS, "deliver": TEXTS, "model": TEXTS, "provider": TEXTS,
    "repeat": st.integers(1, 3), "skills": st.lists(SKILLS, max_size=3, unique=True),
    "toast_notifications": st.booleans(),
}
WRONG: list[dict[str, Any]] = [
    {"name": 7}, {"prompt": []}, {"repeat": 0}, {"repeat": -1}, {"repeat": True}, {"repeat": 1.5}, {"repeat": 10**30},
    {"skills": "x"}, {"skills": [1]}, {"enabled": "yes"}, {"toast_notifications": 1}, {"schedule": 5}, {"id": "x"},
    {"state": "gone"}, {"next_run_at": "x"}, {"created_at": 1}, {"last_status": "ok"}, {"nobody": 1}, {"": 1},
    {"profile": "nobody"}, {"workdir": "not/absolute"}, {"workdir": "/nowhere"}, {"script": "../x"}, {"deliver": {}},
    {"name": "x" * 201}, {"script": "\0"}, {"name": "\0"}, {"skills": ["\0"]},
    {"name": float("nan")}, {"policy": 7}, {"policy": {"timeout": 0}}, {"policy": {"nosuch": 1}},
    {"no_agent": True}, {"theirs": 1},
]


def optional(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


class Verbs(RuleBasedStateMachine):
    """`model` has the expected fields of each job; the fields that must not be lost are in its record beside it."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.stack.enter_context(new_world())
        self.model: dict[str, dict[str, Any]] = {}
        self.theirs: dict[str, Any] = {}
        self.runs: list[str] = []
        self.gone = ["nobody", "a.b"]

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def foreign_keys(self) -> None:
        self.world.put({"jobs": [], "theirs": [1, {"a": None}]})

    def expect(self, job: Any, job_id: str) -> None:
        wanted = self.model[job_id]
        assert {key: job[key] for key in wanted} == {**wanted, "name": wanted["name"].strip()}  # as the agent lists it
        assert (job["next_run_at"] is not None) == wanted["enabled"]
        if job["next_run_at"]:
            assert datetime.datetime.fromisoformat(job["next_run_at"]) > datetime.datetime.now(datetime.UTC)

    def apply(self, wanted: dict[str, Any], given: dict[str, Any]) -> None:
        for key, value in sorted(given.items(), key=lambda item: item[0] != "schedule"):
            if key == "repeat":
                wanted["repeat"] = {**wanted["repeat"], "times": value}
            elif key == "schedule":
                kind, expression = SCHEDULES[value]
                if wanted.get("kind") != kind and wanted["repeat"]["times"] in (None, 1):
                    wanted["repeat"] = {"times": 1 if kind == "once" else None, "completed": 0}
                wanted["kind"], wanted["schedule"] = kind, expression
            elif key == "enabled":
                self.set_enabled(wanted, value)
            else:
                wanted[key] = value

    def set_enabled(self, wanted: dict[str, Any], enabled: bool) -> None:
        wanted.update(enabled=enabled, state="scheduled" if enabled else "paused")

    def settled(self, job: Any, wanted: dict[str, Any]) -> dict[str, Any]:
        """`wanted` with the schedule as the job shows it, once that has been checked."""
        kind, expression = wanted.pop("kind"), wanted.pop("schedule")
        assert job["schedule"]["kind"] == kind and expression in (None, job["schedule"]["expression"])
        return {**wanted, "schedule": job["schedule"]}

    @rule(target=ids, schedule=st.sampled_from(list(SCHEDULES)), prompt=PROMPTS, given=optional(
        **FIELDS, enabled=st.booleans()))
    def create(self, schedule: str, prompt: str, given: dict[str, Any]) -> Any:
        status, answer = self.world.post("create", {"prompt": prompt, "schedule": schedule, **given})
        assert (status, answer["ok"]) == (200, True), answer
        job = answer["job"]
        assert SAFE_NAME.fullmatch(job["id"]) and job["id"] not in self.model
        wanted: dict[str, Any] = {
            "prompt": prompt, "deliver": "local", "skills": [], "model": None, "provider": None, "last_run_at": None,
            "toast_notifications": True, "enabled": True, "state": "scheduled",
            "repeat": {"times": None, "completed": 0},
        }
        self.apply(wanted, {"schedule": schedule, **given})
        if not str(wanted.get("name", "")).strip():
            wanted["name"] = wanted["prompt"].strip()[:50].strip()
        self.model[job["id"]] = self.settled(job, wanted)
        self.expect(job, job["id"])
        return job["id"]

    @rule(job_id=ids, given=optional(**FIELDS, schedule=st.sampled_from(list(SCHEDULES)), enabled=st.booleans()))
    def update(self, job_id: str, given: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(self.model[job_id]))
        shown = wanted.pop("schedule")
        wanted.update(kind=shown["kind"], schedule=shown["expression"])
        self.apply(wanted, given)
        if not wanted["name"].strip():
            wanted["name"] = wanted["prompt"].strip()[:50].strip()
        status, answer = self.world.post("update", {"job_id": job_id, "model": None, **given})
        assert status == 200, answer
        self.model[job_id] = self.settled(answer["job"], wanted)
        self.expect(answer["job"], job_id)

    @rule(job_id=ids, reason=st.none() | TEXTS)
    def pause(self, job_id: str, reason: str | None) -> None:
        was_enabled = self.model[job_id]["enabled"]
        self.set_enabled(self.model[job_id], False)
        status, answer = self.world.post("pause", {"job_id": job_id, "reason": reason})
        assert status == 200, answer
        self.expect(answer["job"], job_id)
        assert answer["job"]["paused_at"]
        assert not was_enabled or answer["job"]["paused_reason"] == reason

    @rule(job_id=ids)
    def resume(self, job_id: str) -> None:
        self.set_enabled(self.model[job_id], True)
        status, answer = self.world.post("resume", {"job_id": job_id})
        assert status == 200, answer
        self.expect(answer["job"], job_id)

    @rule(job_id=consumes(ids))
    def delete(self, job_id: str) -> None:
        assert self.world.post("delete", {"job_id": job_id}) == (200, {"ok": True, "job_id": job_id})
        del self.model[job_id]
        self.theirs.pop(job_id, None)
        self.gone.append(job_id)

    @rule(job_id=ids)
    def run(self, job_id: str) -> None:
        answer = self.world.post("run", {"job_id": job_id})
        assert answer == (200, {"ok": True, "job_id": job_id, "status": "running"})
        self.runs.append(f"default:{job_id}")

    @rule(job_id=ids)
    def look(self, job_id: str) -> None:
        assert self.world.get("/status", job_id=job_id) == (200, {"job_id": job_id, "running": False, "elapsed": 0.0})
        assert self.world.get("/output", job_id=job_id) == (200, {"job_id": job_id, "outputs": []})
        self.expect(self.world.service.show(job_id), job_id)

    @rule(job_id=ids, value=st.integers() | TEXTS)
    def another_program_adds_a_key(self, job_id: str, value: Any) -> None:
        document = self.world.document()
        next(record for record in document["jobs"] if record["id"] == job_id)["theirs"] = {"is": [value]}
        self.world.put(document)
        self.theirs[job_id] = {"is": [value]}

    @rule()
    def a_stray_timer_is_armed(self) -> None:
        self.world.scheduler.armed = {"default:stray": Plan("default:stray", interval(60), ZoneInfo("UTC"), None)}
        report = self.world.sync()
        assert report.disarmed == ["default:stray"] and not report.problems

    @rule()
    def sync(self) -> None:
        before = self.world.jobs_file.read_bytes()
        report = self.world.sync()
        assert (report.armed, report.disarmed, report.problems) == ([], [], [])
        assert self.world.jobs_file.read_bytes() == before

    # What is refused, and changes nothing

    def refused(self, verb: str, body: Any, *allowed: int, raw: bytes | None = None) -> None:
        before = self.world.jobs_file.read_bytes()
        status, answer = self.world.call("POST", f"/api/crons/{verb}", body, raw=raw)
        assert status in allowed and set(answer) == {"error"}, (status, answer)
        assert answer["error"].strip() and self.world.jobs_file.read_bytes() == before

    @rule(verb=st.sampled_from(OF_A_JOB), data=st.data())
    def unknown(self, verb: str, data: st.DataObject) -> None:
        self.refused(verb, {"job_id": data.draw(st.sampled_from(self.gone))}, 404)

    @rule(verb=st.sampled_from(OF_A_JOB), job_id=st.sampled_from(NO_IDS))
    def malformed_id(self, verb: str, job_id: Any) -> None:
        self.refused(verb, {"job_id": job_id}, 400)
        if isinstance(job_id, str):
            assert self.world.get("/output", job_id=job_id)[0] == self.world.get("/status", job_id=job_id)[0] == 400

    @rule(verb=st.sampled_from(["create", *OF_A_JOB]), raw=st.sampled_from(NO_BODIES))
    def malformed_body(self, verb: str, raw: bytes) -> None:
        self.refused(verb, None, 400, raw=raw)

    @rule(job_id=ids, wrong=st.sampled_from(WRONG))
    def wrong_update(self, job_id: str, wrong: dict[str, Any]) -> None:
        self.refused("update", {"job_id": job_id, "name": "other", **wrong}, 400)

    @rule(wrong=st.sampled_from(WRONG))
    def wrong_create(self, wrong: dict[str, Any]) -> None:
        self.refused("create", {"prompt": "x", "schedule": "every 2h", **wrong}, 400)

    @rule(job_id=ids, schedule=st.sampled_from(NO_SCHEDULES))
    def no_schedule(self, job_id: str, schedule: str) -> None:
        self.refused("create", {"prompt": "x", "schedule": schedule}, 400)
        self.refused("update", {"job_id": job_id, "name": "other", "schedule": schedule}, 400)

    @rule(job_id=ids, verb=st.sampled_from(OF_A_JOB[1:]), key=st.sampled_from(["x", "name", ""]))
    def extra_key(self, job_id: str, verb: str, key: str) -> None:
        self.refused(verb, {"job_id": job_id, key: "x"}, 400)

    @rule(job_id=ids, prompt=st.sampled_from(["", " \n"]))
    def empty_prompt(self, job_id: str, prompt: str) -> None:
        self.refused("update", {"job_id": job_id, "prompt": prompt}, 400)
        self.refused("create", {"schedule": "every 2h", "prompt": prompt}, 400)

    # What always holds

    @invariant()
    def the_list_equals_the_model(self) -> None:
        listed = self.world.jobs()
        assert list(listed) == list(self.model)
        for job_id, job in listed.items():
            self.expect(job, job_id)
        assert self.world.get("/status") == (200, {"running": {}})

    @invariant()
    def enabled_jobs_are_armed(self) -> None:
        armed = self.world.scheduler.armed
        assert armed.keys() == {f"default:{job_id}" for job_id, job in self.model.items() if job["enabled"]}
        for instance, plan in armed.items():
            job = self.model[instance.removeprefix("default:")]
            assert plan.schedule._asdict() == job["schedule"] and not plan.paused
        assert self.world.scheduler.ran == self.runs

    @invariant()
    def the_file_has_the_jobs_and_foreign_keys(self) -> None:
        stored = self.world.stored()
        assert stored.keys() == self.model.keys() and len(stored) == len(self.world.document()["jobs"])
        assert {job_id: record["theirs"] for job_id, record in stored.items() if "theirs" in record} == self.theirs
        if self.world.jobs_file.exists():
            assert self.world.document()["theirs"] == [1, {"a": None}]


TestVerbs = Verbs.TestCase
TestVerbs.settings = settings(max_examples=300, stateful_step_count=30, deadline=None,
                              suppress_health_check=list(HealthCheck))
