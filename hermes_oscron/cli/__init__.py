"""hermes-oscron: the commands for a terminal. Only `serve` has or needs a running server."""

from . import admin, audit, control, explain, installer, jobs, listing, runs
from .group import main

__all__ = ["main"]

for command in (
    listing.list_jobs, jobs.show, jobs.create, jobs.update, control.pause, control.resume, control.run,
    control.stop_runs, control.delete, runs.runs, explain.translate, explain.next_times, admin.serve, admin.token,
    admin.sync, admin.arm, admin.disarm, admin.adopt, admin.plugin, admin.doctor, audit.audit, installer.install,
    installer.uninstall,
):
    main.add_command(command)
