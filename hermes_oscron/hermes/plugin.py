"""Install and remove the plugin that turns off the agent's own scheduler, in the home of every profile.

Installing writes the plugin's files first and then the setting in config.yaml that makes the agent use them; removing
does the reverse.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping

from .. import files
from ..config import Config
from ..errors import OscronError, cause
from ..files import make_private_dir, write_atomic
from . import agent, config_yaml
from .config_yaml import Edit, EditError
from .home import Home, homes_of

PROVIDER_NAME = "oscron"
PROVIDER_SOURCE = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/in_agent/cron_provider"
FILES = ("__init__.py", "plugin.yaml")
INHERITED_ENV = ("PATH", "HERMES_TIMEZONE")
"""The variables of the installing shell that a sync needs."""

CHECK_TIMEOUT_S = 60.0


class PluginError(OscronError):
    """The plugin could not be installed or removed; the text names the file and states what to do."""


def install(root: str, program: str, environment: Mapping[str, str]) -> list[Home]:
    """Make the agent of every profile of `root` run `program` sync when jobs change, and fire nothing.

    Returns the homes. Raises PluginError; if a config.yaml cannot be edited, before anything is written.
    """
    here = homes_of(root)
    edits = {home: _edited(home) for home in here}
    kept = {key: environment[key] for key in INHERITED_ENV if environment.get(key)}
    command = {"argv": [program, "sync"], "environment": {**kept, "HERMES_HOME": root}}
    try:
        for home, edit in edits.items():
            make_private_dir(folder(home))
            for name in FILES:
                with open(f"{PROVIDER_SOURCE}/{name}", "rb") as file:
                    write_atomic(f"{folder(home)}/{name}", file.read())
            _write_json(f"{folder(home)}/command.json", command)
            if edit:
                content, made, is_new = edit
                _write_json(f"{folder(home)}/edit.json", {**made._asdict(), "new_file": is_new})
                _write_config(home, content)
    except OSError as error:
        raise PluginError(f"{error.filename or root} cannot be written: {cause(error)}") from error
    return here


def remove(root: str) -> list[Home]:
    """Remove the plugin from every profile of `root`; return the homes that had it. Raises PluginError."""
    found = [home for home in homes_of(root) if os.path.isdir(folder(home)) or _provider(home) == PROVIDER_NAME]
    contents = {home: _restored(home) for home in found}
    try:
        for home, content in contents.items():
            if content is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_config(home))
            elif content != _read(home):
                _write_config(home, content)
            shutil.rmtree(folder(home), ignore_errors=True)
    except OSError as error:
        raise PluginError(f"{error.filename or root} cannot be written: {cause(error)}") from error
    return found


def is_installed(home: Home) -> bool:
    """Return True if the agent of `home` uses the plugin."""
    return os.path.exists(f"{folder(home)}/command.json") and _provider(home) == PROVIDER_NAME


def problems(root: str, settings: Config) -> list[str]:
    """Return a sentence for each profile of `root` whose gateway fires jobs although the plugin is installed.

    Asks the agent's own Python, which takes about a second. Raises AgentNotFound.
    """
    homes = homes_of(root)
    installed = [home for home in homes if is_installed(home)]
    if not installed:
        return []
    found = [f"{home.profile}: the plugin is not installed in this profile, so a gateway of it fires jobs too, and "
             "changes by the agent are armed later. 'hermes-oscron plugin install' installs it."
             for home in homes if home not in installed]
    python = agent.python_of(root, settings)
    for home in installed:
        reason = _why_unused(agent.check_provider_command(python, home, len(homes))) if python else None
        if reason:
            found.append(f"{home.profile}: the agent does not use the plugin, so a gateway fires jobs too. Each "
                         f"occurrence still runs once, because both claim it first. 'hermes-oscron plugin install' "
                         f"writes the plugin again. The agent's reason: {reason}")
    return found


def _why_unused(check: list[str]) -> str | None:
    """Return the agent's reason for not using the plugin, by the command `check`; None if it uses it."""
    try:
        ended = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                               timeout=CHECK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not answer for {CHECK_TIMEOUT_S:.0f} s."
    except OSError as error:
        return f"{error.filename}: {cause(error)}"
    last = ended.stderr.strip().rpartition("\n")[2]
    return (last or f"exit status {ended.returncode}.") if ended.returncode else None


def folder(home: Home) -> str:
    """Return the folder in which the agent looks for the plugin of `home`."""
    return f"{home.path}/plugins/{PROVIDER_NAME}"


def _edited(home: Home) -> tuple[bytes, Edit, bool] | None:
    """Return the config.yaml of `home` with the provider set, the edit, and True if the file is new.

    Returns None if the provider is set already. Raises PluginError.
    """
    content = _read(home)
    try:
        text = (content or b"").decode()
        if config_yaml.provider_of(text) == PROVIDER_NAME:
            return None
        after, made = config_yaml.with_provider(text, PROVIDER_NAME)
    except (EditError, UnicodeDecodeError) as error:
        raise PluginError(f"{_config(home)} was not changed: {error}. Put 'provider: {PROVIDER_NAME}' under 'cron' "
                          "yourself, then run this again.") from None
    return after.encode(), made, content is None


def _restored(home: Home) -> bytes | None:
    """Return the config.yaml of `home` without the plugin; None if there was no file before. Raises PluginError."""
    content = _read(home)
    if content is None:
        return None
    made, was_new = _edit_made(home)
    try:
        after = config_yaml.without_provider(content.decode(), PROVIDER_NAME, made)
    except (EditError, UnicodeDecodeError) as error:
        raise PluginError(f"{_config(home)} was not changed: {error}.") from None
    return after.encode() if after or not was_new else None


def _edit_made(home: Home) -> tuple[Edit | None, bool]:
    """Return the edit that installing made, if it is known, and True if it created the file."""
    try:
        with open(f"{folder(home)}/edit.json", encoding="utf-8", opener=files.open_regular) as file:
            said = json.load(file)
        return Edit(int(said["at"]), str(said["old"]), str(said["new"])), bool(said["new_file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


def _provider(home: Home) -> object:
    try:
        return config_yaml.provider_of((_read(home) or b"").decode())
    except (EditError, UnicodeDecodeError):
        return None


def _read(home: Home) -> bytes | None:
    try:
        with open(_config(home), "rb", opener=files.open_regular) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PluginError(f"{_config(home)} cannot be read: {cause(error)}") from error


def _write_config(home: Home, content: bytes) -> None:
    """Replace the config.yaml of `home` by `content`, and keep its mode."""
    path = _config(home)
    write_atomic(path, content, os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600)


def _config(home: Home) -> str:
    return f"{home.path}/config.yaml"


def _write_json(path: str, content: object) -> None:
    write_atomic(path, json.dumps(content, indent=2).encode())
