"""The files on which the jobs depend, as clients see them: the version of their content, and the folders to watch."""

import os
from collections.abc import Iterator

from ..files import StateFileError, file_signature
from ..hermes import in_sync
from ..hermes.emergency_stop import paused
from ..hermes.home import active_profile, homes_of
from ..hermes.timezone import LOCALTIME, home_zone, localtime_state
from ..runs import lock
from ..schedulers.active import active_scheduler, disarmed_since
from .selection import Selection


def state_version(selection: Selection) -> tuple[object, ...]:
    """Return a value that changes whenever the jobs do, as clients see them, except by the passing of time."""
    root = selection.root
    parts: list[object] = [active_profile(root), os.environ.get("HERMES_TIMEZONE"), localtime_state(),
                           active_scheduler(root), disarmed_since(root)]
    for home in homes_of(root):
        parts += [home.profile, home_zone(home).key, paused(home)]
        parts += [tuple(lock.running(home).values()), tuple(lock.unrecorded(home))]
        parts.append(os.path.lexists(home.runtime_db))
        try:
            parts.append(file_signature(home.jobs_file))
        except StateFileError as error:
            parts.append(str(error))
    return tuple(parts)


def watched_folders(root: str) -> Iterator[str]:
    """Yield the folders of the files of `state_version`, also missing ones, each after the folder that contains it."""
    yield from (os.path.dirname(LOCALTIME), root, f"{root}/profiles")
    for home in homes_of(root):
        yield from (home.path, home.cron_dir, home.state.folder, home.state.runs)
        for name in in_sync.WATCHED:
            if os.path.islink(path := f"{home.path}/{name}"):
                yield os.path.dirname(os.path.realpath(path))
