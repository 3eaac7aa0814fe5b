"""The limit on the calendar lines of an account's timers, which cost the systemd manager time and memory.

At each reload a line with a zone takes about as long as a timer, 1 ms, because systemd forks a process to compute it;
at each elapse of the timer it does so again. Any other line takes 0.01 ms. Each takes 0.3 KiB, a timer 9 KiB
(bench/calendars.py). The first line of a timer is free, so that a job with one line is never refused.
"""

import re
from collections.abc import Mapping

BUDGET = 20_000
"""The most that all lines of an account's timers may cost: 2,000 lines with a zone, or 20,000 others."""
ZONE_COST = 10
LINE = re.compile(rb"^OnCalendar=(?:.* )?(\S+)$", re.M)


def over_budget(wanted: Mapping[str, bytes], armed: Mapping[str, bytes]) -> dict[str, str]:
    """Return a sentence for each timer of `wanted` that must not replace the one in `armed`, or be added to these.

    The cheapest are accepted first. A timer that costs no more than the one that it replaces is always accepted, so the
    cost of all never grows beyond the budget. The values are the contents of unit files.
    """
    costs = {instance: cost_of(content) for instance, content in armed.items()}
    added = {instance: cost_of(content) - costs.get(instance, 0) for instance, content in wanted.items()}
    spent = sum(costs.values())
    refused = {}
    for instance in sorted(added, key=lambda instance: (added[instance], instance)):
        if added[instance] > 0 and spent + added[instance] > BUDGET:
            refused[instance] = (
                f"Its schedule needs {len(LINE.findall(wanted[instance]))} lines in its timer, and the timers of this "
                f"account have too many: {spent} of {BUDGET} beyond the first of each, where one with a time zone "
                f"counts as {ZONE_COST}. Choose a simpler schedule, or set the machine's time zone to that of the jobs "
                f"(timedatectl); 'hermes-oscron translate' shows the lines of a schedule.")
        else:
            spent += added[instance]
    return refused


def cost_of(content: bytes) -> int:
    """Return the cost of the lines of a timer's unit file, without the first one that costs most."""
    costs = [ZONE_COST if word[:1].isalpha() and word != b"UTC" else 1 for word in LINE.findall(content)]
    return sum(costs) - max(costs, default=0)
