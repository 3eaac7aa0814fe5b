"""A client that has an answer already gets 304 without a body, and the new answer once it differs."""

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Api, in_seconds, read_token, serving, write_jobs

READS = ["/api/crons", "/api/crons?all_profiles=1", "/api/crons/status", "/api/crons/recent",
         "/api/crons/delivery-options", "/api/crons/history?job_id=a", "/api/gateway/status", "/health",
         "/api/openapi.json"]


def get(api: Api, path: str, tags: str | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """Return the status, the ETag and the body of the answer at `path` to a client that has `tags`."""
    sent = {"Authorization": f"Bearer {api.token}", **({"If-None-Match": tags} if tags is not None else {}), **headers}
    status, got, body = api.send("GET", path, None, sent, None)
    assert status != 304 or (not body and got["Cache-Control"] == "no-store" and not got["Content-Type"])
    return status, got["ETag"], body


@pytest.mark.parametrize("path", READS)
def test_each_read_has_a_strong_tag_and_is_not_sent_twice(module_api: Api, path: str) -> None:
    status, tag, body = get(module_api, path)
    assert status == 200 and tag.startswith('"') and tag.endswith('"') and json.loads(body)
    assert get(module_api, path, tag) == (304, tag, b"")


def test_any_of_several_tags_and_any_weak_one_counts(api: Api) -> None:
    _, tag, _ = get(api, "/api/crons")
    for tags in (tag, f'"x", {tag}', f'{tag},"x"', f"W/{tag}", f'W/"x" , W/{tag}', "*", " * ", f'"a,b", {tag}'):
        assert get(api, "/api/crons", tags)[0] == 304, tags
    for tags in ("", '"x"', 'W/"x"', tag.strip('"'), f'"{tag}', '"*"', "**", tag[:-2] + '"', "\xff", '"', ","):
        assert get(api, "/api/crons", tags)[0] == 200, tags


def test_each_change_gives_another_tag(api: Api, root: Path) -> None:
    tags = [get(api, "/api/crons")[1]]

    def assert_changed() -> None:
        status, tag, _ = get(api, "/api/crons", ", ".join(tags))
        assert status == 200 and tag not in tags
        assert get(api, "/api/crons", tag)[0] == 304
        tags.append(tag)

    job = api.create(name="a")
    assert_changed()
    api.post("/api/crons/update", {"job_id": job["id"], "name": "b"})
    assert_changed()
    api.post("/api/crons/pause", {"job_id": job["id"]})
    assert_changed()
    write_jobs(root, {"id": "theirs", "prompt": "x", "schedule": {"kind": "once", "run_at": in_seconds(3600)}})
    assert_changed()
    (root / "config.yaml").write_text("timezone: Asia/Tokyo\n")
    (root / "ESTOP").touch()
    assert_changed()


def test_another_server_gives_the_same_content_the_same_tag(root: Path, tmp_path: Path) -> None:
    write_jobs(root, {"id": "a", "prompt": "x", "schedule": "every 2h"})
    tags = set()
    for n in range(2):
        with serving("--scheduler", "foreground", log=tmp_path / f"{n}.log") as url:
            tags.add(get(Api(url, read_token(root)), "/api/crons")[1])
    assert len(tags) == 1


def test_a_tag_is_of_one_profile(api: Api, root: Path) -> None:
    write_jobs(root / "profiles" / "work", {"id": "a", "prompt": "x", "schedule": "every 2h"})
    _, tag, _ = get(api, "/api/crons")
    assert get(api, "/api/crons", tag, **{"X-Hermes-Profile": "work"})[0] == 200


def test_a_tag_opens_nothing(api: Api) -> None:
    _, tag, _ = get(api, "/api/crons")
    for tags in (tag, "*"):
        status, got, _ = api.send("GET", "/api/crons", None, {"If-None-Match": tags}, None)
        assert status == 401 and not got["ETag"]
        assert get(api, "/api/crons", tags, Host="elsewhere.example")[0] == 403


def test_an_error_and_a_command_have_no_tag(api: Api) -> None:
    assert get(api, "/api/crons/status?job_id=../x", "*")[:2] == (400, None)
    assert get(api, "/api/crons/nothing", "*")[:2] == (404, None)
    status, _ = api.call("POST", "/api/crons/create", {"prompt": "x", "schedule": "2h"}, headers={"If-None-Match": "*"})
    assert status == 200 and not api.headers["ETag"]


def test_the_connection_stays_open_after_304(http_api: Api) -> None:
    _, tag, _ = get(http_api, "/api/crons")
    headers = {"Authorization": f"Bearer {http_api.token}"}
    with closing(http.client.HTTPConnection(http_api.url.removeprefix("http://"), timeout=10)) as connection:
        connection.connect()
        socket = connection.sock
        for method, tags, status in (("GET", tag, 304), ("HEAD", tag, 304), ("GET", "", 200), ("HEAD", "", 200),
                                     ("GET", "*", 304), ("GET", "", 200)):
            connection.request(method, "/api/crons", headers=headers | {"If-None-Match": tags})
            answer = connection.getresponse()
            assert (answer.status, answer.headers["ETag"]) == (status, tag)
            assert bool(answer.read()) == (status == 200 and method == "GET")
            assert connection.sock is socket
        connection.request("GET", "/api/crons", headers=headers | {"If-None-Match": "*", "Connection": "close"})
        assert connection.getresponse().status == 304 and connection.sock is None
