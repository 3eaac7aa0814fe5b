"""Every path of our own files under `cron/oscron` in a profile's home.

Runs, requests and retries are kept for each profile; the rest is in the Hermes root, the home of the profile `default`.
docs/architecture.md lists the same files with what they hold.
"""

from typing import NamedTuple


class State(NamedTuple):
    """The state of hermes-oscron in one home."""

    home: str

    @property
    def folder(self) -> str:
        return f"{self.home}/cron/oscron"

    @property
    def runs(self) -> str:
        """One file for each run in progress, named after the job and locked by its runner."""
        return f"{self.folder}/runs"

    @property
    def requests(self) -> str:
        """One file for each manual run that a command waits for."""
        return f"{self.folder}/requests"

    @property
    def retries(self) -> str:
        """An empty file for each job that was retried at once, because its runner ended before the run began.

        It is named after the job, and its time is that of the retry.
        """
        return f"{self.folder}/retries"

    @property
    def token(self) -> str:
        """The token of the API."""
        return f"{self.folder}/token"

    @property
    def sessions(self) -> str:
        """The logins of browsers."""
        return f"{self.folder}/sessions"

    @property
    def sessions_lock(self) -> str:
        return f"{self.folder}/sessions.lock"

    @property
    def scheduler(self) -> str:
        """The kind of the active scheduler."""
        return f"{self.folder}/scheduler"

    @property
    def synced(self) -> str:
        """An empty file. Its time is that of the last sync that succeeded."""
        return f"{self.folder}/synced"

    @property
    def command_lock(self) -> str:
        """Held by the command or sync that changes jobs. Its name is that of earlier versions."""
        return f"{self.folder}/arming.lock"

    @property
    def foreground_lock(self) -> str:
        """Held by the `serve` that fires jobs."""
        return f"{self.folder}/foreground.lock"

    @property
    def launchers(self) -> str:
        """The commands that cron starts."""
        return f"{self.folder}/bin"
