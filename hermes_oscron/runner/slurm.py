"""A place in Slurm for a run: srun(1) asks for it, and its other end on the node, on_node.py, waits for the command.

So a run that Slurm has queued is like one that waits for its turn. What Slurm itself reports comes on the standard
error of srun.
"""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .. import config
from ..jobs.placement import Placement
from ..runs import slurm
from ..runs.slurm import SILENCE_S, SlurmError
from .slurm_process import Allocation, Frames, last_message, rest_of

CONTROLLER_RETRY_S = 5.0
CANCEL_TIMEOUT_S = 10.0
QUEUED = b"queued and waiting for resources"
UNREACHED = b"Unable to contact slurm controller"
"""The messages of srun while it waits, and if no controller answered, though one may answer since."""


class Refused(Exception):
    """Slurm has no place for the run, and never will; the text is the error of the run."""


class Wanted(NamedTuple):
    """The job in Slurm that a run needs: called `name`, for `instance`, with a `timeout` in seconds."""

    name: str
    instance: str
    placement: Placement
    timeout: float


def reserve(wanted: Wanted, settings: config.Config, queued: Callable[[str], None]) -> Allocation:
    """Wait until Slurm has a place for a run, and return it. Raises Refused, SlurmError.

    `queued` is called with the reason if the run has to wait, as also if no controller answers. A signal that requests
    the end of this process cancels the job first.
    """
    environment = slurm.environment_of(settings)
    with _signals_raised():
        while True:
            srun = _started(wanted, settings, environment)
            try:
                found, messages = _first_frame(srun, lambda: queued("in Slurm"))
            except BaseException:
                cancel(srun, wanted.name, environment)
                raise
            if found:
                frames, node, job = found
                return Allocation(srun, wanted.name, environment, frames, node, job)
            srun.wait()
            if UNREACHED not in messages and slurm.answers(environment):
                if slurm.state(wanted.name, environment) == "CANCELLED":
                    raise Refused("stopped by scancel before it had begun: it was queued.")
                raise Refused(f"Slurm has no place for it: "
                              f"{last_message(messages) or f'srun exited with code {srun.returncode}.'}")
            queued("because the controller of Slurm does not answer")
            time.sleep(CONTROLLER_RETRY_S)


def _started(wanted: Wanted, settings: config.Config, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start srun. Raises SlurmError."""
    try:
        return subprocess.Popen(_argv(wanted, settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, cwd="/", env=environment, process_group=0, bufsize=0)
    except OSError as error:
        raise SlurmError(f"srun cannot be started: {error.strerror}.", slurm.REMEDY) from None


def _argv(wanted: Wanted, settings: config.Config) -> list[str]:
    with open(f"{os.path.dirname(__file__)}/on_node.py", encoding="utf-8") as file:
        program = file.read()
    place = wanted.placement
    options = {
        "job-name": wanted.name, "comment": wanted.instance, "nodes": 1, "ntasks": 1, "export": "NONE", "mpi": "none",
        "chdir": "/", "partition": place.partition or settings.cluster_partition, "constraint": place.constraint,
        "account": settings.cluster_account, "cpus-per-task": place.cpus, "gpus": place.gpus,
        "mem": f"{math.ceil(place.memory_bytes / 1024**2)}M" if place.memory_bytes else "",
        "time": math.ceil(wanted.timeout / 60) + 1 if math.isfinite(wanted.timeout) else ""}
    return ["srun", *(f"--{name}={value}" for name, value in options.items() if value), *settings.cluster_options,
            settings.cluster_python, "-I", "-S", "-c", program, str(SILENCE_S)]


def _first_frame(srun: "subprocess.Popen[bytes]", queued: Callable[[], None]) -> tuple[
        tuple[Frames, str, str] | None, bytes]:
    """Wait for the first frame; return the node and the job in it, or None if srun ends before, and its messages."""
    assert srun.stdout and srun.stderr
    frames, messages = Frames(), b""
    poll = select.poll()
    for file in (srun.stdout, srun.stderr):
        poll.register(file, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            chunk = os.read(fd, 65536)
            if fd == srun.stderr.fileno():
                messages += chunk
                if QUEUED in chunk:
                    queued()
                if not chunk:
                    poll.unregister(fd)
            elif not chunk:
                return None, messages + rest_of(srun.stderr.fileno())
            else:
                for kind, content in frames.split(chunk):
                    if kind == b"node":
                        place = json.loads(content)
                        return (frames, str(place["node"]), str(place["job"])), messages


def cancel(srun: "subprocess.Popen[bytes]", name: str, environment: dict[str, str]) -> None:
    """Cancel the job of `srun`, and end it."""
    assert srun.stdin
    with contextlib.suppress(OSError):
        srun.stdin.close()  # what has begun on a node ends by that
    with contextlib.suppress(SlurmError):
        slurm.signal_job(name, environment)
    try:
        srun.wait(CANCEL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        srun.kill()
        srun.wait()


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise SIGTERM and SIGINT as exceptions within the block; after that they end this process."""
    class Stopped(BaseException):
        pass

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Stopped as stopped:
        signal.signal(stopped.args[0], signal.SIG_DFL)
        os.kill(os.getpid(), stopped.args[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
