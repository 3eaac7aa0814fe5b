"""A run and its result."""

from typing import NamedTuple

SCHEDULE, MANUAL = "schedule", "manual"
"""Triggers of a run."""
RUN_VARIABLE = "HERMES_JOB_RUN"
"""The variable in the environment of the job that is different in each run; empty in what belongs to no run."""


class Result(NamedTuple):
    """The end of a run, at the unix time `ended_at`. `error` is a sentence, or None if it went well.

    The result of a run `by_agent` counts only if the agent has not recorded the run itself. `code` is the exit status
    of the process, negative for a signal, None if it is unknown; `output` is the name of the output file. `outcome` is
    that in the ledger, if `error` does not show it.
    """

    ended_at: float
    error: str | None
    delivery_error: str | None = None
    by_agent: bool = False
    code: int | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    output: str = ""
    outcome: str = ""


class Run(NamedTuple):
    """One run, which began at the unix time `started_at`. `result` is None until it has ended.

    `group` is the job's process group on the machine while `boot` is its boot id. It existed `uptime` seconds after
    that boot (CLOCK_BOOTTIME, clock_gettime(2)). `cgroup` is that of the runner. A run
    that is `queued` waits for its turn since `started_at`; one that has waited was queued at `queued_at`. `due` is the
    occurrence that it answers, or when it was requested. `waiter`, if it is not 0, is the process of the agent worker
    that is the parent of what the job has left behind. `retry` is the number of a retry by the policy of the job. One
    on a cluster is `slurm_job` of Slurm on `node`; `slurm` is the name of that job, which is known before.
    """

    job_id: str
    started_at: float
    trigger: str
    group: int = 0
    boot: str = ""
    uptime: float = 0.0
    result: Result | None = None
    cgroup: str = ""
    queued: bool = False
    due: float = 0.0
    queued_at: float = 0.0
    waiter: int = 0
    retry: int = 0
    slurm: str = ""
    node: str = ""
    slurm_job: str = ""

    @property
    def mark(self) -> str:
        """The value of RUN_VARIABLE in the environment of its processes."""
        return f"{self.job_id}@{self.started_at!r}"
