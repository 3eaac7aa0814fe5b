"""The answer to /health: whether the jobs can fire and be read. Anyone on this machine can ask for it, often."""

import os

from ..files import StateFileError, file_signature
from ..hermes import job_store
from ..hermes.home import Home, homes_of
from .selection import Selection


class Health:
    """Looks for a reason by which no job fires, or by which those of a profile of `selection` cannot be read."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._known: dict[str, tuple[object, bool]] = {}

    def problem(self) -> str:
        """Return a sentence that reveals nothing about the jobs; empty if there is no problem."""
        if reason := self._selection.active.availability().reason:
            return f"Nothing fires: {reason}"
        if all(map(self._is_readable, homes_of(self._selection.root))):
            return ""
        return "The jobs of a profile cannot be read. 'hermes-oscron doctor' shows the reason."

    def _is_readable(self, home: Home) -> bool:
        """Return True if the jobs of `home` can be read; a file is read again only when it has changed."""
        try:
            version = (file_signature(home.jobs_file), os.path.lexists(home.runtime_db))
        except StateFileError:
            return False
        if home.jobs_file not in self._known or self._known[home.jobs_file][0] != version:
            try:
                job_store.unusable(home)
                is_readable = True
            except StateFileError:
                is_readable = False
            self._known[home.jobs_file] = version, is_readable
        return self._known[home.jobs_file][1]
