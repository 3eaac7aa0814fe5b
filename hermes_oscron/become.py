"""Become another account for good, so that a command that root types can work on the jobs of that account.

install.sh runs `python -I become.py NAME SECONDS COMMAND…` before anything is installed, so this imports nothing of
the package. COMMAND gets the environment of that process, with the HOME and the names of the account.
"""

import codecs
import contextlib
import math
import os
import pwd
import selectors
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

PASSED_ON = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
GRACE_S = 15.0
"""A job that gets SIGTERM has 10 s to end; the rest is for its runner to record it."""
FROZEN_GRACE_S = 2.0
MAX_PIPE_BYTES = 1 << 20
"""An ordinary account cannot make a pipe hold more (pipe(7))."""
TIMED_OUT = 124
"""The exit status of timeout(1)."""


def become(account: pwd.struct_passwd, environment: Mapping[str, str], *, reads_input: bool = False,
           first_input: bytes = b"", limit_s: float = math.inf) -> None:
    """Return as `account` with `environment`, in a child of its own session; the caller's process never returns.

    The account can freeze, trace and rewrite its processes (kill(2), ptrace(2), /proc/PID/mem), so the child gets no
    descriptor of root's: a process that has a terminal open can type into it (TIOCSTI, ioctl_tty(2)). Its standard
    input is /dev/null, or a pipe with `first_input` and then, with `reads_input`, that of root. Its output comes by
    pipes and is made printable. The process that
    stays root passes signals on, and kills the child if it does not end after one, or after `limit_s` seconds.
    """
    while os.open(os.devnull, os.O_RDWR) <= 2:
        pass  # a standard descriptor that root closed must not become a pipe's
    has_width = os.environ.get("COLUMNS") or os.isatty(1)  # in a pipe, nothing needs to be cut
    width = {"COLUMNS": str(shutil.get_terminal_size().columns)} if has_width else {}
    stdin = os.pipe() if reads_input or first_input else (os.open(os.devnull, os.O_RDONLY), -1)
    stdout, stderr = os.pipe(), os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    child = os.fork()
    if child:
        for fd in (stdin[0], stdout[1], stderr[1]):
            os.close(fd)
        _Keeper(child, limit_s).attend(stdin[1], (first_input, reads_input), {stdout[0]: 1, stderr[0]: 2}, mask)
    os.setsid()
    for fd, source in enumerate((stdin[0], stdout[1], stderr[1])):
        os.dup2(source, fd)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except PermissionError:
        sys.exit(f"Root may not become {account.pw_name} here: it has no CAP_SETUID and CAP_SETGID, as in some "
                 f"containers. Type the command as {account.pw_name}.")
    os.environ.clear()
    os.environ.update(environment, HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name, **width)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Keeper:
    """The process that stays root while its child is the account's."""

    def __init__(self, child: int, limit_s: float) -> None:
        self._child = child
        self._limit_s = limit_s
        self._asked_at = math.inf
        self._on_kill = 0  # the exit status if the child has to be killed

    def attend(self, stdin: int, given: tuple[bytes, bool], outputs: Mapping[int, int],
               mask: set[int | signal.Signals]) -> None:
        """Feed `stdin` as `given`, copy `outputs` to our descriptors, and end as the child does."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGALRM, self._on_alarm)
        for number in PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        if self._limit_s < math.inf:
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
        if stdin >= 0:
            threading.Thread(target=_feed, args=(stdin, *given), daemon=True).start()  # it inherits the blocked signals
        signal.pthread_sigmask(signal.SIG_SETMASK, mask - {signal.SIGCHLD, signal.SIGALRM})
        shown = {fd: _printer(target) for fd, target in outputs.items()}
        with selectors.PollSelector() as selector:
            for fd in (woken, *outputs):
                os.set_blocking(fd, False)
                selector.register(fd, selectors.EVENT_READ)
            while (status := self._exit_status()) is None:
                for key, _ in selector.select():
                    content = os.read(key.fd, MAX_PIPE_BYTES)
                    if not content or (key.fd != woken and not shown[key.fd](content)):
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        del shown[key.fd]
        for fd, show in shown.items():
            # Not until the end of the file: another process of the account may hold the pipe open.
            with contextlib.suppress(BlockingIOError):
                show(os.read(fd, MAX_PIPE_BYTES))
        os._exit(status)

    def _exit_status(self) -> int | None:
        """Return the child's exit status, or None while it runs. It is not reaped, so that its id stays its own."""
        ended = os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._ask(number, 128 + number)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked_at == math.inf:
            os.write(2, b"The command took longer than %d s; it was ended.\n" % self._limit_s)
            self._ask(signal.SIGTERM, TIMED_OUT)
            return
        frozen = os.waitid(os.P_PID, self._child, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        if frozen or time.monotonic() - self._asked_at >= GRACE_S:
            self._send(signal.SIGKILL)
            os._exit(self._on_kill)

    def _ask(self, number: int, on_kill: int) -> None:
        """Ask the child to end by signal `number`; the first time, start to count."""
        self._send(number)
        if self._asked_at == math.inf:
            self._asked_at, self._on_kill = time.monotonic(), on_kill
            signal.setitimer(signal.ITIMER_REAL, FROZEN_GRACE_S, FROZEN_GRACE_S)

    def _send(self, number: int) -> None:
        """Signal the child and what it started, as a terminal's Ctrl-C does."""
        try:
            os.killpg(self._child, number)
        except ProcessLookupError:  # it has not got its session yet
            os.kill(self._child, number)


def _feed(stdin: int, content: bytes, goes_on: bool) -> None:
    """Write `content` to `stdin` and, if it `goes_on`, our own standard input."""
    with contextlib.suppress(OSError):
        while content or (goes_on and (content := os.read(0, 65536))):
            content = content[os.write(stdin, content):]
    os.close(stdin)


def _printer(target: int) -> Callable[[bytes], bool]:
    """Return a function that writes bytes to `target` as printable text, and returns False if the reader has gone."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(content: bytes) -> bool:
        text = decoder.decode(content)
        left = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text).encode()
        try:
            while left:
                left = left[os.write(target, left):]
        except OSError:
            return False
        return True

    return write


if __name__ == "__main__":
    become(pwd.getpwnam(sys.argv[1]), dict(os.environ), limit_s=float(sys.argv[2]))
    try:
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        sys.exit(f"{sys.argv[3]}: {error.strerror}")
