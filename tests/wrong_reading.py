"""A fault in our reading of cron expressions, for tests of the second opinion: no real expression has one."""

import datetime
import sys
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from hermes_oscron.schedule import cron, occurrences

HOUR = datetime.timedelta(hours=1)
CLI = [sys.executable, "-c",
       "import pytest; from tests.wrong_reading import HOUR, read_wrongly; "
       "read_wrongly(pytest.MonkeyPatch(), HOUR, '5 9 * * 1'); from hermes_oscron.cli import main; main()"]
"""`hermes-oscron`, run in the folder of the source, with the expression `5 9 * * 1` read an hour late."""


def read_wrongly(monkeypatch: pytest.MonkeyPatch, error: datetime.timedelta, only: str = "") -> None:
    """Make every occurrence of cron expressions, or of the expression `only`, wrong by `error`."""
    right = occurrences.cron_occurrences

    def wrong(expression: cron.Cron, after: datetime.datetime, zone: ZoneInfo) -> Iterator[datetime.datetime]:
        late = error if not only or expression == cron.parse(only) else 0 * error
        return (due + late for due in right(expression, after, zone))

    monkeypatch.setattr(occurrences, "cron_occurrences", wrong)
