"""The prose of code and documentation is plain English: no phrase of BANNED, and no parameter in capitals."""

import ast
import io
import json
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1]
TEXT, FIRST, CONSTANT = "text", "first line of a docstring", "docstring of a constant"

BANNED = (
    # where, regular expression, what to write instead
    (FIRST, r"(What|Who|Whose|Whom|Whoever|Whatever|Whether|Where|Wherever|How|Why)\b",
     "a verb or a noun: Return …, Remove …, The command that …; of a predicate: Return True if …"),
    (FIRST, r"(Let|Have|Has|Had)\b", "the verb itself: Stop …, Start …, Mark …"),
    (CONSTANT, r"(Seconds?|Bytes|Characters|Minutes|Nanoseconds|Milliseconds|Hours|Days)\b",
     "the unit in the name (START_TIMEOUT_S, MAX_BODY_BYTES), and here what the constant limits"),
    (CONSTANT, r"(That are|Of that|At a time)\b", "a noun: The number of …; and MAX_ in the name"),
    (TEXT, r"\b([Ww]hom?|[Ww]hat)(so)?ever\b", "anyone who …, any …; or its name: the agent, an editor, a client"),
    (TEXT, r"(?:^|[.:;] )Who (?!are you|is this)[a-z]", "A client that …, A process that …"),
    (TEXT, r"\b[Ww]hat (fires|fired|comes|came|goes|holds|listens|differs|falls)\b",
     "the scheduler, the timers, the lines, the rest"),
    (TEXT, r"\b[Ww]hat (is|was) (due|missed|meant|ours|kept|left|there)\b",
     "due jobs, missed jobs, the rest"),
    (TEXT, r"(?<![Tt]here )\b(is|are|was|were) no (?!(longer|one|more|less|other|different|use|such)\b)[a-z]",
     "is not a …"),
    (TEXT, r"(?<![Tt]here )\b(is|are) none\b", "does not exist, is not one"),
    (TEXT, r"\b[Ll]et(s|ting)? (?!alone\b)(?!us\b)", "the verb itself, or: allow, make"),
    (TEXT, r"(?:^|[.:;] )Have [a-z]", "the verb itself: Start …, Remove …"),
    (TEXT, r"\bsees? to it\b", "ensure that …"),
    (TEXT, r"\b(says?|said) (so|no|nothing|which|what|why|whether|how|who|when|where|that|it|of)\b",
     "reports, contains, prints, gives the reason"),
    (TEXT, r"\b(hears?|heard|tells?|told|untold)\b", "receives, reports, prints, distinguishes"),
    (TEXT, r"\b(agent|client|clock|cron|crontab|doctor|file|helper|it|journal|kernel|line|log|page|record|runner|"
           r"scheduler|server|service|shell|systemd|they|timer|unit)s? (knows?|knew|wants?|wanted|minds?|thinks?)\b",
     "supports, contains, requires, detects"),
    (TEXT, r"\bstands? down\b|\bstood down\b", "is off, stops"),
    (TEXT, r"\b(mend(s|ed|ing)?|heed(s|ed)?|spoilt)\b", "repair, respect, damage"),
    (TEXT, r"\bfor ever\b", "forever, without a limit"),
    (TEXT, r"\banew\b", "again"),
    (TEXT, r"\b(no|any) more\b(?! than\b| of\b)", "no longer, not any longer"),
    (TEXT, r"\b(of )?(ours|theirs|hers)\b", "our …, its own …, of hermes-oscron"),
    (TEXT, r"\bin(to)? step\b", "in line with, up to date"),
    (TEXT, r"\bmeanwhile\b", "in the meantime, while it runs, until then"),
    (TEXT, r"\bin (the|its|their|the \w+'s) place\b", "instead of; replace it"),
    (TEXT, r"\b(of late|lately)\b", "recently"),
    (TEXT, r"\bat the (most|least)\b", "at most, at least"),
    (TEXT, r"\b(tak(e|es|en|ing)|took|made?) (\w+ )?away\b", "remove"),
    (TEXT, r"\b(but|save) for\b|\bnothing but\b|\ball but\b", "except, only"),
    (TEXT, r"\b(some|any|no)body\b", "a client, another program, the user; or the passive voice"),
    (TEXT, r"\bwhere (there (is|are|was|were)|none|nothing|it (does|can|cannot|fails))\b", "if …"),
    (TEXT, r"\b(thereby|therein|thereof|therefrom|wherein|whereby|whence|hereby|lest|ere|albeit|whilst|naught)\b",
     "so, in it, of it, by which, unless, while"),
)


class Prose(NamedTuple):
    """One line of text that people read."""

    line: int
    kind: str
    text: str


def tracked(pattern: str) -> list[str]:
    """Return the tracked files whose path matches `pattern`."""
    listed = subprocess.run(["git", "ls-files"], cwd=SOURCE, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.splitlines() if re.fullmatch(pattern, path) and (SOURCE / path).is_file()]


PROGRAM = tracked(r"hermes_oscron/.*\.py|bench/.*\.py")
TESTS = tracked(r"tests/.*\.py")
OTHERS = tracked(r"units/.*|install\.sh|\.ci/run|tests/run|(README|SECURITY|CHANGELOG|CONTRIBUTING)\.md|"
                 r"(docs|bench)/.*\.(md|toml|[158])|hermes_oscron/.*\.(json|yaml|tpl|js)")


def prose_of(path: str) -> list[Prose]:
    """Return the prose of the file at `path`: of tests docstrings and names, else docstrings, comments and messages."""
    content = (SOURCE / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return [*docstring_lines(content), *(names_of_tests if path in TESTS else comments_and_messages)(content)]
    if path.endswith(".md"):
        return list(markdown(content))
    if path.endswith(".tpl"):
        return list(template(content))
    if re.search(r"\.[158]$", path):
        return list(manual(content))
    if path.endswith(".json"):
        return [Prose(1, TEXT, text) for text in descriptions(json.loads(content))]
    return list(configuration(content))


def docstrings(content: str) -> Iterator[tuple[ast.AST, ast.Constant]]:
    """Yield each string that stands alone, with the definition or the constant that it describes."""
    for node in ast.walk(ast.parse(content)):
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            for i, each in enumerate(body if isinstance(body, list) else []):
                match each:
                    case ast.Expr(value=ast.Constant(value=str()) as string):
                        yield (node if i == 0 else body[i - 1]), string


def docstring_lines(content: str) -> Iterator[Prose]:
    for described, string in docstrings(content):
        text = str(string.value)
        yield Prose(string.lineno, FIRST, text)
        if isinstance(described, ast.Assign | ast.AnnAssign):
            yield Prose(string.lineno, CONSTANT, text)
        for i, line in enumerate(text.split("\n")):
            yield Prose(string.lineno + i, TEXT, line)


def comments_and_messages(content: str) -> Iterator[Prose]:
    documented = {(string.lineno, string.col_offset) for _, string in docstrings(content)}
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield Prose(token.start[0], TEXT, token.string.lstrip("# "))
        elif token.type == tokenize.STRING and token.start not in documented:
            text = re.sub(r"\{[^{}]*\}", "{…}", token.string)
            yield Prose(token.start[0], TEXT, text if re.search(r"[a-z]{2} [a-z]", text) else "")


def names_of_tests(content: str) -> Iterator[Prose]:
    """Yield the names of the tests, as sentences."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield Prose(node.lineno, TEXT, node.name.removeprefix("test_").replace("_", " "))


def markdown(content: str) -> Iterator[Prose]:
    """Yield the lines outside of code, without the words in backticks."""
    for number, line in enumerate(content.split("\n"), 1):
        if not line.startswith("    "):
            yield Prose(number, TEXT, re.sub(r"`[^`]*`", "`…`", line))


def template(content: str) -> Iterator[Prose]:
    """Yield the text of each line of a page; an attribute such as a label counts as text."""
    for number, line in enumerate(content.split("\n"), 1):
        if not line.startswith("%"):
            yield Prose(number, TEXT, re.sub(r"<(?:code|\w+ )?|\{\{.*?\}\}|[\"=/>]", " ", line))


def manual(content: str) -> Iterator[Prose]:
    """Yield the sentences of a page of mdoc(7); a line with a macro within a sentence counts as `…`."""
    text = re.sub(r"^\.(?:Bd -literal.*?^\.Ed|(?:B[ld]|E[ld]|It|S[hs]|Pp).*?)$", "", content, flags=re.M | re.S)
    yield Prose(1, TEXT, re.sub(r"\s+", " ", re.sub(r"^\..*$", "…", text, flags=re.M)))


def configuration(content: str) -> Iterator[Prose]:
    """Yield the comments, descriptions and messages of a unit file or a shell script."""
    for number, line in enumerate(content.split("\n"), 1):
        if line.lstrip().startswith(("#", "//")):
            yield Prose(number, TEXT, line.lstrip("/# "))
        else:
            for text in re.findall(r'^Description=(.*)|^description: (.*)|"([^"]*[a-z]{2} [^"]*)"', line):
                yield Prose(number, TEXT, "".join(text))


def descriptions(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key in ("description", "summary") and isinstance(each, str) else descriptions(each)
    elif isinstance(value, list):
        for each in value:
            yield from descriptions(each)


def banned_in(prose: Prose) -> list[str]:
    """Return each banned phrase in `prose`, with what to write instead."""
    found = []
    for kind, pattern, instead in BANNED:
        if kind == prose.kind:
            match = re.search(pattern, prose.text) if kind == TEXT else re.match(pattern, prose.text)
            if match:
                found.append(f"{prose.line}: '{match[0].strip()}' in {prose.text.strip()[:100]!r}; write: {instead}")
    return found


def capitals_in(content: str) -> Iterator[str]:
    """Yield each word in capitals that is a parameter of the function that its docstring describes.

    In the help text of a command they are the arguments as the user types them.
    """
    for described, string in docstrings(content):
        if isinstance(described, ast.FunctionDef) and not any("command(" in ast.unparse(decorator)
                                                              for decorator in described.decorator_list):
            arguments = described.args
            names = {each.arg.upper() for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs,
                                                     *filter(None, (arguments.vararg, arguments.kwarg)))}
            for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", re.sub(r"`[^`]*`", "", str(string.value))):
                if word in names:
                    yield f"{string.lineno}: {word}; write: `{word.lower()}`"


@pytest.mark.parametrize("path", [*PROGRAM, *OTHERS, *TESTS])
def test_prose_has_no_banned_phrase(path: str) -> None:
    found = [f"{path}:{each}" for prose in prose_of(path) for each in banned_in(prose)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("path", [*PROGRAM, *TESTS])
def test_docstrings_have_no_parameter_in_capitals(path: str) -> None:
    found = [f"{path}:{each}" for each in capitals_in((SOURCE / path).read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_each_kind_of_prose_is_found() -> None:
    code = ('"""What fires."""\n\nLIMIT = 3\n"""Seconds."""\n\n\n'
            'def test_it_says_so(job_id):\n    """Run JOB_ID."""\n    # it begins anew\n')
    found = [each for prose in (*docstring_lines(code), *comments_and_messages(code), *names_of_tests(code))
             for each in banned_in(prose)]
    assert [each.split(";")[0] for each in found] == [
        "1: 'What' in 'What fires.'", "1: 'What fires' in 'What fires.'", "4: 'Seconds' in 'Seconds.'",
        "9: 'anew' in 'it begins anew'", "7: 'says so' in 'it says so'"]
    assert list(capitals_in(code)) == ["8: JOB_ID; write: `job_id`"]
