"""The OpenAPI document against the server: schemathesis calls it in every way that the document allows and forbids."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hermes_oscron.jobs.fields import FIELDS
from hermes_oscron.schedulers.foreground import Foreground
from hermes_oscron.service.jobs import JobService
from hermes_oscron.service.selection import Selection
from hermes_oscron.web import openapi
from hermes_oscron.web.app import make_app
from hermes_oscron.web.authentication import Authenticator
from hermes_oscron.web.dashboard.routes import PAGE

from ..conftest import Api, start_server, write_script

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "schemathesis.toml"
SEED = "20261124"
EXAMPLES = "50"
"""For each operation; a limit of time would test less on a slow machine."""


def document() -> Any:
    return json.loads(openapi.document().body)


def operations() -> set[tuple[str, str]]:
    """The method and the path of each operation; the parameters of a path stand beside its methods."""
    return {(method.upper(), path) for path, methods in document()["paths"].items()
            for method in methods if method != "parameters"}


def test_it_needs_no_token(api: Api) -> None:
    assert api.with_token(None).get("/api/openapi.json") == document()


def test_a_create_and_an_update_accept_every_field_of_a_job() -> None:
    schemas = document()["components"]["schemas"]
    for name in ("NewPrompt", "NewScript", "Changes"):
        only_new = {field.name for field in FIELDS.values() if field.only_new} if name == "Changes" else set()
        assert schemas[name]["properties"].keys() >= FIELDS.keys() - only_new
        assert not schemas[name]["properties"].keys() & only_new


def test_it_names_every_route_except_the_pages(root: Path) -> None:
    selection = Selection(str(root), Foreground(str(root)))
    app = make_app(selection, JobService(selection), Authenticator(str(root)))
    routes = {(route.method, route.rule) for route in app.routes if route.name != PAGE}
    assert routes == operations()


def test_the_server_conforms_to_it(root: Path, tmp_path: Path) -> None:
    described = tmp_path / "openapi.json"
    described.write_bytes(openapi.document().body)
    write_script(root, "hello.sh", "echo hello")
    (root / "profiles" / "work").mkdir(parents=True)
    process, url = start_server("--scheduler", "foreground", log=tmp_path / "log")
    token = (root / "cron" / "oscron" / "token").read_text().strip()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(described),
             "--url", url, "--checks", "all",
             "--header", f"Authorization: Bearer {token}", "--header", "Connection: close", "--continue-on-failure",
             "--seed", SEED, "--max-examples", EXAMPLES],
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.openapi_hooks",
                 "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
            cwd=tmp_path, timeout=900,
            capture_output=True, text=True, check=False)
    finally:
        process.terminate()
        process.wait(10)
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    assert f"Seed: {SEED}" in result.stdout and f"Tested: {len(operations())}\n" in result.stdout
    assert "Traceback" not in (tmp_path / "log").read_text()
