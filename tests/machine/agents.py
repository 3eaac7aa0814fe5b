"""The agent in a booted machine."""

import json
import shlex
import threading
from typing import Any

from tests.agent.conftest import AGENT_ENVIRONMENT
from tests.agent.model import Call, Model
from tests.machine.box import INSIDE
from tests.machine.sites import Site

AGENT = f"{INSIDE}/{AGENT_ENVIRONMENT}/bin"
HERMES = f"{AGENT}/python -m hermes_cli.main"
"""The agent's command. Its own script starts a Python by a path that does not exist inside."""
PATH = f"{AGENT}:/usr/local/bin:/usr/bin:/bin"
RUN_S = 180.0
"""More than a run takes on a busy machine, with the imports of the agent."""


class HeldModel(Model):
    """A model that answers once `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.answer = self._wait

    def _wait(self, _call: Call) -> str:
        assert self.released.wait(RUN_S)
        return "The model was here."


def hermes(site: Site, arguments: str, home: str = "") -> str:
    """Return what the agent's own `hermes` with `arguments` prints."""
    return str(site.run(f"HERMES_HOME={home or site.hermes} {HERMES} {arguments}").stdout)


def agent(site: Site, code: str, home: str = "") -> Any:
    """Run `code` in the agent's own Python, and return the value of its variable `answer`."""
    code = f"import json\nfrom cron.jobs import *\n{code}\nprint(json.dumps(answer, default=str))"
    said = site.run(f"HERMES_HOME={home or site.hermes} {AGENT}/python -c {shlex.quote(code)}").stdout
    return json.loads(said.splitlines()[-1])
