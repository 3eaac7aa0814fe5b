"""What root's helper takes for a question, and what it does not."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes_oscron.hermes.homes import split_instance
from hermes_oscron.schedulers.systemd.request import VERBS, Malformed, Request, parse

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4))
NAMES = ["a:b", "default:4f2a9c1d07be", "../../etc:x", "a:b\n", "sshd", "a:", ":b", "a:b:c", "a/b:c",
         "a:%n", "a:.b", "é:b", "a:" + "b" * 65, "a: b", "a:b\0", "\ud800:b"]


@pytest.mark.parametrize("asked", [
    Request("sync"), Request("stop"), Request("start", ["default:4f2a9c1d07be"]),
    Request("sync", ["a:b", "a:c"]), Request("sync", leave=["a:b"]), Request("sync", []),
])
def test_what_is_asked_is_what_is_heard(asked: Request) -> None:
    assert parse(asked.line()) == asked


@pytest.mark.parametrize("line", [
    b"", b"\0", b"sync", b"{", b"[]", b"{}", b'"sync"', b"\xff\xfe", b"[" * 100_000, b'{"verb": 1e999}',
    b'{"verb": ["sync"]}', b'{"verb": "sync "}', b'{"verb": "SYNC"}', b'{"verb": "restart", "instances": ["a:b"]}',
    b'{"verb": "start"}', b'{"verb": "start", "instances": []}', b'{"verb": "start", "instances": "a:b"}',
    b'{"verb": "start", "instances": [["a:b"]]}', b'{"verb": "stop", "instances": {"a:b": 1}}',
    b'{"verb": "sync", "leave": [7]}', b'{"verb": "sync", "unit": "sshd.service"}',
    b'{"verb": "start", "instances": ["a:b"], "verb": "enable"}', b'{"verb": ' + b"9" * 5000 + b"}",
])
def test_what_is_no_question_is_refused(line: bytes) -> None:
    with pytest.raises(Malformed, match=r"^[ -~]{1,250}$"):
        parse(line)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", NAMES[2:])
def test_a_name_that_is_no_instance_is_refused_wherever_it_stands(verb: str, name: str) -> None:
    for key in ("instances", "leave"):
        with pytest.raises(Malformed, match=r"^[ -~]{1,250}$"):
            parse(json.dumps({"verb": verb, "instances": ["a:b"], key: ["a:b", name]}).encode())


@given(st.binary(max_size=200) | JSON.map(lambda said: json.dumps(said).encode())
       | st.fixed_dictionaries({"verb": st.sampled_from(VERBS) | JSON},
                               optional={"instances": st.lists(st.sampled_from(NAMES)) | JSON,
                                         "leave": st.lists(st.sampled_from(NAMES)) | JSON})
       .map(lambda said: json.dumps(said).encode()))
@example(b'{"verb": "stop", "instances": null}')
def test_whatever_is_sent_is_a_question_with_checked_names_or_refused(line: bytes) -> None:
    try:
        asked: Any = parse(line)
    except Malformed:
        return
    assert asked.verb in VERBS
    for name in [*(asked.instances or []), *(asked.leave or [])]:
        split_instance(name)
