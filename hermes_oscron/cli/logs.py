"""The command `logs`: the journal of a job's runs, by journalctl(1).

If root types it, the process that stays root runs journalctl, because the account may not read the system's journal. It
gets from that of the account what to look for, and checks it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import click

from .. import account
from ..errors import OscronError
from ..hermes.home import split_instance
from ..schedulers.crontab.scheduler import Crontab
from ..schedulers.foreground import Foreground
from ..schedulers.systemd.systemctl import own_systemctl
from .addressing import PROFILE_OPTION, find_job, job_argument
from .group import FOR_ROOT
from .runs import row_of

INVOCATION = re.compile(r"[0-9a-f]{32}")


class NoLog(OscronError):
    """The log of the runs is not in a journal that can be read."""


@click.command(epilog="Example: hermes-oscron logs disk -f")
@job_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@click.option("-n", "--lines", default=100, type=click.IntRange(min=1), show_default=True, help="How many lines.")
@click.option("--run", "run_id", type=click.IntRange(min=1), help="Only this RUN, as 'runs' numbers them.")
@click.option(FOR_ROOT, "for_root", is_flag=True, hidden=True)
@PROFILE_OPTION
def logs(job: str, follow: bool, lines: int, run_id: int | None, for_root: bool, in_profile: str | None) -> None:
    """Print the log of a job's runs.

    It has when they began and ended, and what they printed. 'output' prints what a run left, also without a journal.
    """
    found = _ask_account() if account.is_root_for_account() else _find(job, in_profile, run_id)
    if for_root:
        click.echo(json.dumps(found))
        return
    program = shutil.which("journalctl")
    if program is None:
        raise NoLog("There is no journalctl on this machine.", f"The lines of the syslog with hermes-job@ are the log; "
                                                               f"'hermes-oscron output {job}' prints the output.")
    arguments = [program, "--quiet", f"--lines={lines}", *(["--follow"] if follow else []), *_matches(found)]
    sys.stdout.flush()
    os.execv(program, arguments)


def _find(job: str, in_profile: str | None, run_id: int | None) -> dict[str, Any]:
    """Return the instance and its scheduler, and of a run the invocation, or the times of its begin and end."""
    here, job_id = find_job(job, in_profile)
    if here.scheduler == Foreground.kind:
        raise NoLog("The log of these jobs is the output of 'hermes-oscron serve', which runs them.",
                    f"'hermes-oscron output {job_id}' prints what the job printed.")
    found = {"instance": f"{here.home.profile}:{job_id}", "is_cron": here.scheduler == Crontab.kind,
             "is_user": own_systemctl().user, "invocation": None, "since": None, "until": None}
    if run_id:
        row = row_of(here.home, job_id, run_id)
        if row.started is None:
            raise NoLog(f"Run {run_id} of {job_id} never began: {row.reason}")
        found |= {"invocation": row.invocation, "since": int(row.started),
                  "until": int(row.ended) + 1 if row.ended else None}
    return found


def _ask_account() -> dict[str, Any]:
    """Return what `_find` finds as the account whose jobs these are."""
    done = subprocess.run([*sys.orig_argv, FOR_ROOT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return dict(json.loads(done.stdout))


def _matches(found: dict[str, Any]) -> list[str]:
    """Return the arguments by which journalctl finds the lines. Raises ValueError if the account made something up."""
    profile, job_id = split_instance(found["instance"])
    since, until = (found[key] if found[key] is None else int(found[key]) for key in ("since", "until"))
    times = [f"--{name}=@{moment}" for name, moment in (("since", since), ("until", until)) if moment is not None]
    if found["is_cron"]:
        return [f"--identifier=hermes-job@{job_id}", *times]
    if found["invocation"] and INVOCATION.fullmatch(found["invocation"]):
        return [f"_SYSTEMD_INVOCATION_ID={found['invocation']}", "+",
                f"{'USER_' if found['is_user'] else ''}INVOCATION_ID={found['invocation']}"]
    return [f"--{'user-' if found['is_user'] else ''}unit=hermes-job@{profile}:{job_id}.service", *times]
