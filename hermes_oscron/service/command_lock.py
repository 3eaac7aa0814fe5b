"""The lock by which only one command at a time changes jobs and timers. So the last change is the one that is armed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ..errors import cause
from ..files import LOCK_TIMEOUT_S, StateFileError, locked
from ..hermes.timekeeper import take_lease
from ..schedulers.active import set_active_scheduler
from ..state import State
from .selection import Selection


@contextmanager
def command_lock(selection: Selection, timeout_s: float = LOCK_TIMEOUT_S, take_over: bool = False) -> Iterator[None]:
    """Hold the lock of the Hermes root, and store that this machine fires its jobs, and by which scheduler.

    Raises StateFileError if another command holds the lock for `timeout_s`, and OtherTimekeeper if another machine
    fires the jobs, unless this one is to `take_over`.
    """
    with no_command(selection.root, timeout_s):
        try:
            take_lease(selection.root, take_over)
            set_active_scheduler(selection.root, selection.active.kind)
        except OSError as error:
            raise StateFileError(f"{State(selection.root).folder} cannot be written: {cause(error)}") from error
        yield


def no_command(root: str, timeout_s: float = LOCK_TIMEOUT_S) -> AbstractContextManager[None]:
    """Hold the lock of `root`, so that no command changes anything within the block.

    Raises StateFileError as `command_lock`.
    """
    return locked(State(root).command_lock, timeout_s)
