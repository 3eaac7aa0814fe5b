"""Values of jobs.json that Python cannot read: the jobs around them are used, and the values stay as they are."""

from pathlib import Path

import pytest

from hermes_oscron.hermes import jobs_file, unreadable
from hermes_oscron.hermes.home import Home
from hermes_oscron.hermes.jobs_file import NotAJobsFile

DEEP = "[" * 200_000 + "]" * 200_000
UNREADABLE = ["9" * 5000, "-" + "9" * 5000, "1e999", "-1e400", DEEP, '{"a":' * 100_000 + "1" + "}" * 100_000]


def write(root: Path, text: str) -> Path:
    path = root / "cron" / "jobs.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: value[:5])
def test_a_value_that_python_cannot_read_is_preserved_by_a_change(home: Home, root: Path, value: str) -> None:
    path = write(root, f'{{"jobs": [{{"id": "a", "odd": {value}}}, {{"id": "b"}}], "other": {value}}}')
    assert [record["id"] for record in jobs_file.read(home)] == ["a", "b"]
    for job_id in ("a", "b"):
        jobs_file.change_each(home, [job_id], lambda record: {**record, "name": "renamed"})
    text = path.read_text()
    assert text.replace(" ", "").count(value) == 2 and "cannot be read" not in text
    assert [record["name"] for record in jobs_file.read(home)] == ["renamed"] * 2


@pytest.mark.parametrize("text", ["{}", '{"a": [1, -2.5, 1e308, "\\"[9"], "b": null}', '"' + "9" * 5000 + '"',
                                  "[" * 64 + "]" * 64])
def test_text_that_python_can_read_stays_as_it_is(text: str) -> None:
    assert unreadable.with_stand_ins(text) == text


def test_a_string_that_looks_like_a_stand_in_stays_as_it_is() -> None:
    text = b'"(a value that cannot be read: %s)"' % (b"0" * 32)
    assert unreadable.with_originals(text) == text


@pytest.mark.parametrize("text", ["", "{", "[1e999", "5", DEEP[:-1]],
                         ids=lambda text: text[:10])
def test_a_file_without_jobs_is_not_a_jobs_file(home: Home, root: Path, text: str) -> None:
    path = write(root, text)
    with pytest.raises(NotAJobsFile, match="Repair it or move it away"):
        jobs_file.read(home)
    with pytest.raises(NotAJobsFile):
        jobs_file.add(home, {"id": "a"})
    assert path.read_text() == text
