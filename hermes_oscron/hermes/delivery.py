"""The targets for a run's output, from memory: the agent needs two seconds to list them."""

import contextlib
from collections.abc import Iterable

from ..barrier import use_each
from ..files import StateFileError
from ..jobs.record import deliver_of
from . import job_store
from .home import Home

BUILTIN_TARGETS = {"local": "Local (save only)", "origin": "Where it was made"}
KNOWN_TARGETS = {
    "telegram": "Telegram", "discord": "Discord", "slack": "Slack", "whatsapp": "WhatsApp", "signal": "Signal",
    "matrix": "Matrix", "mattermost": "Mattermost", "email": "Email", "sms": "SMS", "webhook": "Webhook",
    "homeassistant": "Home Assistant", "feishu": "Feishu", "dingtalk": "DingTalk", "wecom": "WeCom",
    "wecom_callback": "WeCom (callback)", "weixin": "Weixin", "qqbot": "QQ Bot", "yuanbao": "Yuanbao",
    "bluebubbles": "BlueBubbles (iMessage)", "whatsapp_cloud": "WhatsApp Cloud", "google_chat": "Google Chat",
    "irc": "IRC", "line": "LINE", "ntfy": "ntfy", "photon": "Photon", "simplex": "SimpleX", "teams": "Microsoft Teams",
}
"""The platforms to which agents from 0.19 to 0.22 deliver (cron/scheduler.py, plugins/platforms)."""


def options(homes: Iterable[Home]) -> dict[str, str]:
    """Return the values that `deliver` of a job may have, each with its label for people.

    The values in the jobs of `homes` are among them, so that a form can show each of these jobs.
    """
    found = {**BUILTIN_TARGETS, **KNOWN_TARGETS}
    for home in homes:
        with contextlib.suppress(StateFileError):  # sync and doctor report it
            saved, _ = use_each(job_store.by_instance(home), lambda job: deliver_of(job.record))
            for value in saved.values():
                found.setdefault(value, value)
    return found
