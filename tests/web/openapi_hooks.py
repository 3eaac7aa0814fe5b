"""Hooks for schemathesis (SCHEMATHESIS_HOOKS): values that only this server has, and an own client for every call.

schemathesis expects 401 for every wrong token. Many from one address get 429, which test_authentication.py tests.
"""

import contextlib
import itertools
from typing import Any

import schemathesis
import urllib3.connection
from hypothesis import strategies as st

from hermes_oscron.jobs import policy
from hermes_oscron.jobs.checks import ValidationError

NOT_HERE = (*policy.SYSTEMD_ONLY, "max_parallel")

CRON = st.builds("{} {} {} * *".format, st.integers(0, 59), st.integers(0, 23), st.integers(1, 28))
INTERVALS = st.builds("every {}{}".format, st.integers(2, 50), st.sampled_from("hd"))
TIMES = st.builds("20{}-03-15T09:00:00".format, st.integers(40, 90))
schemathesis.openapi.format("cron", CRON)
schemathesis.openapi.format("interval", INTERVALS)
schemathesis.openapi.format("once", TIMES)
schemathesis.openapi.format("schedule", st.one_of(
    CRON, INTERVALS, TIMES,
    st.builds("{} at {}:{:02}".format, st.sampled_from(["weekdays", "daily", "every monday"]), st.integers(1, 23),
              st.integers(0, 59)),
    st.builds("in {}h".format, st.integers(2, 90)),
))
schemathesis.openapi.format("script", st.sampled_from(["hello.sh", "not-there.py", "sub/folder.sh"]))
schemathesis.openapi.format("zone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
schemathesis.openapi.format("profile", st.sampled_from(["default", "work"]))
schemathesis.openapi.format("folder", st.sampled_from(["/", "/tmp"]))


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Update a job that does not exist if the prompt is empty: whether that is allowed depends on the job.

    Leave out the policies that depend on the scheduler, or on another key.
    """
    if case.operation.path == "/api/crons/update" and isinstance(case.body, dict) and case.body.get("prompt") == "":
        case.body["job_id"] = "000000000000"
    given = case.body.get("policy") if isinstance(case.body, dict) else None
    for key in NOT_HERE if isinstance(given, dict) else ():
        with contextlib.suppress(ValidationError):  # a wrong value is sent
            if policy.check("policy", {key: given.get(key)})[key] is not None:
                given.pop(key)


_addresses = (f"127.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in itertools.count(131072))
_connect = urllib3.connection.HTTPConnection.connect


def _connect_from_elsewhere(self: Any) -> None:
    self.source_address = (next(_addresses), 0)
    _connect(self)


urllib3.connection.HTTPConnection.connect = _connect_from_elsewhere  # type: ignore[method-assign]
