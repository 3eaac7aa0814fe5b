"""The base class of all errors that a person sees, and the text for a long value and for a failed system call."""

import errno

REMEDIES = {
    errno.ENOSPC: "Make room on its file system.",
    errno.EDQUOT: "Make room, or raise this account's disk quota.",
    errno.EROFS: "Remount its file system read-write.",
    errno.EACCES: "Give it to the account that runs the jobs (chown, chmod).",
    errno.EPERM: "Give it to the account that runs the jobs (chown, chmod).",
    errno.ENOTDIR: "Move away the file that is there instead of a folder.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n, LimitNOFILE=).",
    errno.ENFILE: "Raise the machine's limit of open files (sysctl fs.file-max).",
    errno.EIO: "Check the disk; 'dmesg' has the details.",
}
"""The remedy for an error, by errno(3)."""


class OscronError(Exception):
    """An error for a person: what is wrong and where, and in `hint` what to do about it.

    `status` is the HTTP status of an answer that reports it.
    """

    status = 503

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def shortened(value: str) -> str:
    """Return `value` for an error message, cut to 80 characters."""
    return value if len(value) <= 80 else value[:79] + "…"


def cause(error: Exception) -> str:
    """Return why `error` was raised and, if that is known, what to do. Ends with a full stop."""
    if not isinstance(error, OSError):
        return f"{error}".rstrip(".") + "."
    reason = f"{error.strerror or error}".rstrip(".") + "."
    remedy = REMEDIES.get(error.errno or 0)
    return f"{reason} {remedy}" if remedy else reason


def describe(error: Exception) -> str:
    """Return the text of `error`; for an OSError its path, the reason and what to do."""
    return f"{error.filename or 'The machine'}: {cause(error)}" if isinstance(error, OSError) else str(error)
