"""hermes-oscron: the commands for a terminal. Only `serve` has or needs a running server."""

from . import admin, audit, explain, installer, jobs, notify
from .group import main

__all__ = ["main"]

for command in (admin.serve, admin.token, admin.sync, admin.arm, admin.disarm, admin.adopt, jobs.list_jobs, jobs.show,
                jobs.create, jobs.update, jobs.pause, jobs.resume, jobs.run, jobs.delete, jobs.runs, explain.translate,
                explain.next_times, admin.plugin, admin.doctor, audit.audit, notify.notify,
                installer.install, installer.uninstall):
    main.add_command(command)
