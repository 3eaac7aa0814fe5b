"""The `.env` of a home is read as python-dotenv reads it, with which the agent reads it."""

import json
import subprocess
from pathlib import Path

import pytest

from hermes_oscron.hermes.env_file import parse
from tests.agent.conftest import AGENT

DOTENV = ("import json, os, sys; from dotenv import dotenv_values; "
          "print(json.dumps({k: v for k, v in dotenv_values(sys.argv[1]).items() if v is not None}))")

TEXTS = {
    "plain": "A=1\nB = two words \n\n# comment\n  C=3 # not part\nD=#no\nE=a#b\nF=\nG\n",
    "quoted": "A='it''s'\nB=\"x\\ny\" # c\nC='x\\ny'\nD='don\\'t'\nE=\"say \\\"hi\\\" \\t.\"\n'F'=6\n",
    "export": "export A=1\nexport\tB=2\nexportC=3\nexport D\n",
    "lines": "A=\"one\ntwo\"\nB='three\nfour'\r\nC=5\r\nD=6\rE=7",
    "references": "A=1\nB=${A}2\nC='${A}'\nD=${NONE:-dflt}\nE=${NONE}\nF=${HOME_X}\nG=$A\n",
    "errors": "A=\"open\nB=2\n=3\nC='x' y\nD=4\n\"E\"=5\nnot a variable\nF=6",
    "unicode": "A=grün\nNAME=日本\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_read_as_python_dotenv_reads_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(TEXTS[name].encode())
    said = subprocess.run([f"{AGENT}/python", "-P", "-c", DOTENV, str(file)], env={"HOME_X": "/x"},
                          capture_output=True, text=True, check=True)
    assert parse(TEXTS[name].encode(), {"HOME_X": "/x"}) == json.loads(said.stdout)


def test_credentials_are_ascii_as_in_the_agent() -> None:
    assert parse("MY_API_KEY=ab\u028bc\nTEXT=ab\u028bc\n".encode(), {}) == {"MY_API_KEY": "abc", "TEXT": "ab\u028bc"}


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfA=1\n", "A=1\n".encode("utf-16"), b"A=1\0\nB=\xe9\n"])
def test_any_encoding_is_read(text: bytes) -> None:
    assert parse(text, {})["A"] == "1"
