"""The version and the commit that `--version` prints."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import hermes_oscron
from hermes_oscron.version import COMMIT_FILE, PACKAGE, version_text

SOURCE = Path(__file__).parents[1]
COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
OTHER = COMMIT[::-1]
PLAIN = f"hermes-oscron {hermes_oscron.__version__}"
WITH_COMMIT = f"{PLAIN} (commit 1a2b3c4)"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source folder with an empty package and no commit."""
    (tmp_path / "source" / "hermes_oscron").mkdir(parents=True)
    return tmp_path / "source"


def version_of(source: Path) -> str:
    return version_text("hermes-oscron", f"{source}/hermes_oscron")


def git(folder: Path, *arguments: str) -> str:
    author = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "HOME": str(folder), **author}).stdout.strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_package_and_its_metadata_have_one_version() -> None:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    assert project["project"]["version"] == hermes_oscron.__version__
    assert COMMIT_FILE in project["tool"]["setuptools"]["package-data"]["hermes_oscron"]
    assert Path(hermes_oscron.__file__).parent == Path(PACKAGE)


def test_the_commit_of_an_installed_package_is_in_its_own_file(source: Path) -> None:
    write(source / "hermes_oscron" / COMMIT_FILE, f"{COMMIT}\n")
    write(source / ".git" / "HEAD", OTHER)
    assert version_of(source) == WITH_COMMIT


def test_without_any_commit_only_the_version_is_printed(source: Path) -> None:
    assert version_of(source) == PLAIN


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_of_a_source_is_the_one_that_git_has_checked_out(source: Path, tmp_path: Path) -> None:
    git(source, "init", "--quiet")
    assert version_of(source) == PLAIN, "there is no commit yet"

    def commit() -> str:
        git(source, "commit", "--quiet", "--allow-empty", "--message", "Change nothing")
        return f"{PLAIN} (commit {git(source, 'rev-parse', 'HEAD')[:7]})"

    first = commit()
    assert version_of(source) == first
    git(source, "pack-refs", "--all")
    assert version_of(source) == first, "the branch is a line in packed-refs"
    second = commit()
    assert version_of(source) == second != first, "the file of the branch is newer than packed-refs"
    git(source, "checkout", "--quiet", "--detach", "HEAD~")
    assert version_of(source) == first, "HEAD itself is a commit"
    for reference in (["-b", "feature/new", "HEAD"], ["--detach", "HEAD"]):
        tree = tmp_path / f"worktree{reference[0]}"
        git(source, "worktree", "add", "--quiet", *reference[:-1], str(tree), reference[-1])
        (tree / "hermes_oscron").mkdir()
        assert version_of(tree) == first, "the worktree's branch is in the folder of the main one"
    git(source, "pack-refs", "--all")
    assert version_of(tmp_path / "worktree-b") == first


@pytest.mark.parametrize("head", ["", "ref: refs/heads/main", "ref: ../../secret", "commit", COMMIT[:39], "ref:",
                                  "\0", "ref: \0", "ref: /etc/passwd", "g" * 40])
def test_a_damaged_git_folder_is_as_none(source: Path, head: str) -> None:
    write(source / ".git" / "HEAD", head)
    assert version_of(source) == PLAIN


def test_a_pipe_in_the_git_folder_is_not_waited_for(source: Path) -> None:
    (source / ".git").mkdir()
    os.mkfifo(source / ".git" / "HEAD")
    os.mkfifo(source / "hermes_oscron" / COMMIT_FILE)
    assert version_of(source) == PLAIN


def test_bytes_that_are_not_text_are_as_none(source: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").write_bytes(b"\xff\xfe" * 20)
    assert version_of(source) == PLAIN


def test_no_program_is_started_for_the_commit(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(source / ".git" / "HEAD", COMMIT)
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: pytest.fail("a program was started"))
    assert version_of(source) == WITH_COMMIT
