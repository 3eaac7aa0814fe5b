from pathlib import Path

from ..conftest import Api, write_script


def write_outputs(root: Path, job_id: str, **contents: str) -> None:
    folder = root / "cron" / "output" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.md").write_text(content)


def days(count: int) -> dict[str, str]:
    return {f"2026-{1 + n // 28:02}-{1 + n % 28:02}_09-00-00": f"run {n}" for n in range(count)}


def test_a_run_s_output_is_a_file_of_markdown(api: Api, root: Path) -> None:
    job = api.create(no_agent=True, script=write_script(root, "a.sh", "echo hello there"), name="Hi")
    api.run_to_end(job["id"])
    answer = api.get(f"/api/crons/output?job_id={job['id']}")
    assert answer["job_id"] == job["id"]
    output, = answer["outputs"]
    assert set(output) == {"filename", "content"}
    assert output["content"] == (root / "cron" / "output" / job["id"] / output["filename"]).read_text()
    assert "## Prompt" in output["content"] and "## Response\n\nhello there\n" in output["content"]


def test_the_newest_five_outputs_are_the_default(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(7))
    outputs = api.get("/api/crons/output?job_id=a")["outputs"]
    assert [output["content"] for output in outputs] == [f"run {n}" for n in (6, 5, 4, 3, 2)]
    assert outputs[0]["filename"] == "2026-01-07_09-00-00.md"


def test_the_limit_is_clamped_and_defaults_if_it_is_not_a_number(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(300), **{f"x{name}": "x" for name in days(300)})
    for limit, count in {"2": 2, "0": 1, "-3": 1, "500": 500, "501": 500, "100000": 500, "": 5, "many": 5,
                         "2.5": 5}.items():
        assert len(api.get(f"/api/crons/output?job_id=a&limit={limit}")["outputs"]) == count, limit


def test_an_unknown_job_or_one_that_never_ran_has_no_outputs(api: Api) -> None:
    for job_id in ("never-was", api.create()["id"]):
        assert api.get(f"/api/crons/output?job_id={job_id}") == {"job_id": job_id, "outputs": []}


def test_a_missing_or_malformed_job_id_is_refused(api: Api) -> None:
    for query in ("", "?limit=3", "?job_id=", "?job_id=..", "?job_id=..%2F..%2Fetc", "?job_id=a%00b", "?job_id=.a",
                  f"?job_id={'a' * 65}"):
        status, answer = api.call("GET", f"/api/crons/output{query}")
        assert status == 400 and "job_id" in answer["error"], query


def test_an_output_of_up_to_8000_characters_is_complete(api: Api, root: Path) -> None:
    content = "é" * 7000 + "\n## Response\n" + "é" * 987
    assert len(content) == 8000
    write_outputs(root, "a", r=content)
    assert api.outputs("a") == [content]


def test_a_longer_output_is_cut_to_its_beginning_and_its_response(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="h" * 300 + "p" * 9000 + "\n## Response\n\nthe answer\n")
    window, = api.outputs("a")
    assert window.startswith("h" * 200 + "\n...") and window.endswith("## Response\n\nthe answer\n")
    assert len(window) < 300 and "hh" * 101 not in window and "p" not in window.removesuffix("the answer\n")[200:210]


def test_a_longer_output_without_a_response_is_cut_to_its_end(api: Api, root: Path) -> None:
    write_outputs(root, "a", r="a" * 5000 + "z" * 7999 + "\n")
    assert api.outputs("a") == ["z" * 7999 + "\n"]


def test_other_files_are_not_listed(api: Api, root: Path) -> None:
    write_outputs(root, "a", **days(1))
    (root / "cron" / "output" / "a" / ".2026-01-02_09-00-00.md.7.tmp").write_text("unfinished")
    (root / "cron" / "output" / "a" / "notes.txt").write_text("notes")
    assert api.outputs("a") == ["run 0"]
