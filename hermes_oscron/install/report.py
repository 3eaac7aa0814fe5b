"""The messages of the installer.

An installation goes on if they can no longer be printed, as in `./install.sh | head -1`.
"""

import os
import sys
from typing import TextIO

program = "install.sh"
"""The name before a warning; `main` sets it."""


def say(text: str) -> None:
    """Print `text` at once."""
    _print(text, sys.stdout)


def warn(text: str) -> None:
    """Print `text` as a warning."""
    _print(f"{program}: {text}", sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    if stream is None:  # it was closed
        return
    try:
        encoding = stream.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
