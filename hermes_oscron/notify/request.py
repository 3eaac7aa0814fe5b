"""Wake up the process that sends alerts, if there may be something to send.

It is a unit of its own with a pipe under systemd; elsewhere a detached process, which makes the pipe while it runs.
A run that went well only looks at the settings.
"""

import errno
import os
import sys

from .. import config
from ..errors import cause
from ..hermes.home import Home
from ..jobs.record import OK, Record, next_run_of
from ..runs.model import Run
from ..schedulers.active import active_scheduler
from ..schedulers.protocol import SchedulerError
from ..state import State

LATE_S = 120.0
"""A run that begins later than this after its time is a catch-up; see `runs/entries.py`."""
PIPE = "hermes-oscron-notify"
"""The pipe of hermes-oscron-notify.socket in systemd's folder."""
COMMAND = (sys.executable, "-I", "-m", "hermes_oscron.notify")


def is_wanted(root: str) -> bool:
    """Return True if `root` has receivers of alerts or metrics; while oscron.toml has an error, if it had some."""
    try:
        settings = config.load(root)
    except config.ConfigError:
        return os.path.exists(State(root).alerts)
    return settings.notify.has_messages or bool(settings.notify.ping or settings.textfile) or os.path.exists(
        State(root).alerts)


def after_begin(home: Home, record: Record) -> None:
    """Request that the begin of a run of the job of `record` is signalled, if it has a ping. Raises SchedulerError."""
    try:
        if _notify_of(home, record, config.load(home.root)).ping:
            request(home.root)
    except config.ConfigError:  # the run fails with it, which is signalled
        pass


def after_run(home: Home, run: Run, before: Record, after: Record | None, error: str | None) -> None:
    """Request that alerts are sent after `run`, unless nothing can be to send. Raises SchedulerError.

    `before` and `after` are the records of the job before the run and after it.
    """
    try:
        settings = config.load(home.root)
        notify = _notify_of(home, before, settings)
        always = notify.ping or settings.textfile or (notify.has_messages and "success" in notify.on)
        if not always and not notify.has_messages:
            return
    except config.ConfigError:  # the sender has the last settings
        always = True
    due = next_run_of(before)
    is_late = bool(run.due and due and run.started_at - due.timestamp() > LATE_S)
    went_well = error is None and all(record.get("last_status") in (OK, None) for record in (before, after or {}))
    if always or is_late or not went_well:
        request(home.root)


def _notify_of(home: Home, record: Record, settings: config.Config) -> config.Notify:
    """Return the settings that hold for the job of `record`. A policy of another form is refused elsewhere."""
    policy = record.get("policy")
    own = policy.get("notify") if isinstance(policy, dict) else None
    common = settings.policy_of(home.profile).get("notify") or {}
    return settings.notify.of_job({"notify": {**common, **own} if isinstance(own, dict) else common})


def request(root: str) -> None:
    """Wake up the process that sends the alerts of `root`, or start one. Raises SchedulerError."""
    kind = active_scheduler(root)
    if kind == "systemd":
        from ..schedulers.systemd.systemctl import own_systemctl

        path = f"{own_systemctl().runtime_dir}/{PIPE}"
    else:
        path = State(root).notifier
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if kind == "systemd":
            raise SchedulerError(f"Alerts cannot be requested through {path}: {cause(error)}") from error
        if error.errno not in (errno.ENOENT, errno.ENXIO):
            raise SchedulerError(f"{path}: {cause(error)}") from error
        from ..schedulers import spawn

        spawn.start_detached(COMMAND)
        return
    try:
        os.write(pipe, b"\n")
    except BlockingIOError:  # it is full: there are requests already
        pass
    finally:
        os.close(pipe)
