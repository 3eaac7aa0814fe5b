"""The output of a run in progress: readers get each part once, and nothing stays after the run."""

import os

from hermes_oscron.hermes.home import Home
from hermes_oscron.runs import live_output
from hermes_oscron.runs.live_output import MAX_BYTES, path_of, read


def test_a_reader_gets_each_part_once(home: Home) -> None:
    with live_output.live_output(home, "a") as append:
        append(b"one\n")
        first = read(home, "a", 0)
        append(b"two\n")
        second = read(home, "a", first.next)
    assert (first.text, first.is_new) == ("one\n", False)
    assert (second.text, second.is_new) == ("two\n", False)
    assert not os.path.exists(path_of(home, "a"))


def test_a_character_is_not_cut(home: Home) -> None:
    text = "h\u00e4\u20ac\U0001f600".encode()
    for cut in range(1, len(text)):
        with live_output.live_output(home, "a") as append:
            append(text[:cut])
            first = read(home, "a", 0)
            append(text[cut:])
            second = read(home, "a", first.next)
        assert first.text + second.text == text.decode(), cut


def test_a_very_long_output_begins_again(home: Home) -> None:
    with live_output.live_output(home, "a") as append:
        append(b"x" * (MAX_BYTES - 1))
        position = read(home, "a", 0).next
        append(b"end\n")
        part = read(home, "a", position)
    assert (part.text, part.is_new) == ("end\n", True)


def test_bytes_that_are_not_text_are_replaced(home: Home) -> None:
    with live_output.live_output(home, "a") as append:
        append(b"\xff\xfe\x80 ok \xc3\x28\n")
        assert " ok " in read(home, "a", 0).text


def test_a_link_is_not_followed(home: Home) -> None:
    secret = f"{home.path}/secret"
    with open(secret, "w") as file:
        file.write("secret")
    os.makedirs(home.state.live)
    os.symlink(secret, path_of(home, "a"))
    assert read(home, "a", 0).text == ""
    with live_output.live_output(home, "a") as append:
        append(b"x")
    with open(secret) as file:
        assert file.read() == "secret"
