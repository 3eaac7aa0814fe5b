"""The shape of the package: imports go downward, modules stay small, and the guide names files that exist."""

import ast
import re
from pathlib import Path

import pytest

from hermes_oscron.state import State

PACKAGE = Path(__file__).parents[1] / "hermes_oscron"
GUIDE = PACKAGE.parent / "docs" / "architecture.md"
MAX_MODULE_LINES = 350
MAX_CLASS_LINES = 250
LAYERS = [
    {"errors", "files", "barrier", "clock", "become", "state", "json_text"},
    {"schedule"},
    {"jobs"},
    {"account", "config"},
    {"hermes"},
    {"runs"},
    {"schedulers"},
    {"privileged"},
    {"runner"},
    {"service"},
    {"web", "cli"},
]
"""From the lowest to the highest. A module imports from its own layer and from those below."""
APART = {"in_agent"}
"""Runs in the agent's own Python: it and the rest of the package do not import each other."""
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(room: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


def room_of(path: Path) -> str:
    """Return the package or top-level module that `path` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Return the packages and top-level modules of the package that `path` imports, also inside functions."""
    package = ["hermes_oscron", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [[*module, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "hermes_oscron" and len(name) > 1}
    return found - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    room, imported = room_of(path), imports_of(path)
    if room == "__init__":
        assert not imported
    elif room in APART:
        assert imported <= {room}
    else:
        assert not imported & APART
        upward = {other for other in imported - {room} if layer_of(other) > layer_of(room)}
        assert not upward, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(upward))}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_classes_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_CLASS_LINES, node.name


def test_every_package_has_a_layer() -> None:
    rooms = {room_of(path) for path in MODULES} - {"__init__"} - APART
    assert rooms == set().union(*LAYERS)


def test_the_guide_names_files_that_exist() -> None:
    named = re.findall(r"`(?!cron/)([a-z_]+(?:/[a-z_]+)*(?:/|\.py|/[a-z_]+\.json))`", GUIDE.read_text())
    assert named
    for name in named:
        assert (PACKAGE / name).exists() or (PACKAGE.parent / name).exists(), name


def test_the_guide_lists_every_state_file() -> None:
    state = State("/home")
    names = {Path(getattr(state, name)).name for name, value in vars(State).items() if isinstance(value, property)}
    section = GUIDE.read_text().partition("## State on disk")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = {name.split("/")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert listed == names - {"oscron"}
