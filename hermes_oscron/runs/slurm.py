"""The jobs that runs have in Slurm. Each is found by its name, which no other run has, also if its id is unknown."""

import os
import subprocess
import time

from .. import config
from ..errors import OscronError, cause
from ..hermes.home import Home

SILENCE_S = 120
"""A node ends the job of a run after this time without a sign of its runner. Until then a job may run that is lost."""
CALL_TIMEOUT_S = 30.0
"""Without its controller, a command of Slurm gives up after 20 s."""
CANCEL_TIMEOUT_S, KILL_AFTER_S = 25.0, 12.0
"""Slurm sends SIGKILL as well after its KillWait=, which is 30 s by default."""
POLL_INTERVAL_S = 0.1
REMEDY = "Install Slurm's commands, or set [exec] path in oscron.toml."
OF_A_STEP = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_STEP_ID", "SLURM_STEPID")
"""In a job of Slurm, srun(1) uses that job instead of another one."""


class SlurmError(OscronError):
    """A command of Slurm has failed; the text is its message."""


def environment_of(settings: config.Config) -> dict[str, str]:
    """Return the environment of commands of Slurm: that of this process and of [exec], as SLURM_CONF."""
    path = {"PATH": settings.path} if settings.path else {}
    inherited = {name: value for name, value in os.environ.items() if name not in OF_A_STEP}
    return {**inherited, **settings.environment, **path}


def cancel(home: Home, name: str) -> None:
    """End the job `name`, and return when it has ended. Raises SlurmError if it may still run."""
    try:
        environment = environment_of(config.load(home.root))
    except config.ConfigError:
        environment = dict(os.environ)
    began, signalled = time.monotonic(), False
    signal_job(name, environment)
    while state(name, environment, ended=False):
        waited_s = time.monotonic() - began
        if waited_s > CANCEL_TIMEOUT_S:
            raise SlurmError(f"The job {name} of Slurm has not ended {CANCEL_TIMEOUT_S:.0f} s after scancel.",
                             f"'squeue --name={name}' shows it.")
        if waited_s > KILL_AFTER_S and not signalled:
            signalled = True
            signal_job(name, environment, "KILL")
        time.sleep(POLL_INTERVAL_S)


def signal_job(name: str, environment: dict[str, str], number: str = "") -> None:
    """Cancel the job `name`, or send a signal to its processes. Raises SlurmError."""
    call(environment, "scancel", "--quiet", f"--name={name}", *([f"--signal={number}", "--full"] if number else []))


def state(name: str, environment: dict[str, str], ended: bool = True) -> str:
    """Return the state of the job `name`, as squeue(1) names it; empty if it is unknown. Raises SlurmError.

    Without `ended`, one that has ended is unknown.
    """
    return call(environment, "squeue", "--noheader", f"--name={name}", "--format=%T", *(["--states=all"] * ended))


def answers(environment: dict[str, str]) -> bool:
    """Return True if a controller of Slurm answers."""
    try:
        call(environment, "scontrol", "ping")
    except SlurmError:
        return False
    return True


def call(environment: dict[str, str], *argv: str) -> str:
    """Return the output of a command of Slurm. Raises SlurmError."""
    try:
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=CALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{argv[0]} did not end within {CALL_TIMEOUT_S:.0f} s.") from None
    except OSError as error:
        raise SlurmError(f"{argv[0]} cannot be run: {cause(error)}", REMEDY) from None
    if done.returncode:
        raise SlurmError(" ".join(done.stderr.split()) or f"{argv[0]} exited with code {done.returncode}.")
    return done.stdout.strip()
