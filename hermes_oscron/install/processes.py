"""Processes that the installer starts: its own, and those of the account of the jobs."""

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import become
from .settings import InstallError

PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
             "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
"""Variables by which the package index is reached, besides pip's own, PIP_…."""
COMMAND_TIMEOUT_S = 60.0
SYNC_TIMEOUT_S = 300.0
"""A sync of thousands of jobs, on a slow machine."""
END_TIMEOUT_S = become.GRACE_S + become.FROZEN_GRACE_S
"""The time that a process has to end after SIGTERM; become.py needs it for a process that the account has frozen."""
MAX_OUTPUT_BYTES = 64 << 20
"""The limit of what a process may print: the account could fill root's memory otherwise."""
MISSING_ID = -1
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""The signals that end the installer, and undo what it has begun."""
LINGER = "/var/lib/systemd/linger"


def run(command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S,
        environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `command` to its end, without input; the exit status is 127 if it cannot be started.

    Its environment is `environment`, by default that of this process. Raises InstallError if it takes longer than
    `timeout_s` seconds, or prints more than MAX_OUTPUT_BYTES. Nothing of it goes on if this raises.
    """
    with contextlib.ExitStack() as ending:
        try:
            process = ending.enter_context(started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                                   env=environment))
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
        deadline = time.monotonic() + timeout_s
        try:
            printed = _printed(process, deadline)
            if sum(map(len, printed)) > MAX_OUTPUT_BYTES:
                raise InstallError(f"'{' '.join(command)}' printed more than {MAX_OUTPUT_BYTES >> 20} MiB, and was "
                                   f"ended.")
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise InstallError(f"'{' '.join(command)}' did not end within {timeout_s:.0f} s.") from None
    return subprocess.CompletedProcess(command, process.returncode,
                                       *(content.decode(errors="replace") for content in printed))


def _printed(process: "subprocess.Popen[bytes]", deadline: float) -> list[bytearray]:
    """Return what `process` prints on its two outputs until it closes them, or until it exceeds MAX_OUTPUT_BYTES.

    Raises TimeoutExpired at `deadline`.
    """
    assert process.stdout and process.stderr
    printed = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
        for output in printed:
            selector.register(output, selectors.EVENT_READ)
        while selector.get_map() and sum(map(len, printed.values())) <= MAX_OUTPUT_BYTES:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise subprocess.TimeoutExpired(process.args, left_s)
            for key, _ in selector.select(left_s):
                content = os.read(key.fd, 65536)
                printed[key.fd] += content
                if not content:
                    selector.unregister(key.fd)
    return list(printed.values())


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start `command` without input, with `options` of Popen; end it and its process group if the block raises.

    In a group of its own, a Ctrl-C at the terminal reaches it only through this process. A signal that ends this
    process waits until the other one has started: its exception within Popen would leave one that nothing ends. Raises
    OSError if it cannot be started.
    """
    held: list[int] = []
    handlers = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _frame: held.append(number))

    def release() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])

    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd="/", process_group=0, **options)
    except BaseException:
        release()
        raise
    try:
        release()
        yield process
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_TIMEOUT_S)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def lingers(name: str) -> bool:
    """Return True if the user manager of the account `name` runs without a login (loginctl(1), enable-linger)."""
    escaped = name.replace("\\", r"\\")  # as logind does
    return os.path.exists(f"{LINGER}/{escaped}")


class Account:
    """An ordinary account, as which root starts processes.

    Of a process as the account only the exit status may be used for decisions: the account can rewrite what its
    processes print (/proc/PID/mem).
    """

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.folder = entry.pw_name, entry.pw_uid, entry.pw_dir
        self.shell, self.comment = entry.pw_shell, entry.pw_gecos
        self._gid = entry.pw_gid

    @property
    def exists(self) -> bool:
        return self.uid != MISSING_ID

    @property
    def groups(self) -> list[int]:
        return os.getgrouplist(self.name, self._gid) if self.exists else []

    @property
    def path(self) -> str:
        """The PATH of its jobs."""
        return f"{self.folder}/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    @property
    def has_login(self) -> bool:
        return not self.shell.endswith(("/nologin", "/false"))

    @property
    def lingers(self) -> bool:
        return lingers(self.name)

    def command(self, command: Sequence[str], timeout_s: float) -> list[str]:
        """Return the command by which root runs `command` as this account, for at most `timeout_s` seconds.

        It needs the environment `self.environment(…)`.
        """
        return [sys.executable, "-I", os.path.abspath(become.__file__), self.name, f"{timeout_s:.0f}", *command]

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command of this account.

        It is not passed in arguments, which every account can read: PIP_INDEX_URL may contain a password.
        """
        return {"PATH": self.path, **variables}

    def run(self, command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S,
            **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `command` as this account with `variables`, for at most `timeout_s` seconds."""
        return run(self.command(command, timeout_s), timeout_s + become.GRACE_S + 5, self.environment(**variables))


def account_of(name: str) -> Account:
    """Return the account `name`, which may be given as a number. Raises InstallError."""
    try:
        return Account(pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name))
    except (KeyError, OverflowError, ValueError):
        raise InstallError(f"There is no account '{name}'.") from None


def missing_account(name: str, folder: str) -> Account:
    """Return an account that does not exist: one that is to be created, or was removed."""
    return Account(pwd.struct_passwd((name, "x", MISSING_ID, MISSING_ID, "", folder, "/usr/sbin/nologin")))


def index_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environment` by which pip reaches the package index."""
    return {name: value for name, value in environment.items() if name in PASSED_ON or name.startswith("PIP_")}
