"""The credentials of a run: copies of files in a private folder, which exist only while the run is in progress.

The account reads the files itself: root's systemd would open any path that the account names (LoadCredential=).
"""

import contextlib
import os
import shutil
from collections.abc import Mapping

from ..files import make_private_dir, open_regular
from ..hermes.home import Home

VARIABLE = "CREDENTIALS_DIRECTORY"
"""The variable with the folder, as systemd names it (systemd.exec(5))."""
MAX_BYTES = 1024 * 1024
"""The largest credential, as of systemd."""


def provide(home: Home, job_id: str, files: Mapping[str, str]) -> str:
    """Copy each of `files`, by name, for a run of `job_id`, and return the folder of the copies. Raises OSError."""
    remove(home, job_id)
    folder = folder_of(home, job_id)
    make_private_dir(folder)
    try:
        for name, path in files.items():
            with open(path, "rb", opener=open_regular) as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise OSError(None, f"it is larger than {MAX_BYTES // 1024**2} MiB", path)
            fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with open(fd, "wb") as copy:
                copy.write(content)
    except OSError:
        remove(home, job_id)
        raise
    return folder


def remove(home: Home, job_id: str) -> None:
    """Remove the copies for `job_id`, if there are any."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder_of(home, job_id))


def folder_of(home: Home, job_id: str) -> str:
    """Return the folder of the copies for `job_id`."""
    return f"{home.state.credentials}/{job_id}"
