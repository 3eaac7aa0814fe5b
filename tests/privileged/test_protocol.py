"""Which requests root's helper accepts."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes_oscron.hermes.home import split_instance
from hermes_oscron.privileged.protocol import COMMANDS, ProtocolError, Request, parse_request

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4))
NAMES = ["a:b", "default:4f2a9c1d07be", "../../etc:x", "a:b\n", "sshd", "a:", ":b", "a:b:c", "a/b:c",
         "a:%n", "a:.b", "é:b", "a:" + "b" * 65, "a: b", "a:b\0", "\ud800:b"]


@pytest.mark.parametrize("sent", [
    Request("watch"), Request("disarm"), Request("start", ["default:4f2a9c1d07be"]),
    Request("arm", ["a:b", "a:c"]), Request("disarm", ["a:b"]), Request("disarm", []),
])
def test_a_request_arrives_as_it_was_sent(sent: Request) -> None:
    assert parse_request(sent.line()) == sent


@pytest.mark.parametrize("line", [
    b"", b"\0", b"arm", b"{", b"[]", b"{}", b'"arm"', b"\xff\xfe", b"[" * 100_000, b'{"command": 1e999}',
    b'{"command": ["arm"]}', b'{"command": "arm "}', b'{"command": "ARM"}', b'{"command": null}',
    b'{"command": "restart", "instances": ["a:b"]}', b'{"command": "sync"}', b'{"verb": "watch"}',
    b'{"command": "start"}', b'{"command": "start", "instances": []}', b'{"command": "start", "instances": "a:b"}',
    b'{"command": "arm"}', b'{"command": "arm", "instances": []}', b'{"command": "arm", "instances": null}',
    b'{"command": "start", "instances": [["a:b"]]}', b'{"command": "disarm", "instances": {"a:b": 1}}',
    b'{"command": "disarm", "instances": [7]}', b'{"command": "disarm", "instances": false}',
    b'{"command": "watch", "unit": "sshd.service"}', b'{"command": "arm", "instances": ["a:b"], "leave": ["a:c"]}',
    b'{"command": "start", "instances": ["a:b"], "command": "enable"}', b'{"command": ' + b"9" * 5000 + b"}",
])
def test_a_malformed_request_is_refused_in_a_sentence(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^[ -~]{1,250}$"):
        parse_request(line)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", NAMES[2:])
def test_a_name_that_is_not_an_instance_is_refused_in_every_place(command: str, name: str) -> None:
    for names in ([name], ["a:b", name], [name, "a:b"]):
        with pytest.raises(ProtocolError, match=r"^[ -~]{1,250}$"):
            parse_request(json.dumps({"command": command, "instances": names}).encode())


@given(st.binary(max_size=200) | JSON.map(lambda sent: json.dumps(sent).encode())
       | st.fixed_dictionaries({"command": st.sampled_from(COMMANDS) | JSON},
                               optional={"instances": st.lists(st.sampled_from(NAMES)) | JSON})
       .map(lambda sent: json.dumps(sent).encode()))
@example(b'{"command": "disarm", "instances": null}')
def test_any_bytes_are_a_request_with_checked_names_or_refused(line: bytes) -> None:
    try:
        request: Any = parse_request(line)
    except ProtocolError:
        return
    assert request.command in COMMANDS
    for name in request.instances or []:
        split_instance(name)
    assert request.instances or request.command not in ("arm", "start")
