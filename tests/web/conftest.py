"""A server that has nothing to fire its jobs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Api, read_token, serving


@pytest.fixture
def idle_api(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A client of a server that should fire by systemd timers where no systemd can be reached."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nobody-runs-here"))
    if os.geteuid() == 0:  # root's manager is found under /run
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\nexec unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec \"$@\"' sh "
                          f"{sys.executable} \"$@\"\n")
        python.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(python))
    with serving("--scheduler", "systemd", log=tmp_path / "serve.log") as url:
        yield Api(url, read_token(root))
