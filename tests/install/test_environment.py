"""The environments of an installation: replaced in one step, and removed once nothing uses them."""

import subprocess
from pathlib import Path

import pytest

from hermes_oscron.install import environment, layout
from hermes_oscron.install.settings import InstallError
from tests.conftest import wait_for


@pytest.fixture
def places(tmp_path: Path) -> layout.Layout:
    made = layout.user({"XDG_DATA_HOME": str(tmp_path)}, str(tmp_path))
    for name in ("venv", "env-1", "env-2", "env-3"):
        Path(made.prefix, name, "bin").mkdir(parents=True)
    return made


def test_the_link_is_moved_in_one_step(places: layout.Layout) -> None:
    Path(f"{places.current}.new").symlink_to("left-by-a-kill")
    for name in ("env-1", "env-2"):
        environment.use(places, f"{places.prefix}/{name}")
        assert Path(places.current).resolve().name == name
    assert not Path(f"{places.current}.new").is_symlink()


def test_environments_that_nothing_uses_are_removed(places: layout.Layout) -> None:
    environment.use(places, f"{places.prefix}/env-3")
    program = Path(places.prefix, "env-1", "bin", "sleep")
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as running:
        command_line = Path(f"/proc/{running.pid}/cmdline")  # empty for a moment during execve(2)
        try:
            wait_for(lambda: b"sleep" in command_line.read_bytes())
            environment.remove_unused(places)
            assert sorted(path.name for path in Path(places.prefix).iterdir()) == ["current", "env-1", "env-3"]
        finally:
            running.kill()
    environment.remove_unused(places)
    assert sorted(path.name for path in Path(places.prefix).iterdir()) == ["current", "env-3"]


def test_a_failed_build_leaves_the_environment_in_use(places: layout.Layout, tmp_path: Path) -> None:
    environment.use(places, f"{places.prefix}/env-3")
    with pytest.raises(InstallError, match="cannot be made"):
        environment.build(places, str(tmp_path), "/bin/false", None)
    assert sorted(path.name for path in Path(places.prefix).iterdir()) == ["current", "env-1", "env-2", "env-3", "venv"]
    assert Path(places.current).resolve().name == "env-3"


def test_an_unreachable_index_is_reported_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    places = layout.user({"XDG_DATA_HOME": str(tmp_path)}, str(tmp_path))
    with pytest.raises(InstallError) as refused:
        environment.build(places, str(Path(__file__).parents[2]), environment.python_for(None), None)
    assert str(refused.value).count("\n") == 0 and "--offline" in str(refused.value)
    assert not list(Path(places.prefix).iterdir())
