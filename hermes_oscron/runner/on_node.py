"""The part of a run that is executed on a node of a cluster. The runner passes this text to `python3 -c` there.

So it imports nothing of the package, and works with Python 3.9. It writes frames to standard output: a line with the
kind and the length, the content, and a newline, because srun(1) passes on whole lines. The first frame is `node`; then
come `1` and `2`, the output of the command, and at last `end`. From standard input it reads a line with the command as
JSON, and then lines with the numbers of signals for it, or empty ones. If none comes for a time, the runner is gone, or
cut off from this node, and may have started the job again: then the command is ended, as at the end of the input.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # the import takes 3 ms, for which each run on a cluster would wait
    from typing import Any, BinaryIO, NoReturn

PR_SET_CHILD_SUBREAPER = 36
KILL_GRACE_S = 10.0
DRAIN_TIMEOUT_S = 0.2
POLL_INTERVAL_S = 0.02
CHUNK_BYTES = 32768


class RunnerGone(Exception):
    """The runner has ended, or is cut off."""


class Orders:
    """The lines from the runner; RunnerGone is raised at their end, and after `silence_s` without any."""

    def __init__(self, silence_s: int) -> None:
        self._silence_s = silence_s
        self._unread = b""
        signal.signal(signal.SIGALRM, self._expire)
        signal.alarm(silence_s)

    def next(self) -> bytes:
        """Wait for the next line, and return it."""
        while b"\n" not in self._unread:
            self.read()
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def take(self) -> list[bytes]:
        """Return the lines that have been read."""
        *lines, self._unread = self._unread.split(b"\n")
        return lines

    def read(self) -> None:
        """Read what has come, or wait for it."""
        chunk = os.read(0, 65536)
        if not chunk:
            raise RunnerGone
        signal.alarm(self._silence_s)
        self._unread += chunk

    def _expire(self, _number: int, _frame: object) -> None:
        if not select.select([0], [], [], 0)[0]:
            raise RunnerGone
        self.read()  # this process was suspended, or srun(1) has not taken the output


def main(silence_s: int) -> int:
    """Run the command that the runner sends, report its end, and return its exit status."""
    terminated = []  # by scancel(1) or at a time limit: Slurm sends SIGTERM to the command too
    signal.signal(signal.SIGTERM, lambda number, _frame: terminated.append(number))
    try:
        orders = Orders(silence_s)
        send("node", {"node": os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
                      "job": os.environ.get("SLURM_JOB_ID", "")})
        import ctypes  # while the runner prepares the command
        import resource
        import subprocess

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        command = json.loads(orders.next())
        if terminated:
            send("end", {"code": None, "terminated": True})
            return 1
        os.umask(command["umask"])
        inherited = {name: value for name, value in os.environ.items() if name not in ("PWD", "LC_CTYPE")}
        process = subprocess.Popen(
            command["argv"], stdin=file_of(command["stdin"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=command["directory"], env={**inherited, **command["environment"]}, start_new_session=True, bufsize=0)
        try:
            pass_on(process, orders)
        except RunnerGone:
            signal_group(process.pid, signal.SIGTERM)
            end_leftovers()
            raise
    except RunnerGone:
        return 1
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        send("end", {"code": None, "unstarted": f"{command['argv'][0]} could not be started in {command['directory']}: "
                                                f"{reason}."})
        return 1
    code = process.wait()
    end_leftovers()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    send("end", {"code": code, "terminated": bool(terminated), "cpu_s": round(used.ru_utime + used.ru_stime, 6),
                 "memory_bytes": used.ru_maxrss * 1024})
    return code if code >= 0 else 128 - code


def pass_on(process: Any, orders: Orders) -> None:
    """Pass on the output of `process` and the signals of `orders`, until the process has ended."""
    ended = os.pidfd_open(process.pid)
    streams: dict[int, str] = {process.stdout.fileno(): "1", process.stderr.fileno(): "2"}
    poll = select.poll()
    for fd in (0, ended, *streams):
        poll.register(fd, select.POLLIN)
    deadline = float("inf")
    while (streams or deadline == float("inf")) and time.monotonic() < deadline:
        for fd, _ in poll.poll(None if deadline == float("inf") else 1000 * DRAIN_TIMEOUT_S):
            if fd == ended:
                poll.unregister(ended)
                deadline = time.monotonic() + DRAIN_TIMEOUT_S  # another process may keep the pipes open
            elif fd == 0:
                orders.read()
                reap_adopted(process.pid)
            elif chunk := os.read(fd, CHUNK_BYTES):
                send(streams[fd], chunk)
            else:
                poll.unregister(fd)
                del streams[fd]
        for line in filter(None, orders.take()):
            signal_group(process.pid, int(line))
    os.close(ended)


def send(kind: str, content: bytes | dict[str, Any]) -> None:
    """Write a frame."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    frame = memoryview(b"%s %d\n%s\n" % (kind.encode(), len(data), data))
    while frame:
        frame = frame[os.write(1, frame):]


def file_of(text: str) -> BinaryIO:
    """Return an open file with `text`, which may be longer than what a pipe takes."""
    file = os.fdopen(os.memfd_create("stdin"), "w+b")
    file.write(text.encode("utf-8", "surrogateescape"))
    file.seek(0)
    return file


def end_leftovers() -> None:
    """End the processes that the command has left behind: with SIGTERM, and after KILL_GRACE_S with SIGKILL."""
    kill_at = time.monotonic() + KILL_GRACE_S
    signalled = set[int]()
    while left := children():
        must_die = time.monotonic() >= kill_at
        for pid in left if must_die else left - signalled:
            signalled.add(pid)
            try:
                os.kill(pid, signal.SIGKILL if must_die else signal.SIGTERM)
            except PermissionError:
                return  # of another account, as by sudo(8); Slurm ends it
        time.sleep(POLL_INTERVAL_S)


def children() -> set[int]:
    """Return the children of this process that live: what has lost its parent is a child of this one too."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return set(map(int, file.read().split()))
    except OSError:  # there is none
        return set()


def signal_group(group: int, number: int) -> None:
    """Send the signal `number` to the rest of the process `group`."""
    try:
        os.killpg(group, number)
    except OSError:  # it has ended, or is of another account
        pass


def reap_adopted(command: int) -> None:
    """Reap the children that have ended, up to the `command`, so that they do not accumulate as zombies."""
    while (child := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and child.si_pid != command:
        os.waitpid(child.si_pid, 0)


def start() -> NoReturn:
    """Run `main`, and exit without a message: the runner may be gone, and with it standard output."""
    try:
        status = main(int(sys.argv[1]))
    except BrokenPipeError:
        status = 1
    os._exit(status)


if __name__ == "__main__":
    start()
