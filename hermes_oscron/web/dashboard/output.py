"""Outputs for people: Markdown as HTML, and text without what controls a terminal.

An output comes from a program or a model, so it is never trusted: HTML in it is shown as text, and of its links only
those to web and mail addresses work. Pictures are links too, because a page loads nothing from elsewhere.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ...hermes import output_page

MAX_RENDERED_CHARS = 100_000
"""More Markdown than this takes too long, and is shown as text."""
MAX_SHOWN_CHARS = 1_000_000
CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])|"
                     r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Sequences of a terminal (ECMA-48), and control characters except tab and newline."""
LINKS = ("http://", "https://", "mailto:")
TOP_HEADING = 3
"""The level of a heading `#` of an output within a page."""


class Output(NamedTuple):
    """An output in parts: the lines at its top, the prompt, and the rest, which is `left_out` beyond a limit."""

    heading: list[tuple[str, str]]
    prompt: str
    response: str
    left_out: int


def plain(text: str) -> str:
    """Return `text` without what controls a terminal."""
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def parts_of(content: str) -> Output:
    """Return the parts of the page `content`."""
    lines = re.findall(r"^\*\*([A-Za-z ]{1,40}):\*\* *(\S.*)$", output_page.heading(content), re.M)
    found = output_page.RESPONSE_HEADING.search(content)
    before, response = (content[:found.start()], content[found.end():]) if found else ("", content)
    prompt = before.partition("\n## Prompt\n")[2].strip()
    shown = plain(response.strip())
    return Output(lines, plain(prompt)[:MAX_SHOWN_CHARS], shown[:MAX_SHOWN_CHARS], max(0, len(shown) - MAX_SHOWN_CHARS))


def as_html(text: str) -> str | None:
    """Return the Markdown `text` as HTML; None if it is too long."""
    return None if len(text) > MAX_RENDERED_CHARS else str(_parser().render(text))


@functools.cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    parser.validateLink = lambda url: url.lower().startswith(LINKS)  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    for name in ("heading_open", "heading_close"):
        parser.add_render_rule(name, _heading)
    return parser


def _link_open(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _environment: Any) -> str:
    tokens[at].attrSet("rel", "noopener noreferrer nofollow")
    return str(renderer.renderToken(tokens, at, options, _environment))


def _heading(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _environment: Any) -> str:
    level = int(tokens[at].tag[1:]) + TOP_HEADING - 1
    tokens[at].tag = f"h{min(level, 6)}"
    return str(renderer.renderToken(tokens, at, options, _environment))
