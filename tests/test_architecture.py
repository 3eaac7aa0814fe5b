"""The shape of the package: imports go downward, modules stay small, and the guide names files that exist."""

import ast
import re
from pathlib import Path

import pytest

from hermes_oscron.hermes import jobs_file
from hermes_oscron.schedulers.protocol import Scheduler
from hermes_oscron.state import State

PACKAGE = Path(__file__).parents[1] / "hermes_oscron"
GUIDE = PACKAGE.parent / "docs" / "architecture.md"
MAX_MODULE_LINES = 350
MAX_CLASS_LINES = 250
LAYERS = [
    {"errors", "files", "version", "barrier", "clock", "wakeup", "become", "state", "json_text", "installation"},
    {"schedule"},
    {"jobs"},
    {"account", "config", "install"},
    {"hermes"},
    {"runs"},
    {"schedulers"},
    {"notify", "metrics"},
    {"privileged"},
    {"runner"},
    {"service"},
    {"web", "cli"},
]
"""From the lowest to the highest. A module imports from its own layer and from those below."""
APART = {"in_agent"}
"""Runs in the agent's own Python: it and the rest of the package do not import each other."""
MODULES = sorted(PACKAGE.rglob("*.py"))
SYSTEM_CALLS = {
    "fcntl.flock": {
        "files.py",
        "in_agent/maintain.py",  # takes the lock of the agent's scheduler, and cannot import files.py
        "in_agent/fire_due.py",  # imports nothing of the package
    },
    "os.rename": {
        "files.py",
        "runs/requests.py",  # shows the request to runners only once it is locked, so the open file is moved
        "install/environment.py",  # moves a link
    },
    "os.replace": set(),
}
"""The modules that may call these functions themselves, and the reasons; others use the functions of `files.py`."""
GUIDED = {
    "the ledger": "runs/ledger.py",
    "the rule for clock changes (DST) of a cron expression": "schedule/occurrences.py",
    "the comparison with croniter": "schedule/second_opinion.py",
    "field validation": "jobs/fields.py",
    "what a policy takes": "jobs/policy.py",
    "what pause does": "jobs/lifecycle.py",
    "the JSON of a job": "jobs/view.py",
    "whether a job is due": "jobs/due.py",
    "the atomic write": "files.py",
    "our configuration, `oscron.toml`": "config.py",
    "the protocol with root": "privileged/protocol.py",
    "the active scheduler": "schedulers/active.py",
    "the history route": "web/routes_crons.py",
    "code that runs in the agent's Python": "in_agent/",
    "the rate limit": "web/rate_limit.py",
    "the runner's log": "runner/log.py",
    "the agent worker": "in_agent/worker.py",
    "the end of a run": "runs/finish.py",
}
"""The parts that a newcomer looks for, and their files."""


def layer_of(room: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


def room_of(path: Path) -> str:
    """Return the package or top-level module that `path` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[tuple[str, ...]]:
    """Return the modules and names that `path` imports, also inside functions, as parts of their full names."""
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
        found |= {tuple(name) for name in names}
    return found


def imports_of(path: Path) -> set[str]:
    """Return the packages and top-level modules of the package that `path` imports."""
    return {name[1] for name in imported_names(path) if name[0] == "hermes_oscron" and len(name) > 1} - {"__version__"}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of each row of the guide's table under `heading`."""
    section = GUIDE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return lines[1:]


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


def test_only_the_job_store_and_the_runner_use_the_functions_of_jobs_file() -> None:
    module = ("hermes_oscron", "hermes", "jobs_file")
    importing = set()
    for path in MODULES:
        for name in imported_names(path):
            if name[:3] == module and not is_exception(name[3:]):
                importing.add(str(path.relative_to(PACKAGE)))
    assert {name for name in importing if not name.startswith("runner/")} == {"hermes/job_store.py"}


def is_exception(name: tuple[str, ...]) -> bool:
    """Return True if `name` is an exception class of `hermes/jobs_file.py`; the module itself is not."""
    value = getattr(jobs_file, name[0]) if name else None
    return isinstance(value, type) and issubclass(value, Exception)


@pytest.mark.parametrize("function", SYSTEM_CALLS)
def test_locks_and_renames_are_made_in_one_place(function: str) -> None:
    module, name = function.split(".")
    calling = set()
    for path in MODULES:
        used = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if function in used or (module, name) in imported_names(path):
            calling.add(str(path.relative_to(PACKAGE)))
    assert calling == SYSTEM_CALLS[function]


def test_a_scheduler_has_few_members() -> None:
    members = {name for name in vars(Scheduler) if not name.startswith("_")}
    assert members == {"kind", "resolution", "availability", "drift", "apply", "start", "running", "next_elapses",
                       "armed_since", "health", "remove_all"}


def test_the_guide_leads_a_newcomer() -> None:
    assert {row[0]: row[1].strip("`") for row in rows("Where is …?")} == GUIDED
    text = GUIDE.read_text()
    [diagram] = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    assert {"web", "cli", "service", "jobs.json", "hermes-cron-exec"} <= set(re.findall(r"[a-z.-]{3,}", diagram))
    for path in ("create", "fire"):
        assert f"\n## The path of a {path}\n\n1. " in text
    assert len(rows("Looking to add X? Start here")) >= 10


def test_the_guide_names_files_that_exist() -> None:
    named = re.findall(r"`(?!cron/)([a-z_]+(?:/[a-z_]+)*(?:/|\.py|/[a-z_]+\.json))`", GUIDE.read_text())
    assert named
    for name in named:
        assert (PACKAGE / name).exists() or (PACKAGE.parent / name).exists(), name


def test_the_guide_lists_every_state_file() -> None:
    state = State("/home")
    names = {Path(getattr(state, name)).name for name, value in vars(State).items() if isinstance(value, property)}
    listed = {name.split("/")[0] for row in rows("State on disk") for name in re.findall(r"`([^`]+)`", row[0])}
    assert listed == names - {"oscron"}
