"""requirements.lock: exactly the packages that hermes-oscron needs, each with hashes, for every supported Python."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SOURCE = Path(__file__).parents[1]
LOCK = SOURCE / "requirements.lock"
PROJECT = tomllib.loads((SOURCE / "pyproject.toml").read_text())
NEEDED = [Requirement(text) for text in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def locked() -> dict[str, tuple[str, list[str]]]:
    """Return the version and the hashes of each package in the lock."""
    lines = [line for line in LOCK.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#")]
    found = {}
    for words in map(str.split, filter(str.strip, "".join(lines).replace("\\\n", " ").splitlines())):
        name, equals, version = words[0].partition("==")
        assert equals and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in words[1:]), words
        found[name] = (version, words[1:])
    return found


def needs_of(names: Iterable[str]) -> list[tuple[str, Requirement]]:
    """Return what each of the installed packages `names` needs, on any supported Python."""
    needs = []
    for name in names:
        for text in importlib.metadata.requires(name) or ():
            need = Requirement(text)
            environments = [{"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
                            for version in PYTHONS]
            if need.marker is None or any(need.marker.evaluate(environment) for environment in environments):
                needs.append((name, need))
    return needs


def all_needs() -> list[tuple[str, Requirement]]:
    """Return every requirement, direct or not, and the package that has it."""
    needs = [("pyproject.toml", need) for need in NEEDED]
    done: set[str] = set()
    while new := {canonicalize_name(need.name) for _, need in needs} - done:
        needs += needs_of(sorted(new))
        done |= new
    return needs


def test_the_lock_has_exactly_the_packages_that_are_needed() -> None:
    assert locked().keys() == {canonicalize_name(need.name) for _, need in all_needs()}


def test_every_package_in_the_lock_has_hashes() -> None:
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []


def test_the_versions_in_the_lock_satisfy_every_requirement() -> None:
    versions = {name: version for name, (version, _) in locked().items()}
    unmet = [f"{name} needs {need}, the lock has {versions[canonicalize_name(need.name)]}"
             for name, need in all_needs() if versions[canonicalize_name(need.name)] not in need.specifier]
    assert unmet == []


def test_the_lock_names_no_index_and_no_path() -> None:
    """They would be those of the machine on which it was made."""
    text = LOCK.read_text()
    options = {word for word in text.split() if word.startswith("-") and not word.startswith("--hash=")}
    assert "://" not in text and not re.search(r"\s/\w", text) and not options
    assert "docs/dependencies.md" in text.split("==")[0]


def test_every_dependency_has_a_reason() -> None:
    told = (SOURCE / "docs" / "dependencies.md").read_text()
    names = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert {row[0] for row in re.findall(r"^\| ([\w-]+) \| (.+) \| (.+) \|$", told, re.M)} - {"package"} >= names


def test_waitress_stays_below_the_next_minor_version() -> None:
    """`web/connection_limits.py` uses its internals."""
    waitress, = (need for need in NEEDED if need.name == "waitress")
    assert "3.0.9" in waitress.specifier and "3.1.0" not in waitress.specifier


@pytest.mark.parametrize("need", [need for need in NEEDED if need.name != "setuptools"], ids=str)
def test_the_tests_run_with_a_supported_version(need: Requirement) -> None:
    assert importlib.metadata.version(need.name) in need.specifier
