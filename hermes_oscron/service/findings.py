"""The findings of doctor: problems, by which jobs do not run, and warnings."""

from typing import NamedTuple

PROBLEM, WARNING = "problem", "warning"


class Finding(NamedTuple):
    """A fault of `subject`: an instance, a profile, a unit, or the scheduler.

    The sentence names the subject. A `PROBLEM` keeps a job from running; anything else is a `WARNING`.
    """

    severity: str
    subject: str
    sentence: str


def exit_status(findings: list[Finding]) -> int:
    """Return 0 for no finding, 1 for warnings alone, and 2 if jobs do not run."""
    return 2 if any(each.severity == PROBLEM for each in findings) else bool(findings)
