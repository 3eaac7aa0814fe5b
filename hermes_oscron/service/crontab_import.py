"""Crontab lines of others as jobs: a script for each line, with the environment that cron would give it.

python-crontab finds the lines and splits commands from their input. The five fields, the user and the variables are
taken from the text itself (docs/dependencies.md has the reasons).
"""

import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import OscronError
from ..files import make_private_dir, write_atomic
from ..hermes.timezone import machine_zone
from ..jobs.fields import ValidationError
from ..schedule.zones import cron_zone
from ..schedulers.crontab.table import CrontabFile
from .field_checks import policy_in_zone
from .job_views import JobView
from .jobs import JobService

VARIABLE = re.compile(r"""\s*(["']?)([A-Za-z_][A-Za-z0-9_]*)\1\s*=\s*(.*?)\s*""")
"""A setting of a variable (crontab(5)); blanks around the equals sign are allowed."""
CRON_ENVIRONMENT = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
TEMPLATE = "0 5 * * 1 tar -zcf /var/backups/home.tgz /home/"
"""The example in the comments of Debian's new crontabs."""
OURS = "hermes-cron-exec"
ZONE = "CRON_TZ"
"""The variable by which cronie reads the times of the lines below it in another zone (crontab(5) of cronie)."""
NOT_APPLIED = {"RANDOM_DELAY": "is not applied", "START_HOURS_RANGE": "is not applied",
               "MAILTO": "is not used: the output is delivered by the job's 'deliver'"}
MAX_NAME_CHARS = 50
COMMENTED_OUT = b"# imported by hermes-oscron: "


class Line(NamedTuple):
    """A line that is a job, also one that is commented out. `why_not` is the reason why it is not imported."""

    number: int
    text: str
    enabled: bool
    schedule: str
    user: str
    command: str
    stdin: str | None
    environment: dict[str, str]
    notes: tuple[str, ...] = ()
    why_not: str = ""


def lines_of(text: str, with_users: bool) -> Iterator[Line]:
    """Yield the jobs in the crontab `text`, whose lines have the user before the command if it is `with_users`."""
    from crontab import CronItem, CronTab  # 51 ms, which only an import needs

    logging.getLogger("crontab").setLevel(logging.CRITICAL)
    whole = CronTab(tab="")
    environment = dict(CRON_ENVIRONMENT)
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        variable = None if line.startswith("#") else VARIABLE.fullmatch(line)
        if variable:
            environment[variable[2]] = _unquoted(variable[3])
            continue
        item = CronItem.from_line(line, cron=whole)
        content = line.lstrip("# \t")
        enabled = not line.startswith("#")
        if not line or content == TEMPLATE or OURS in line or not (enabled or item.is_valid()):
            continue
        count = 1 if content.startswith("@") else 5
        words = content.split(None, count + with_users)
        if len(words) <= count + with_users:
            if enabled:
                yield Line(number, raw, True, content, "", "", None, {}, why_not="cron does not accept it either.")
            continue
        item.stdin = None
        item.set_command(words[-1], parse_stdin=True)
        yield _with_notes(Line(number, raw, enabled, " ".join(words[:count]), words[count] if with_users else "",
                               item.command, item.stdin, dict(environment)))


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _with_notes(line: Line) -> Line:
    notes = [f"{name} {sentence}." for name, sentence in NOT_APPLIED.items() if line.environment.get(name)]
    notes += [f"{name} contains '$', which cron does not expand, and so neither does the job."
              for name, value in line.environment.items() if "$" in value]
    return line._replace(notes=tuple(notes))


def has_users(path: str, text: str) -> bool:
    """Return True if the lines of the crontab at `path` have a user before the command. Raises ValidationError.

    Elsewhere than at the known places it must be certain.
    """
    if path == "/etc/crontab" or path.startswith("/etc/cron.d/"):
        return True
    import pwd

    accounts = {account.pw_name for account in pwd.getpwall()}
    commands = [line.command for line in lines_of(text, False) if line.command]
    if commands and all(command.split(None, 1)[0] in accounts for command in commands):
        raise ValidationError("The words before the commands are names of accounts: give --users if the lines have a "
                              "user before the command, as in /etc/crontab, or --no-users.")
    return False


def planned(here: JobService, line: Line, account: str) -> Line:
    """Return `line` with the reason why it cannot be imported, and with the warnings of its schedule."""
    if line.why_not:
        return line
    if line.schedule == "@reboot":
        return line._replace(why_not="@reboot: a start of the machine is not a time.")
    zone = line.environment.get(ZONE)
    if zone and not cron_zone(f"{ZONE}={zone} {line.schedule}")[0]:
        return line._replace(why_not=f"{ZONE}={zone}: there is no such zone.")
    if line.user and line.user != account:
        return line._replace(why_not=f"it runs as {line.user}, and the jobs run as {account}.")
    warnings = list[str]()
    if zone:
        warnings.append(f"{ZONE}={zone}: the job's times are in that zone, as in cronie; Debian's cron ignores it.")
    try:
        here.create(_fields(here, line, _script_name(here, line)), warnings.append, save=False)
    except OscronError as error:
        return line._replace(why_not=str(error))
    return line._replace(notes=(*line.notes, *warnings))


def carry_out(here: JobService, line: Line) -> JobView:
    """Write the script of `line`, and create its job, paused. Raises the errors of `create`."""
    name = _script_name(here, line)
    make_private_dir(here.home.scripts_dir)
    path = f"{here.home.scripts_dir}/{name}"
    write_atomic(path, script(line).encode(), 0o700)
    try:
        return here.create(_fields(here, line, name))
    except BaseException:
        os.unlink(path)
        raise


def script(line: Line) -> str:
    """Return a shell script that runs the command of `line` as cron does."""
    variables = {name: value for name, value in line.environment.items() if name not in (ZONE, *NOT_APPLIED)}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    command = f'"$SHELL" -c {shlex.quote(line.command)}'
    run = (f"exec {command} </dev/null" if line.stdin is None else
           f"printf '%s\\n' {shlex.quote(line.stdin)} | {command}")
    return (f"#!/bin/sh\n# From a crontab, line {line.number}:\n# {line.text.strip()}\ncd \"$HOME\" || exit\n"
            f"{exports}{run}\n")


def comment_out(numbers: Mapping[int, str]) -> None:
    """Comment out the lines `numbers`, with their texts, in this account's crontab.

    Raises SchedulerError, and ValidationError if another program has changed one of them.
    """
    def change(lines: list[bytes]) -> list[bytes]:
        for number, text in numbers.items():
            if number > len(lines) or lines[number - 1].decode("utf-8", "surrogateescape").strip() != text.strip():
                raise ValidationError(f"Another program has changed line {number} of the crontab; nothing is commented "
                                      f"out.")
        return [COMMENTED_OUT + line if number in numbers else line for number, line in enumerate(lines, 1)]

    CrontabFile().edit(change)


def _fields(here: JobService, line: Line, script_name: str) -> dict[str, Any]:
    zone = line.environment.get(ZONE) or machine_zone().key
    return {"schedule": line.schedule, "name": " ".join(line.command.split())[:MAX_NAME_CHARS], "no_agent": True,
            "script": script_name, "enabled": False, "policy": policy_in_zone(here.root, here.home, zone)}


def _script_name(here: JobService, line: Line) -> str:
    """Return the name of a script that does not exist yet."""
    word = os.path.basename((line.command.split() or ["command"])[0])
    word = re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:30].removesuffix(".sh").strip("-.") or "command"
    stem = f"cron-{line.number}-{word}"
    again = 1
    while os.path.lexists(f"{here.home.scripts_dir}/{stem}{f'-{again}' if again > 1 else ''}.sh"):
        again += 1
    return f"{stem}{f'-{again}' if again > 1 else ''}.sh"
