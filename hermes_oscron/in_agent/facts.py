"""facts.py: print as JSON how the Hermes agent runs scripts and which fields its jobs have, in its own Python.

The environment of this process is the one that a script would get. The agent decides by its own functions which of
these variables scripts do not get, which it changes, and by which Python scripts run.

    facts.py           {"sources", "fields", "has_snapshots", "python", "python_environment", "removed", "changed"}
    facts.py model     standard input: {"provider", "model", "base_url", "no_agent", "pinned"}; the fields that the
                       agent's own create and update store for that: a pinned model, or snapshots of the present one
"""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any


def script_facts(environment: dict[str, str]) -> dict[str, Any]:
    """Return how the agent runs a script in `environment`, and which fields its jobs have."""
    from cron import jobs
    from tools.environments import local

    given = local._sanitize_subprocess_env(dict(environment))
    try:
        from cron.scheduler_script import _posix_cron_script_argv

        argv, python_environment = _posix_cron_script_argv(Path("SCRIPT"))
    except ImportError:  # 0.19
        argv, python_environment = [sys.executable, "SCRIPT"], {}
    return {
        "sources": [local.__file__, jobs.__file__],
        "fields": list(inspect.signature(jobs.create_job).parameters),
        "has_snapshots": hasattr(jobs, "_compute_provider_model_snapshots"),
        "python": argv[:-1],
        "python_environment": python_environment,
        "removed": sorted(environment.keys() - given.keys()),
        "changed": {name: value for name, value in given.items() if environment.get(name) != value},
    }


def model_fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the agent stores for the provider and model `given`."""
    from cron import jobs

    if given.get("pinned") and not given.get("model"):
        provider, model = jobs._main_model_pin()
        return {"provider": provider, "model": model}
    if not hasattr(jobs, "_compute_provider_model_snapshots"):
        return {}
    provider, model = jobs._compute_provider_model_snapshots(
        provider=given.get("provider"), model=given.get("model"), base_url=given.get("base_url"),
        no_agent=given.get("no_agent"))
    return {"provider_snapshot": provider, "model_snapshot": model}


def main() -> None:
    """Print the answer. Nothing else reaches standard output: what the agent prints goes to standard error."""
    environment = dict(os.environ)  # the agent's imports change it
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    found = model_fields(json.load(sys.stdin)) if sys.argv[1:] == ["model"] else script_facts(environment)
    json.dump(found, answer)


if __name__ == "__main__":
    main()
