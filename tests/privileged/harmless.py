"""The only text that a timer written by root for an account may have: the account chose no byte of it."""

import re

from hermes_oscron.hermes.home import SAFE_NAME

DROP_IN = re.compile(r"\[Service\]\n((TimeoutStopSec|Nice|MemoryMax|IOWeight|TasksMax)=[0-9]+\n|CPUQuota=[0-9]+%\n|"
                     r"KillMode=mixed\n)+")
TIMER = re.compile(rf"hermes-job@(?P<instance>{SAFE_NAME.pattern}:{SAFE_NAME.pattern})\.timer")
TEXT = re.compile(r"""# Written by hermes-oscron from jobs\.json\. Changes are lost at the next sync\.
\[Unit\]
Description=(?P<instance>[A-Za-z0-9_.:-]+) \(Hermes job\)

\[Timer\]
(OnCalendar=[A-Za-z0-9 *,./:_~+-]+
)+AccuracySec=1us
(RemainAfterElapse=no
)?""")


def assert_harmless(unit: str, text: str) -> None:
    """Assert that `unit` is the timer of a job, and that its `text` is only a calendar."""
    name, content = TIMER.fullmatch(unit), TEXT.fullmatch(text)
    assert name and content and name["instance"] == content["instance"], f"{unit!r}:\n{text!r}"


def assert_harmless_drop_in(text: str) -> None:
    """Assert that the drop-in of a service has only numbers, or is empty."""
    assert not text or DROP_IN.fullmatch(text), repr(text)
