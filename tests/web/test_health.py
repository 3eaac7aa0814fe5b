from ..conftest import Api


def test_it_answers_without_a_token(server: str) -> None:
    anyone = Api(server, None)
    answer = anyone.get("/health")
    assert (answer["status"], answer["scheduler"]) == ("ok", "foreground")
    assert anyone.headers["Content-Type"] == "application/json"
    assert anyone.headers["Cache-Control"] == "no-store"


def test_it_reveals_nothing_about_the_jobs(api: Api) -> None:
    job = api.create(name="secret plan")
    answer = str(api.with_token(None).get("/health"))
    assert "secret plan" not in answer and job["id"] not in answer


def test_a_request_from_a_foreign_page_is_refused(api: Api) -> None:
    assert api.call("GET", "/health", headers={"Host": "evil.example"})[0] == 403
    assert api.call("GET", "/health", headers={"Origin": "http://evil.example"})[0] == 403


def test_it_only_takes_get(api: Api) -> None:
    assert api.call("POST", "/health", {})[0] == 405
