"""The part of a job's policy that changes its command: the same under every scheduler."""

from .. import config
from ..errors import OscronError
from ..hermes.home import Home
from ..jobs import policy
from ..jobs.record import Record
from .environment import NoExecutor
from .process import Command


def with_policy(command: Command, record: Record, home: Home, settings: config.Config) -> Command:
    """Return `command` with the policy of the job of `record`, which `home` owns. Raises NoExecutor."""
    try:
        wanted = {**settings.policy_of(home.profile), **policy.stored(record)}
    except OscronError as error:
        raise NoExecutor(str(error)) from None
    # a run by the agent ends with the agent's codes, and not with those of the job
    codes = () if command.by_agent else tuple(wanted.get("success_exit_codes", ()))
    return command._replace(timeout=wanted.get("timeout", command.timeout), success_exit_codes=codes,
                            stop_timeout=wanted.get("stop_timeout", command.stop_timeout))
