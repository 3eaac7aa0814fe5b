"""Searching for the agent."""

import os
import venv
from pathlib import Path

import pytest

from hermes_oscron.config import Config
from hermes_oscron.hermes.agent import AgentNotFound, python_of


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with a `hermes` in it; its bin folder."""
    venv.create(tmp_path / "agent", symlinks=True)
    write_command(tmp_path / "agent" / "bin" / "hermes", "#!/somewhere/else/python3\n")
    return tmp_path / "agent" / "bin"


@pytest.fixture
def no_agent(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`root`, where no agent can be found."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return str(root)


def write_command(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_agent_is_found_on_the_path_in_the_home_and_in_local_bin(
        no_agent: str, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert python_of(no_agent, Config()) is None
    for link in (tmp_path / ".local" / "bin" / "hermes", tmp_path / "sbin" / "hermes"):
        link.parent.mkdir(parents=True)
        link.symlink_to(environment / "hermes")
        monkeypatch.setenv("PATH", f"relative::{tmp_path}/sbin:/usr/bin")
        assert python_of(no_agent, Config()) == f"{environment}/python3"
        link.unlink()
    (Path(no_agent) / "hermes-agent").mkdir()
    (Path(no_agent) / "hermes-agent" / "venv").symlink_to(environment.parent)
    assert python_of(no_agent, Config()) == f"{environment}/python3"


def test_the_shebang_names_the_python_if_none_is_beside_the_command(no_agent: str, environment: Path,
                                                                        tmp_path: Path) -> None:
    python = f"{environment}/python3"
    for text in (f"#!{python}\nimport sys\n", f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\nimport sys\n",
                 f"#!/bin/sh\nexec \"{python}\" -m hermes_cli \"$@\"\n"):
        command = write_command(tmp_path / "opt" / "hermes", text)
        assert python_of(no_agent, Config(agent=command)) == python


def test_a_configured_path_that_is_not_an_agent_is_an_error_that_names_it(no_agent: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    other = write_command(tmp_path / "other" / "hermes", "#!/bin/sh\necho\n")
    for named in (str(tmp_path / "missing"), str(folder), other):
        with pytest.raises(AgentNotFound, match=named):
            python_of(no_agent, Config(agent=named))


def test_the_setting_none_disables_the_agent(no_agent: str, environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{environment}:{os.environ['PATH']}")
    assert python_of(no_agent, Config(agent="none")) is None
    assert python_of(no_agent, Config()) == f"{environment}/python3"
