"""A job's line in a text that this program has written, compared with a parse of the whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_oscron.hermes.jobs_text import HEAD, TAIL, JobLine, encode, job_line, whole

OTHERS = {"version": 1}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"id": "a"', "\n", "],\n", '{"id": "a"']),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["id", "x", "jobs"]), children),
    max_leaves=6)
RECORDS = st.builds(lambda job_id, rest: {"id": job_id, **{key: rest[key] for key in rest if key != "id"}},
                    st.sampled_from(["a", "b", "ab", "long-id"]), st.dictionaries(st.text(max_size=4), VALUES))


def parsed(text: bytes) -> Any:
    content = json.loads(text)
    content.pop("updated_at")
    return content


def line_in(text: bytes, job_id: str = "a") -> JobLine:
    line = job_line(text, job_id)
    assert line
    return line


@given(st.lists(RECORDS, max_size=4))
def test_a_line_is_the_job_that_a_whole_parse_finds_and_only_it_is_replaced(records: list[dict[str, Any]]) -> None:
    text = whole([encode(record) for record in records], OTHERS)
    for job_id in ("a", "b", "ab", "long-id"):
        line = job_line(text, job_id)
        of_that_id = [record for record in records if record["id"] == job_id]
        if line is None:
            assert len(of_that_id) != 1 or text.count(f'"id": "{job_id}"'.encode()) > 1
            continue
        assert [line.record] == of_that_id
        after = {**line.record, "name": "another"}
        assert parsed(line.replaced_by(after)) == {
            "jobs": [after if record is of_that_id[0] else record for record in records], **OTHERS}


def test_most_jobs_have_a_line() -> None:
    text = whole([encode({"id": f"job{n}", "prompt": "say \"hello\",\n then stop"}) for n in range(20)], OTHERS)
    assert all(line_in(text, f"job{n}").record["id"] == f"job{n}" for n in range(20))
    assert job_line(text, "job") is None and job_line(text, "job20") is None and job_line(text, "\ud800") is None


def test_the_other_lines_stay_byte_by_byte_even_if_they_are_damaged() -> None:
    text = HEAD + b'{"id": "z" ,\n{"id": "a", "name": "old"},\n{"id" : "b"}' + TAIL + b'"k": [1.50]}\n'
    after = text.replace(b"old", b"new").partition(TAIL)[0]
    assert line_in(text).replaced_by({"id": "a", "name": "new"}).startswith(after + TAIL)


@pytest.mark.parametrize("text", [
    json.dumps({"jobs": [{"id": "a"}], "updated_at": "x"}, indent=2).encode(),
    b'[\n{"id": "a"}\n],\n"k": 1}\n',
    HEAD + b'{"id": "a"}\n]}',
    HEAD + b'{"name": "x", "id": "a"}' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "a"},\n{"id": "a"}' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "b", "x": {"id": "a"}}' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "b", "x": {"id": "a"}},\n{"id": "a"}' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "a"},\n{"x": {"id": "a"}}' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "a", "x": [' + TAIL + b'"k": 1}\n',
    HEAD + b'{"id": "a"}' + TAIL + b'"jobs": []}\n',
    HEAD + b'{"id": "b"}' + TAIL + b'"k": [\n{"id": "a"}\n]}\n',
    HEAD + b'{"id": "a"}' + TAIL + b'"k"',
    HEAD + b'{"id": "a"}' + TAIL + b'}\n',
    b"",
])
def test_any_other_text_is_parsed_as_a_whole(text: bytes) -> None:
    assert job_line(text, "a") is None
