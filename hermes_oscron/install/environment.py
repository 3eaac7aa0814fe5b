"""The Python environments of an installation, `env-N`: each is built beside the one in use, and then replaces it."""

import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator

from ..files import write_atomic
from ..version import commit_of
from .fingerprint import FILE, fingerprint, is_intact
from .layout import Layout
from .ownership import is_roots
from .processes import Account, run
from .settings import InstallError

MIN_PYTHON = (3, 11)
BUILD_TIMEOUT_S = 1800.0
NO_INDEX = ("Failed to establish a new connection", "NameResolutionError", "Temporary failure in name resolution",
            "ConnectTimeoutError", "ReadTimeoutError", "ProxyError", "SSLError", "No matching distribution found",
            "Network is unreachable", "Connection refused")
"""Parts of the messages by which pip reports that it cannot reach the package index."""
LINKS = ("hermes-oscron", "hermes-cron-exec")


def python_for(account: Account | None) -> str:
    """Return the Python for the environment: this one, or for `account` one that it can run and only root can change.

    Raises InstallError.
    """
    if account is None:
        candidates = [sys.executable]
    else:
        names = [f"python3.{minor}" for minor in range(14, MIN_PYTHON[1] - 1, -1)] + ["python3"]
        folders = ("/usr/local/bin", "/usr/bin")
        candidates = [sys.executable, *(f"{folder}/{name}" for name in names for folder in folders)]
    works = f"import ensurepip, venv, sys; sys.exit(sys.version_info < {MIN_PYTHON})"
    for python in candidates:
        if account and not is_roots(python):
            continue
        if run([python, "-I", "-c", works]).returncode == 0 and (
                account is None or account.run([python, "-I", "-c", ""]).returncode == 0):
            return python
    if account is None:
        raise InstallError(f"{sys.executable} cannot make a virtual environment;",
                           "on Debian and Ubuntu: apt install python3-venv.")
    raise InstallError(
        f"There is no Python 3.11 or newer with venv in /usr/local/bin or /usr/bin that {account.name} can run and "
        f"only root can change; install one there (on Debian and Ubuntu: apt install python3-venv).")


def build(layout: Layout, source: str, python: str, wheels: str | None) -> str:
    """Build a new environment from `source`, check that it works, and return its folder; the one in use stays.

    With `wheels`, packages come from that folder alone. Raises InstallError, after which nothing is left.
    """
    numbers = [int(match[1]) for path in environments(layout) if (match := re.search(r"/env-(\d+)$", path))]
    folder = f"{layout.prefix}/env-{max(numbers, default=0) + 1}"
    try:
        made = run([python, "-I", "-m", "venv", folder], BUILD_TIMEOUT_S)
        if made.returncode:
            raise InstallError(f"The environment cannot be made in {folder}: {made.stdout}{made.stderr}".rstrip())
        pip = [f"{folder}/bin/python", "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--no-warn-script-location", "--no-input"]
        given = ["--isolated", "--no-index", "--find-links", wheels] if wheels else []  # PIP_FIND_LINKS may be a URL
        _pip([*pip, *given, "--require-hashes", "--requirement", f"{source}/requirements.lock"], wheels)
        with tempfile.TemporaryDirectory(dir=folder) as copy:  # the build writes beside what it builds
            _copy_package(source, copy)
            _pip([*pip, "--isolated", "--no-deps", "--no-index", "--no-build-isolation", copy], wheels)
        for name in LINKS:
            tried = run([f"{folder}/bin/{name}", "--version"])
            if tried.returncode:
                raise InstallError(f"{name} does not run in the new environment: {tried.stderr}".rstrip())
        write_atomic(f"{folder}/{FILE}", fingerprint(folder, source, python).encode(), 0o644)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def is_up_to_date(layout: Layout, source: str, python: str) -> bool:
    """Return True if `build` with the same arguments would make the environment that is in use."""
    return is_intact(os.path.realpath(layout.current), source, python) and works(layout)


def use(layout: Layout, folder: str) -> None:
    """Make the environment in `folder` the one in use, in one step. Raises OSError."""
    replace_link(layout.current, os.path.basename(folder))


def replace_link(path: str, target: str) -> None:
    """Make `path` a link to `target`, in one step. Raises OSError."""
    new = f"{path}.new"
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(target, new)
    os.rename(new, path)


def environments(layout: Layout) -> list[str]:
    """Return the folders of all environments, also of version 0.1 and unfinished ones."""
    return [*glob.glob(f"{glob.escape(layout.prefix)}/env-*"),
            *(path for path in [f"{layout.prefix}/venv"] if os.path.isdir(path))]


def remove_unused(layout: Layout) -> None:
    """Remove the environments that are not in use: by the link, or by a process, such as a run in progress."""
    in_use = os.path.realpath(layout.current)
    commands = list(_command_lines())
    for folder in environments(layout):
        if os.path.realpath(folder) != in_use and not any(os.fsencode(f"{folder}/") in line for line in commands):
            shutil.rmtree(folder, ignore_errors=True)


def works(layout: Layout, programs: str = "") -> bool:
    """Return True if the environment in use, or the one with the folder `programs`, can run our commands.

    Root does not try one whose program or Python others can change.
    """
    programs = programs or layout.programs
    command = f"{programs}/hermes-oscron"
    if layout.is_system and not (is_roots(command) and is_roots(f"{programs}/python")):
        return False
    return run([command, "--version"]).returncode == 0


def _pip(command: list[str], wheels: str | None) -> None:
    """Run pip. Raises InstallError: a sentence if the index cannot be reached, else with what pip printed."""
    done = run(command, BUILD_TIMEOUT_S)
    if done.returncode == 0:
        return
    printed = f"{done.stdout}{done.stderr}".rstrip()
    if wheels:
        raise InstallError(f"The packages cannot be installed from {wheels}. Fill it on a machine with the same "
                           f"Python: pip download -r requirements.lock -d DIR. pip says:\n{printed}")
    if any(text in printed for text in NO_INDEX):
        raise InstallError("The package index cannot be reached, and nothing was changed. Check the network and its "
                           "proxy (https_proxy, PIP_INDEX_URL), or install from a folder of wheels: --offline DIR.")
    raise InstallError(f"pip failed, and nothing was changed. It says:\n{printed}")


def _copy_package(source: str, target: str) -> None:
    """Copy what the package is built from; the templates of the units, the manuals and the commit go into it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(f"{source}/{name}", f"{target}/{name}")
    shutil.copytree(f"{source}/hermes_oscron", f"{target}/hermes_oscron", ignore=ignored)
    shutil.copytree(f"{source}/docs/man", f"{target}/hermes_oscron/install/man")
    shutil.copytree(f"{source}/units", f"{target}/hermes_oscron/install/units", ignore=ignored)
    if commit := commit_of(f"{source}/hermes_oscron"):
        with open(f"{target}/hermes_oscron/commit.txt", "w", encoding="ascii") as file:
            file.write(f"{commit}\n")


def _command_lines() -> Iterator[bytes]:
    for process in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(process, "rb") as file:
                yield file.read()
        except OSError:
            continue
