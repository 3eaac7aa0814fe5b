"""What the text of a timer may be that root has written for an account: nothing in it was said by the account."""

import re

from hermes_oscron.hermes.homes import NAME

TIMER = re.compile(rf"hermes-job@(?P<instance>{NAME.pattern}:{NAME.pattern})\.timer")
TEXT = re.compile(r"""# Made from jobs\.json by hermes-oscron\. What is changed here is lost at the next sync\.
\[Unit\]
Description=(?P<instance>[A-Za-z0-9_.:-]+) \(Hermes job\)

\[Timer\]
(OnCalendar=[A-Za-z0-9 *,./:_~+-]+
)+AccuracySec=1us
(RemainAfterElapse=no
)?""")


def assert_harmless(unit: str, text: str) -> None:
    """UNIT is the timer of a job, and TEXT no more than a calendar."""
    name, content = TIMER.fullmatch(unit), TEXT.fullmatch(text)
    assert name and content and name["instance"] == content["instance"], f"{unit!r}:\n{text!r}"
