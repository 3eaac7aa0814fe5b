"""hermes-oscron: the commands for a terminal. Only `serve` has or needs a running server."""

import signal
import sys

if sys.argv[0].endswith(("/hermes-oscron", "-m")) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends the program without a traceback

from . import (
    admin,
    audit,
    backups,
    calendar,
    completion,
    control,
    definitions,
    edit,
    explain,
    importing,
    installer,
    jobs,
    listing,
    logs,
    notify,
    open_pages,
    runs,
    status,
)
from .group import main

__all__ = ["main"]

for command in (
    status.status, status.top, listing.list_jobs, jobs.show, jobs.create, jobs.update, edit.edit, definitions.copy,
    control.pause, control.resume, control.run, control.stop_runs, control.delete, runs.runs, runs.output, logs.logs,
    explain.next_times, calendar.calendar, explain.translate, definitions.export, definitions.apply,
    importing.import_, backups.backup, backups.restore, admin.doctor, audit.audit, notify.notify, admin.sync,
    admin.adopt, admin.disarm, admin.arm, admin.plugin, admin.token, admin.serve, open_pages.open_pages,
    completion.completion, installer.install, installer.uninstall,
):
    main.add_command(command)
