"""redact.py: remove secrets from texts by the Hermes agent's own rules, in its own Python.

Standard input has one JSON string a line; the answer to each is a line with the JSON string without secrets.
"""

import json
import os
import signal
import sys
from pathlib import Path


def is_turned_off() -> bool:
    """Return True if config.yaml sets `security.redact_secrets: false`, which the agent's own commands also read."""
    try:
        text = Path(os.environ["HERMES_HOME"], "config.yaml").read_text(encoding="utf-8")
        if "redact_secrets" not in text:
            return False
        try:
            import hermes_yaml as yaml  # from 0.22 on
        except ImportError:
            import yaml
        setting = yaml.safe_load(text)["security"]["redact_secrets"]
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return False
    return setting is not None and str(setting).lower() not in ("1", "true", "yes", "on")


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the rest of the output of a stopped job still comes
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if is_turned_off():
        os.environ["HERMES_REDACT_SECRETS"] = "false"
    from agent.redact import redact_sensitive_text

    for line in sys.stdin:
        answer.write(json.dumps(redact_sensitive_text(json.loads(line))) + "\n")
        answer.flush()


if __name__ == "__main__":
    main()
