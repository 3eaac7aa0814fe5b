"""A backup of all jobs with their state, scripts, outputs and ledger, and of oscron.toml: one compressed tar file.

Secrets are not in it: the token of the API, the agent's `.env` and `config.yaml`.
"""

import contextlib
import io
import json
import os
import re
import sqlite3
import tarfile
import tempfile
import time
from typing import Any, BinaryIO, NamedTuple

from ..clock import CLOCK
from ..errors import OscronError
from ..files import make_private_dir, open_regular, write_atomic
from ..hermes import job_store, outputs
from ..hermes.home import Home, ScriptPathError, home_of, homes_of, script_path
from ..jobs import missed
from ..runs import ledger, lock
from .command_lock import command_lock
from .selection import Selection
from .sync import Reconciler, SyncReport

FORMAT, VERSION = "hermes-oscron-backup", b"1\n"
"""The first file in a backup, and its content."""
SETTINGS = "oscron.toml"
PLACE = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})/(?:(jobs\.json)|(runs\.db)|scripts/(.+)"
                   r"|output/([A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})/([^/]+\.md))")
MAX_SCRIPT_BYTES = 16 * 1024 * 1024


class BackupError(OscronError):
    """The file is not a backup, or cannot be restored here."""

    status = 400


class Saved(NamedTuple):
    """The jobs of one profile in a backup. Outputs have the times at which they were written."""

    jobs: list[bytes]
    ledger: list[bytes]
    scripts: dict[str, bytes]
    outputs: dict[tuple[str, str], tuple[bytes, float]]

    def describe(self) -> str:
        """Return the numbers of what is in it."""
        count = len(json.loads(self.jobs[0])["jobs"]) if self.jobs else 0
        return ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in (
            (count, "job"), (len(self.scripts), "script"), (len(self.outputs), "output")))


class Backup(NamedTuple):
    """The content of a backup."""

    profiles: dict[str, Saved]
    settings: bytes | None


def write(root: str, file: BinaryIO, with_outputs: bool) -> None:
    """Write a backup of `root` to `file`. Raises StateFileError, OSError."""
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        _add(archive, FORMAT, VERSION, time.time())
        with contextlib.suppress(FileNotFoundError), open(f"{root}/{SETTINGS}", "rb", opener=open_regular) as settings:
            _add(archive, SETTINGS, settings.read(), os.fstat(settings.fileno()).st_mtime)
        for home in homes_of(root):
            _add_home(archive, home, with_outputs)


def _add_home(archive: tarfile.TarFile, home: Home, with_outputs: bool) -> None:
    place = home.profile
    job_store.read(home)  # an unreadable one is an error
    records = [job.record for job in job_store.read(home)]
    _add(archive, f"{place}/jobs.json", json.dumps({"jobs": records}).encode(), time.time())
    if ledger.exists(home):
        _add(archive, f"{place}/runs.db", _ledger_of(home), time.time())
    for folder, _, names in os.walk(home.scripts_dir):
        for name in sorted(names):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError), open(path, "rb", opener=open_regular) as script:
                _add(archive, f"{place}/scripts/{os.path.relpath(path, home.scripts_dir)}",
                     script.read(MAX_SCRIPT_BYTES), os.fstat(script.fileno()).st_mtime)
    for job_id in sorted(outputs.job_ids(home)) if with_outputs else ():
        for name in outputs.filenames(home, job_id):
            with contextlib.suppress(outputs.RunNotFound, OSError):  # retention may have removed it in between
                modified = os.stat(f"{home.output_dir}/{job_id}/{name}", follow_symlinks=False).st_mtime
                _add(archive, f"{place}/output/{job_id}/{name}", outputs.read(home, job_id, name).encode(), modified)


def _ledger_of(home: Home) -> bytes:
    """Return a copy of the ledger as it is between two transactions. Raises LedgerError."""
    with tempfile.NamedTemporaryFile() as copy, ledger.reading(home) as books:
        with contextlib.closing(sqlite3.connect(copy.name)) as other:
            books.backup(other)
        return copy.read()


def _add(archive: tarfile.TarFile, name: str, content: bytes, modified: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(modified)
    archive.addfile(member, io.BytesIO(content))


def read(content: bytes) -> Backup:
    """Return the backup in `content`. Raises BackupError."""
    profiles: dict[str, Saved] = {}
    settings = None
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            first = archive.next()
            if first is None or first.name != FORMAT or _content(archive, first) != VERSION:
                raise BackupError("The file is not a backup of this version of hermes-oscron.")
            while member := archive.next():
                if member.name == SETTINGS and member.isfile():
                    settings = _content(archive, member)
                elif member.isfile() and (place := PLACE.fullmatch(member.name)):
                    _take(profiles, place, _content(archive, member), member.mtime)
                else:
                    raise BackupError(f"The file is not a backup: it contains {member.name!r}.")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise BackupError(f"The file is not a backup, or it is damaged: {error}.") from None
    return Backup(profiles, settings)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _take(profiles: dict[str, Saved], place: "re.Match[str]", content: bytes, modified: float) -> None:
    """Add the `content` of the file at `place` to its profile. Raises ValueError if it is not what it should be."""
    profile, jobs, books, script, job_id, output = place.groups()
    saved = profiles.setdefault(profile, Saved([], [], {}, {}))
    if jobs:
        document: Any = json.loads(content)
        if not isinstance(document, dict) or not isinstance(document.get("jobs"), list):
            raise ValueError("jobs.json has no jobs")
        saved.jobs.append(content)
    elif books:
        saved.ledger.append(content)
    elif script:
        saved.scripts[script] = content
    else:
        saved.outputs[job_id, output] = content, modified


def restore(selection: Selection, backup: Backup) -> tuple[SyncReport, list[str]]:
    """Make the jobs of each profile in `backup` those of the backup, and arm them; missed occurrences stay missed.

    Scripts are written, outputs added. A ledger with rows and oscron.toml stay. Return the report of the sync, and a
    sentence for each thing that was kept. Raises BackupError, StateFileError, OSError.
    """
    kept = list[str]()
    homes = {profile: home_of(selection.root, profile) for profile in backup.profiles}
    with command_lock(selection):
        for profile, saved in backup.profiles.items():
            if running := lock.running(homes[profile]):
                raise BackupError(f"{', '.join(running)} of {profile} is running: stop it, or wait for its end.")
            _check_scripts(homes[profile], saved)
        for profile, saved in backup.profiles.items():
            kept += _restore_home(homes[profile], saved)
        kept += _restore_settings(selection.root, backup.settings)
    return Reconciler(selection).sync(), kept


def _check_scripts(home: Home, saved: Saved) -> None:
    make_private_dir(home.scripts_dir)
    for name in saved.scripts:
        try:
            script_path(home, name)
        except ScriptPathError as error:
            raise BackupError(str(error)) from None


def _restore_home(home: Home, saved: Saved) -> list[str]:
    for name, content in saved.scripts.items():
        path = script_path(home, name)
        make_private_dir(os.path.dirname(path))
        write_atomic(path, content, 0o700)
    for (job_id, name), (content, modified) in saved.outputs.items():
        path = f"{home.output_dir}/{job_id}/{name}"
        if not os.path.lexists(path):
            make_private_dir(os.path.dirname(path))
            write_atomic(path, content)
            os.utime(path, (modified, modified))
    now = CLOCK.now()
    for content in saved.jobs:
        records = [missed.restored(job_store.parse(home, record), now).record
                   if isinstance(record, dict) and isinstance(record.get("id"), str) else record
                   for record in json.loads(content)["jobs"]]
        job_store.replace(home, json.dumps({"jobs": records}).encode())
    return _restore_ledger(home, saved.ledger)


def _restore_ledger(home: Home, saved: list[bytes]) -> list[str]:
    if not saved:
        return []
    with ledger.writing(home) as books:
        if books.execute("SELECT count(*) FROM runs").fetchone()[0]:
            return [f"{home.profile}: the ledger was kept, because it has runs already."]
    with tempfile.NamedTemporaryFile() as copy, contextlib.closing(sqlite3.connect(home.state.ledger)) as books:
        copy.write(saved[0])
        copy.flush()
        with contextlib.closing(sqlite3.connect(copy.name)) as other:
            other.backup(books)
    return []


def _restore_settings(root: str, settings: bytes | None) -> list[str]:
    path = f"{root}/{SETTINGS}"
    if settings is None:
        return []
    if not os.path.lexists(path):
        write_atomic(path, settings)
        return []
    with open(path, "rb") as file:
        return [] if file.read() == settings else [f"{path} was kept; the one in the backup differs."]
