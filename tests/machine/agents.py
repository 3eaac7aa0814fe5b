"""The agent in a booted machine."""

import json
import shlex
from typing import Any

from tests.machine.box import INSIDE
from tests.machine.sites import Site

AGENT = f"{INSIDE}/.agent-venv/bin"
HERMES = f"{AGENT}/python -m hermes_cli.main"
"""The agent's command; its own script names a Python by a path that is another one inside."""
PATH = f"{AGENT}:/usr/local/bin:/usr/bin:/bin"


def hermes(site: Site, arguments: str, home: str = "") -> str:
    """What the agent's own `hermes ARGUMENTS` says."""
    return str(site.run(f"HERMES_HOME={home or site.hermes} {HERMES} {arguments}").stdout)


def agent(site: Site, code: str, home: str = "") -> Any:
    """What CODE, in the agent's own Python, leaves in `answer`."""
    code = f"import json\nfrom cron.jobs import *\n{code}\nprint(json.dumps(answer, default=str))"
    said = site.run(f"HERMES_HOME={home or site.hermes} {AGENT}/python -c {shlex.quote(code)}").stdout
    return json.loads(said.splitlines()[-1])
