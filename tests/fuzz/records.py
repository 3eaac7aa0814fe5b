"""Records of jobs as no program should leave them, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from hermes_oscron.jobs import policy

CRON = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}


def record(job_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": job_id, "name": job_id, "prompt": "x", "schedule": CRON, "enabled": True, "state": "scheduled",
            "next_run_at": "2030-01-01T09:00:00+00:00", "created_at": "2026-01-01T09:00:00+00:00",
            "repeat": {"times": None, "completed": 0}, "theirs": {"kept": [1, "é"]}, **fields}


DATES = st.sampled_from(["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "9999-12-31", "0001-01-01T00:00:00",
                         "2026-01-01T00:00:00", "2026-06-01T00:00:00.5+23:59", "1969-12-31", "x", "", -62135596800,
                         253402300799, 1e300, -1e300, 0, -1, 5e-324, 10**30])
DIGITS = ["9" * 5000, "0" * 5000 + "1", "9" * 4300, "1" * 10, "-" + "9" * 5000, "1e400", "\u0663" * 9, "1_000"]
"""Numbers that parsers trip over: Python refuses more than 4,300 digits (int, sys.set_int_max_str_digits)."""
NUMERALS = st.builds(str.format, st.sampled_from([
    "{}", "0 9 * * 1#{}", "0 9 * * mon-wed#{}", "0 9 * * l{}", "0 9 l{} * *", "0 9 {}w * *", "0 9 {} * *",
    "*/{} * * * *", "0-{} * * * *", "1,{} * * * *", "every {}m", "in {}d", "every monday at {}am", "{}-01-01T00:00:00",
    "2026-01-01T00:00:{}", "2026-01-01T00:00:00.{}", "2026-01-01T00:00:00+{}"]), st.sampled_from(DIGITS))
ODD = st.sampled_from([float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 10**4000, 10**4300 - 1, "\ud800",
                       "\0", "x\n",
                       "x" * 200_000, True, False, None, 0, 1, -1, [], {}, [[]], {"": {}}, "paused", "completed",
                       "cron", "interval", "once", "one", "sound", "../../etc", "0 9 * * *", "99 99 * * *",
                       "* * 31 2 *"])
ANYTHING = st.recursive(DATES | ODD | NUMERALS | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)
                        | st.dictionaries(st.sampled_from(["kind", "expr", "minutes", "run_at", "times", "completed",
                                                           "at", "id", "x"]), inner, max_size=4), max_leaves=6)
SCHEDULES = st.one_of(
    st.builds(lambda expr: {"kind": "cron", "expr": expr}, ODD | NUMERALS | st.text("0123456789*/,-L# ", max_size=20)),
    st.builds(lambda minutes: {"kind": "interval", "minutes": minutes}, ODD | st.integers(-2, 10**8)),
    st.builds(lambda run_at: {"kind": "once", "run_at": run_at}, DATES | ODD | NUMERALS))
KEYS = ["id", "name", "prompt", "enabled", "state", "next_run_at", "created_at", "last_run_at", "paused_at", "repeat",
        "schedule", "deliver", "skills", "script", "no_agent", "profile", "last_status", "last_error", "run_claim",
        "fire_claim", "armed_at", "toast_notifications", "workdir", "schedule_display", "theirs", "owner_profile",
        "policy", "policy_retry", "failure_streak"]
POLICIES = st.dictionaries(st.sampled_from([*policy.KEYS, "nosuch"]), ANYTHING | st.sampled_from(
    ["15m", "512M", "50%", 5, 1.5, "queue", "all", [3], ["error"], {"A": "x"}, {"key": "/etc/passwd"}, "Asia/Tokyo",
     "2026-12-24", ["2026-12-24..2027-01-01"], "/etc/passwd"]), max_size=4)
CHANGES = st.dictionaries(st.sampled_from(KEYS), ANYTHING | DATES | SCHEDULES | POLICIES, min_size=1, max_size=5)
