import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.world import new_world

from ..conftest import Api, in_seconds, wait_for, write_jobs, write_script

DAILY = {"kind": "cron", "expr": "0 9 * * *", "display": "Daily at 9:00 AM"}
VERBS: dict[str, dict[str, str]] = {
    "create": {"prompt": "p", "schedule": "30m"}, "update": {"job_id": "a", "name": "n"}, "delete": {"job_id": "a"},
    "run": {"job_id": "a"}, "pause": {"job_id": "a"}, "resume": {"job_id": "a"},
}


def is_refusal(api: Api, answer: object) -> bool:
    """Return True if `answer`, the last one of `api`, is a sentence in JSON that must not be cached."""
    return (isinstance(answer, dict) and list(answer) == ["error"] and answer["error"].endswith((".", "?", "…"))
            and "Traceback" not in answer["error"]
            and api.headers["Content-Type"].startswith("application/json")
            and api.headers["Cache-Control"] == "no-store")


def refusals(api: Api, path: Path, spoil: Callable[[Path], object]) -> list[tuple[int, str]]:
    """Return the answers of all commands when jobs.json at `path` is damaged."""
    write_jobs(path.parent.parent, {"id": "a", "prompt": "p", "schedule": DAILY})
    spoil(path)
    answers = [api.call("POST", f"/api/crons/{verb}", body) for verb, body in VERBS.items()]
    answers.append(api.call("GET", "/api/crons"))
    return [(status, answer.get("error", "")) for status, answer in answers]


def test_no_response_may_be_cached(api: Api) -> None:
    job = api.create()
    for path in ("/api/crons", "/api/crons/status", f"/api/crons/output?job_id={job['id']}", "/health"):
        api.get(path)
        assert (api.headers["Cache-Control"], api.headers["Content-Type"]) == ("no-store", "application/json")
    for verb in ("pause", "resume", "delete"):
        api.post(f"/api/crons/{verb}", {"job_id": job["id"]})
        assert (api.headers["Cache-Control"], api.headers["Content-Type"]) == ("no-store", "application/json")


def test_an_unknown_path_is_404_in_json(module_api: Api) -> None:
    for path in ("/nothing", "/api", "/api/crons/", "/api/crons/nothing", "/api/crons/create/x", "/%2e%2e/etc/passwd",
                 "/%00", "/%ff", "/api/crons%ff", "/api/%c3crons"):
        status, answer = module_api.call("GET", path)
        assert status == 404 and is_refusal(module_api, answer), path


def test_a_wrong_method_is_405_in_json(module_api: Api) -> None:
    for method, path in (("GET", "/api/crons/create"), ("POST", "/api/crons"), ("DELETE", "/api/crons"),
                         ("PUT", "/api/crons/update"), ("PATCH", "/api/crons/pause"), ("OPTIONS", "/api/crons")):
        status, answer = module_api.call(method, path)
        assert status == 405 and is_refusal(module_api, answer), (method, path)


def test_a_body_over_one_mebibyte_is_413_in_json(module_api: Api) -> None:
    for size in (1024 * 1024 + 1, 3 * 1024 * 1024):
        status, answer = module_api.call("POST", "/api/crons/create", raw=b" " * size)
        assert status == 413 and is_refusal(module_api, answer)


def test_a_body_of_one_mebibyte_is_read(module_api: Api) -> None:
    body = json.dumps({"prompt": "p", "schedule": "30m"}).encode()
    assert module_api.call("POST", "/api/crons/create", raw=body.ljust(1024 * 1024))[0] == 200


def test_a_much_too_large_body_is_413_in_json(module_api: Api) -> None:
    host, port = module_api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"POST /api/crons/create HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
                           f"Authorization: Bearer {module_api.token}\r\nContent-Type: application/json\r\n"
                           f"Content-Length: {2**40}\r\n\r\n{{".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.split()[1] == b"413"
    assert list(json.loads(body)) == ["error"]
    assert b"Cache-Control: no-store" in head


def test_a_body_that_is_not_json_is_415(api: Api) -> None:
    body = json.dumps(VERBS["create"]).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
                 "application/jsonp"):
        status, answer = api.call("POST", "/api/crons/create", raw=body, headers={"Content-Type": kind})
        assert status == 415 and is_refusal(api, answer), kind
    assert api.get("/api/crons")["jobs"] == []


def test_json_is_utf_8_and_an_undecodable_content_type_is_refused(module_api: Api) -> None:
    body = {"prompt": "p", "schedule": "30m"}
    for charset in ("utf-16", "utf-32", "utf-8-sig"):
        assert module_api.call("POST", "/api/crons/create", raw=json.dumps(body).encode(charset))[0] == 400
    assert module_api.call("POST", "/api/auth/logout", {}, headers={"Content-Type": "\xff"})[0] == 415


def test_json_may_name_its_charset(module_api: Api) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert module_api.call("POST", "/api/crons/create", VERBS["create"], headers=headers)[0] == 200


def test_a_body_that_is_not_a_json_object_is_400(api: Api) -> None:
    for raw in (b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe", b'{"a": 1} x', b"[" * 100_000, b"\0"):
        for verb in ("create", "pause"):
            status, answer = api.call("POST", f"/api/crons/{verb}", raw=raw)
            assert status == 400 and is_refusal(api, answer), raw[:20]


def test_every_command_refuses_an_unknown_key_and_a_wrong_type(api: Api) -> None:
    job = api.create()
    for verb, body in VERBS.items():
        known = {**body, "job_id": job["id"]} if verb != "create" else body
        for wrong in ({**known, "colour": "red"}, {**known, "job_id": 5}, {**known, "job_id": "../x"}):
            status, answer = api.call("POST", f"/api/crons/{verb}", wrong)
            assert status == 400 and is_refusal(api, answer), (verb, wrong)
    assert api.get("/api/crons")["jobs"] == [job]


def test_null_is_the_same_as_an_omitted_field(api: Api) -> None:
    job = api.create(colour=None)
    for verb in ("pause", "resume", "update", "run", "delete"):
        assert api.post(f"/api/crons/{verb}", {"job_id": job["id"], "colour": None, "reason": None})["ok"]


def test_a_missing_job_is_404_with_its_id(api: Api) -> None:
    for verb in ("update", "delete", "run", "pause", "resume"):
        status, answer = api.call("POST", f"/api/crons/{verb}", {"job_id": "never-was"})
        assert status == 404 and is_refusal(api, answer) and "never-was" in answer["error"]


def test_an_unreadable_jobs_json_is_503_with_its_path_and_is_not_changed(api: Api, root: Path) -> None:
    path = root / "cron" / "jobs.json"
    for content in (b'{"jobs": [{"id": "a"', b"", b"\xff\xfe\x00", b'5', b'"jobs"', b"null", b"<html>"):
        for status, sentence in refusals(api, path, lambda file, content=content: file.write_bytes(content)):
            assert status == 503 and str(path) in sentence, (content, sentence)
        assert path.read_bytes() == content


def test_a_too_deeply_nested_jobs_json_is_unreadable(api: Api, root: Path) -> None:
    path, content = root / "cron" / "jobs.json", b"[" * 100_000
    answers = refusals(api, path, lambda file: file.write_bytes(content))
    assert path.read_bytes() == content
    assert [status for status, sentence in answers if str(path) in sentence] == [503] * len(answers)


def test_a_jobs_json_that_is_not_a_file_is_unreadable(api: Api, root: Path) -> None:
    path = root / "cron" / "jobs.json"

    def make_folder(file: Path) -> None:
        file.unlink()
        file.mkdir()

    for status, sentence in refusals(api, path, make_folder):
        assert status == 503 and str(path) in sentence
    assert path.is_dir()


def test_a_jobs_json_in_a_loop_of_links_is_unreadable(api: Api, root: Path) -> None:
    path = root / "cron" / "jobs.json"

    def make_loop(file: Path) -> None:
        file.unlink()
        os.symlink(file.name, file)

    answers = refusals(api, path, make_loop)
    assert [status for status, sentence in answers if str(path) in sentence] == [503] * len(answers)
    assert path.is_symlink()


def test_everything_works_again_after_jobs_json_is_repaired(api: Api, root: Path) -> None:
    job = api.create()
    path = root / "cron" / "jobs.json"
    content = path.read_bytes()
    path.write_bytes(b"{")
    assert api.call("GET", "/api/crons")[0] == 503
    path.write_bytes(content)
    assert api.post("/api/crons/update", {"job_id": job["id"], "name": "n"})["job"]["name"] == "n"


def test_jobs_fire_again_after_jobs_json_is_repaired(api: Api, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = root / "cron" / "jobs.json"
    path.write_bytes(b"{")
    wait_for(lambda: "Nothing fires until this is repaired" in caplog.text)
    path.unlink()
    job = api.create(schedule=in_seconds(1), no_agent=True, script=write_script(root, "a.sh", "echo hi"))
    assert wait_for(lambda: api.job(job["id"])["last_status"], 5) == "ok"


def test_a_folder_that_cannot_be_read_is_logged_as_a_sentence(
    api: Api, root: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    (root / "profiles").touch()
    wait_for(lambda: f"Nothing fires until this is repaired: {root}/profiles: Not a directory." in caplog.text)
    assert "Traceback" not in caplog.text


def test_an_unreadable_token_is_503_with_its_path(api: Api, root: Path) -> None:
    path = root / "cron" / "oscron" / "token"
    path.unlink()
    path.mkdir()
    for call in (("GET", "/api/crons"), ("GET", "/api/auth/status"), ("POST", "/api/auth/login", {"password": "x"})):
        status, answer = api.call(*call)
        assert status == 503 and str(path) in answer["error"], call


def test_a_parameter_that_is_given_twice_is_refused(api: Api) -> None:
    for query in ("status?job_id=a&job_id=b", "output?job_id=a&limit=1&limit=2", "recent?since=1&since=1"):
        status, answer = api.call("GET", f"/api/crons/{query}")
        assert status == 400 and is_refusal(api, answer), query


def test_a_profile_deleted_while_it_is_served_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_world() as world:
        monkeypatch.setenv("HERMES_HOME", f"{world.root}/profiles/gone")
        for status, answer in (world.get(), world.get("/status"), world.post("create", VERBS["create"])):
            assert status == 503 and "profile 'gone'" in answer["error"]
