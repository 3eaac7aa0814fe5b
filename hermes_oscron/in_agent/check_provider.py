"""check_provider.py HOME PROFILES: check, in the agent's Python, that the gateway of HOME uses the provider `oscron`.

PROFILES is the number of profiles that the gateway serves. Exit status: 0 if it uses the provider; 1 if not, with
the agent's reason on standard error.
"""

import os
import sys


def uses_plugin(profiles: int) -> bool:
    """Return True if a gateway with so many `profiles` uses the provider."""
    from cron import scheduler_provider

    provider = scheduler_provider.resolve_cron_scheduler()
    choose = getattr(scheduler_provider, "scheduler_for_profile_mode", None)
    if choose:
        provider = choose(provider, multiplex_profiles=profiles > 1)
    return bool(provider.name == "oscron")


if __name__ == "__main__":
    os.environ["HERMES_HOME"] = sys.argv[1]
    sys.exit(0 if uses_plugin(int(sys.argv[2])) else 1)
