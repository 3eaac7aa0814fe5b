"""Checks of a job's fields that depend on this machine: profiles, scripts and folders must exist."""

import os
from typing import Any

from ..errors import shortened
from ..hermes.home import Home, ProfileNotFound, ScriptPathError, home_of, script_path
from ..jobs.fields import ValidationError


def check_on_machine(fields: dict[str, Any], home: Home) -> dict[str, Any]:
    """Return the checked `fields`. Raises ValidationError if one names something that does not exist."""
    try:
        if profile := fields.get("profile"):
            home_of(home.root, profile)
        if script := fields.get("script"):
            script_path(home, script)
    except ProfileNotFound as error:
        raise ValidationError(str(error)) from None
    except ScriptPathError as error:
        raise ValidationError(f"'script': {error}") from None
    folder = fields.get("workdir")
    if folder and not os.path.isdir(folder):
        raise ValidationError(f"'workdir' must be a folder that exists; {shortened(folder)} is not one.")
    return fields
