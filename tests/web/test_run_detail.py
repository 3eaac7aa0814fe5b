from pathlib import Path

from ..conftest import Api
from .test_history import HEADING, write

NAME = "2027-03-01_09-00-00.md"


def detail(api: Api, root: Path, text: str) -> dict[str, object]:
    write(root, "a", NAME, text)
    answer: dict[str, object] = api.get(f"/api/crons/run?job_id=a&filename={NAME}")
    return answer


def test_one_run_comes_whole_with_its_beginning_and_what_it_used(api: Api, root: Path) -> None:
    text = f"{HEADING}**Model:** m\n\n## Prompt\n\n{'long ' * 5000}\n\n## Response\n\n{'y' * 700}\n"
    assert detail(api, root, text) == {"job_id": "a", "filename": NAME, "content": text, "snippet": "y" * 600,
                                       "usage": {"model": "m"}}


def test_a_run_that_said_nothing_has_an_empty_beginning(api: Api, root: Path) -> None:
    for text in ("no heading", f"{HEADING}\n## Response\n\n  \n"):
        assert detail(api, root, text)["snippet"] == "(empty)"


def test_a_run_that_is_not_there_is_not_found(api: Api, root: Path) -> None:
    write(root, "a", NAME, "x")
    for job_id, name in (("a", "2027-03-02_09-00-00.md"), ("b", NAME)):
        status, answer = api.call("GET", f"/api/crons/run?job_id={job_id}&filename={name}")
        assert status == 404 and name in answer["error"]


def test_a_path_is_no_name_of_a_run(api: Api, root: Path) -> None:
    write(root, "a", NAME, "x")
    for name in ("", "..%2fb%2fx.md", "%2fetc%2fpasswd", "../x.md", ".x.md", "x.txt", "x%00.md", "a%2f" + NAME,
                 "x" * 300 + ".md"):
        status, answer = api.call("GET", f"/api/crons/run?job_id=a&filename={name}")
        assert status == 400 and "filename" in answer["error"], name
    assert api.call("GET", "/api/crons/run?job_id=a")[0] == 400
    assert api.call("GET", f"/api/crons/run?filename={NAME}")[0] == 400
