"""The findings of doctor, looked for in the background: it watches a problem for some seconds before it reports it."""

import logging
import threading
import time
from typing import NamedTuple

from ...clock import Clock
from ...errors import OscronError, describe
from ...service.findings import PROBLEM, Finding
from ...service.selection import Selection

log = logging.getLogger(__name__)

VALID_S = 300.0
"""Findings are looked for again when a page is asked for and they are older than this."""


class CheckReport(NamedTuple):
    """The last findings, and when they were made, in unix seconds; 0 if they have not been made yet."""

    findings: list[Finding]
    at: float
    running: bool


class Checks:
    """Keeps the last findings about the jobs of `selection`."""

    def __init__(self, selection: Selection, clock: Clock) -> None:
        self._selection = selection
        self._clock = clock
        self._last = CheckReport([], 0.0, False)
        self._lock = threading.Lock()

    def latest(self, again: bool = False) -> CheckReport:
        """Return the last findings. If they are old, or `again` is true, look for them in the background."""
        with self._lock:
            last = self._last
            if not last.running and (again or abs(time.time() - last.at) > VALID_S):
                self._last = last = last._replace(running=True)
                threading.Thread(target=self._look, name="checks", daemon=True).start()
            return last

    def _look(self) -> None:
        from ...service.doctor import Doctor  # 50 ms that no other page needs

        try:
            findings = Doctor(self._selection, self._clock).diagnose()
        except (OscronError, OSError) as error:
            findings = [Finding(PROBLEM, "scheduler", describe(error))]
        except Exception:
            log.exception("checks")
            findings = [Finding(PROBLEM, "checks", "The checks failed; 'hermes-oscron doctor' shows the reason.")]
        with self._lock:
            self._last = CheckReport(findings, time.time(), False)
