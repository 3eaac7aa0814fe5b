"""Every path of our own files under `cron/oscron` in a profile's home.

Runs, requests, retries and a queue are kept for each profile; the rest is in the Hermes root, the home of the profile
`default`. docs/architecture.md lists the same files with what they hold.
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
    def live(self) -> str:
        """One file for each run in progress, with its output so far; see `runs/live_output.py`."""
        return f"{self.folder}/live"

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
    def shared_queue(self) -> str:
        """One file for each run that waits for its turn or has it, locked by its runner; see `runs/queue.py`."""
        return f"{self.folder}/shared-queue"

    @property
    def queue(self) -> str:
        """The same of the runs of a profile with a limit of its own."""
        return f"{self.folder}/queue"

    @property
    def credentials(self) -> str:
        """A folder for each run in progress that has credentials by its policy, with copies of them."""
        return f"{self.folder}/credentials"

    @property
    def groups(self) -> str:
        """The same of each group of jobs that a policy names, a folder each."""
        return f"{self.folder}/groups"

    @property
    def ledger(self) -> str:
        """The ledger, an SQLite database; see `runs/ledger.py`. SQLite adds a `-journal` while it writes."""
        return f"{self.folder}/runs.db"

    @property
    def unentered(self) -> str:
        """The files of runs that are recorded, but not in the ledger, which could not be written."""
        return f"{self.folder}/unentered"

    @property
    def alerts(self) -> str:
        """The alerts that are sent, an SQLite database; see `notify/outbox.py`. SQLite adds a `-journal`."""
        return f"{self.folder}/alerts.db"

    @property
    def notifier_lock(self) -> str:
        """Held by the process that sends alerts."""
        return f"{self.folder}/notifier.lock"

    @property
    def notifier(self) -> str:
        """The pipe that wakes this process up without systemd; see `notify/request.py`."""
        return f"{self.folder}/notifier"

    @property
    def refused(self) -> str:
        """An empty file. Its time is that of the last scheduled start that did not happen because Hermes was paused."""
        return f"{self.folder}/refused"

    @property
    def agent_facts(self) -> str:
        """The way the agent at hand runs scripts, and the fields of its jobs."""
        return f"{self.folder}/agent.json"

    @property
    def agent_worker(self) -> str:
        """The socket of the agent worker without systemd; see `runner/worker_socket.py`."""
        return f"{self.folder}/agent-worker"

    @property
    def agent_worker_lock(self) -> str:
        """Held by a run that creates this socket."""
        return f"{self.folder}/agent-worker.lock"

    @property
    def token(self) -> str:
        """The token of the API."""
        return f"{self.folder}/token"

    @property
    def sessions(self) -> str:
        """The logins of browsers."""
        return f"{self.folder}/sessions"

    @property
    def login_links(self) -> str:
        """The links of `hermes-oscron open` that have not been used."""
        return f"{self.folder}/login-links"

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
    def in_sync(self) -> str:
        """The files with which the armed jobs agree; see `hermes/in_sync.py`."""
        return f"{self.folder}/in-sync"

    @property
    def manager(self) -> str:
        """The systemd under which the last sync succeeded, written and read by hermes-oscron-sync.service."""
        return f"{self.folder}/manager"

    @property
    def disarmed(self) -> str:
        """An empty file, present while the jobs are disarmed. Its time is that of `hermes-oscron disarm`."""
        return f"{self.folder}/disarmed"

    @property
    def timekeeper(self) -> str:
        """The machine that fires the jobs; see `hermes/timekeeper.py`. Its time is that of the last renewal."""
        return f"{self.folder}/timekeeper"

    @property
    def maintained(self) -> str:
        """An empty file. Its time is that of the last start of the agent's maintenance."""
        return f"{self.folder}/maintained"

    @property
    def command_lock(self) -> str:
        """Held by the command or sync that changes jobs. Its name is that of earlier versions."""
        return f"{self.folder}/arming.lock"

    @property
    def foreground_lock(self) -> str:
        """Held by the `serve` that fires jobs."""
        return f"{self.folder}/foreground.lock"

    @property
    def lines(self) -> str:
        """An empty file for each job with a crontab line. Its time is that of the last change of the line."""
        return f"{self.folder}/lines"

    @property
    def launchers(self) -> str:
        """The commands that cron starts."""
        return f"{self.folder}/bin"
