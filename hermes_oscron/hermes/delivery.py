"""Where the agent can deliver what a job says.

The installed agent's own list is read from its source, `_KNOWN_DELIVERY_PLATFORMS` in cron/scheduler.py: to import that
costs seconds and may have effects, to read it costs a millisecond.
"""

import glob
import os
import re
import shutil

OWN = {"local": "Local (save output only)", "origin": "Origin (reply where the job was made)"}
"""What every agent takes."""
USUAL = ("telegram", "discord", "slack", "whatsapp", "signal", "matrix", "mattermost", "homeassistant", "dingtalk",
         "feishu", "wecom", "wecom_callback", "weixin", "sms", "email", "webhook", "bluebubbles", "qqbot", "yuanbao")
"""What hermes-agent 0.19 takes."""
LABELS = {"whatsapp": "WhatsApp", "homeassistant": "Home Assistant", "dingtalk": "DingTalk", "feishu": "Feishu (Lark)",
          "wecom": "WeCom", "wecom_callback": "WeCom callback", "weixin": "Weixin (WeChat)", "sms": "SMS",
          "bluebubbles": "BlueBubbles (iMessage)", "qqbot": "QQ"}
KNOWN = re.compile(r"^_KNOWN_DELIVERY_PLATFORMS\b[^=\n]*=[^{\n]*\{([^}]*)\}", re.M)
LONGEST_SOURCE = 4 * 1024 * 1024


def platforms(root: str) -> dict[str, str]:
    """What a job's `deliver` may be, with a label for people; ROOT is where an agent may be installed in."""
    offered = next(filter(None, map(_offered, _sources(root))), USUAL)
    return {**OWN, **{name: LABELS.get(name, name.replace("_", " ").capitalize()) for name in offered}}


def _sources(root: str) -> list[str]:
    """Where the source of an installed agent may be: in a checkout under ROOT, or beside the command `hermes`."""
    found = [f"{root}/hermes-agent/cron/scheduler.py"]
    command = shutil.which("hermes")
    if command:
        folders = {os.path.dirname(os.path.realpath(command)), os.path.dirname(_interpreter(command))} - {""}
        for folder in sorted(folders):
            environment = os.path.dirname(folder)
            found += glob.glob(f"{glob.escape(environment)}/lib/python3.*/site-packages/cron/scheduler.py")
            found.append(f"{os.path.dirname(environment)}/cron/scheduler.py")
    return found


def _interpreter(command: str) -> str:
    """The Python that the first line of COMMAND names, or nothing."""
    first = _beginning(command, 256).partition("\n")[0]
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    return words[0] if words and os.path.isabs(words[0]) else ""


def _offered(source: str) -> tuple[str, ...]:
    """The platforms that SOURCE, an agent's cron/scheduler.py, names; none where it names none."""
    match = KNOWN.search(_beginning(source, LONGEST_SOURCE))
    return tuple(dict.fromkeys(re.findall(r"""["']([a-z0-9_]{1,40})["']""", match[1]))) if match else ()


def _beginning(path: str, length: int) -> str:
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(length)
    except OSError:
        return ""
