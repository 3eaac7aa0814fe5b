"""The sentence in which a failed system call reaches a person: where, why, and what to do about it."""

import errno

REMEDIES = {
    errno.ENOSPC: "Make room on its file system.",
    errno.EDQUOT: "Make room, or raise this account's disk quota.",
    errno.EROFS: "Remount its file system read-write.",
    errno.EACCES: "Give it to the account that runs the jobs (chown, chmod).",
    errno.EPERM: "Give it to the account that runs the jobs (chown, chmod).",
    errno.EMFILE: "Raise the limit of open files (ulimit -n, LimitNOFILE=).",
    errno.ENFILE: "Raise the machine's limit of open files (sysctl fs.file-max).",
    errno.EIO: "Check the disk; 'dmesg' has the details.",
}
"""What to do, by errno(3)."""


def cause(error: Exception) -> str:
    """Why `error` was raised and, where that is known, what to do; ends with a full stop."""
    if not isinstance(error, OSError):
        return f"{error}".rstrip(".") + "."
    said = f"{error.strerror or error}".rstrip(".") + "."
    remedy = REMEDIES.get(error.errno or 0)
    return f"{said} {remedy}" if remedy else said


def describe(error: Exception) -> str:
    """The text of `error`; that of an OSError is its path, the reason and what to do."""
    return f"{error.filename or 'The machine'}: {cause(error)}" if isinstance(error, OSError) else str(error)
