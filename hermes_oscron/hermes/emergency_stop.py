"""The agent's emergency stop: `hermes pause` writes the file ESTOP, and `hermes resume` removes it.

While the file is in a profile's home or in the root, no new work begins there; its content, JSON with a `reason`, is
optional. As in the agent, a file that cannot be checked counts as there.
"""

import os

from ..errors import cause, shortened
from ..files import open_regular
from .home import Home

MAX_FILE_CHARS = 65536


def paused(home: Home) -> str | None:
    """Return a sentence if Hermes is paused in `home`, else None."""
    for path in dict.fromkeys((f"{home.path}/ESTOP", f"{home.root}/ESTOP")):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"Hermes counts as paused, because {path} cannot be checked: {cause(error)}"
        reason = _reason(path)
        return f"Hermes is paused{f' ({reason})' if reason else ''} by {path}; 'hermes resume' ends that."
    return None


def _reason(path: str) -> str:
    """Return the reason that the file at `path` gives, "" if it gives none."""
    import json  # only if Hermes is paused

    try:
        with open(path, encoding="utf-8-sig", opener=open_regular) as file:
            content = json.loads(file.read(MAX_FILE_CHARS))
    except (OSError, ValueError, RecursionError):
        return ""
    reason = content.get("reason") if isinstance(content, dict) else None
    return shortened(" ".join(reason.split())) if isinstance(reason, str) else ""
