"""In which scheduler the jobs are armed: the one file that keeps a job from ever being armed in two."""

from ..hermes.homes import regular, state_dir
from ..hermes.store import make_private_dir, replace_file


def in_charge(root: str) -> str | None:
    """The kind of scheduler in which the jobs of ROOT are armed; None before there is any."""
    try:
        with open(_path(root), encoding="ascii", opener=regular) as file:
            return file.read(100).strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def put_in_charge(root: str, kind: str) -> None:
    """Remember that the jobs of ROOT are armed in a scheduler of KIND. Raises OSError."""
    if in_charge(root) != kind:
        make_private_dir(state_dir(root))
        replace_file(_path(root), f"{kind}\n".encode())


def _path(root: str) -> str:
    return f"{state_dir(root)}/scheduler"
