"""What renaming does to the look of a line: continuation lines move with their bracket, and long lines are wrapped."""

import io
import re
import textwrap
import tokenize

LIMIT = 120


def tokens_of(text: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return []


def apply_edits(text: str, edits: dict[int, list[tuple[int, int, str]]]) -> list[str]:
    """The lines of `text` after `edits`: per line number (from 1) column and length in bytes, and what goes there.

    A line that was aligned with what follows an open bracket stays so, also where that bracket has moved.
    """
    lines = text.split("\n")
    moved: dict[int, list[tuple[int, int]]] = {}
    new_lines = []
    for number, line in enumerate(lines, 1):
        data, shifts = line.encode(), []
        for col, length, new in sorted(edits.get(number, []), reverse=True):
            data = data[:col] + new.encode() + data[col + length:]
            shifts.append((len(line.encode()[:col + length].decode()), len(new) - length))
        moved[number] = shifts
        new_lines.append(data.decode())

    indent: dict[int, int] = {}

    def new_col(line: int, col: int) -> int:
        return col + sum(delta for end, delta in moved[line] if end <= col) + indent.get(line, 0)

    stack: list[tuple[int, int]] = []
    last_line = 0
    inside_string: set[int] = set()
    for token in tokens_of(text):
        line, col = token.start
        if line != last_line and token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            last_line = line
            if stack and line not in inside_string and not lines[line - 1][:col].strip():
                open_line, open_col = stack[-1]
                if open_line != line and col == open_col + 1:
                    indent[line] = new_col(open_line, open_col) + 1 - col
                elif open_line != line and indent.get(open_line):  # a hanging indent, from its line's beginning
                    indent[line] = indent[open_line]
        if token.type == tokenize.STRING and token.end[0] > line:
            inside_string.update(range(line + 1, token.end[0] + 1))
            last_line = token.end[0]
        if token.type == tokenize.OP:
            if token.string in "([{":
                stack.append((line, col))
            elif token.string in ")]}" and stack:
                stack.pop()
    for number, shift in indent.items():
        line = new_lines[number - 1]
        if shift > 0:
            new_lines[number - 1] = " " * shift + line
        elif shift < 0 and not line[:-shift].strip():
            new_lines[number - 1] = line[-shift:]
    return new_lines


def wrap(text: str, before: set[str]) -> tuple[str, list[str]]:
    """`text` with its long lines wrapped, but for lines that were in `before`; and the lines that stay too long."""
    for _ in range(400):
        lines = text.split("\n")
        long = [i for i, line in enumerate(lines) if len(line) > LIMIT and line not in before]
        for i in long:
            wrapped = _wrapped(text, lines, i)
            if wrapped is not None:
                text = wrapped
                break
        else:
            return text, [lines[i].strip() for i in long]
    return text, ["(gave up)"]


def _wrapped(text: str, lines: list[str], at: int) -> str | None:
    line = lines[at]
    if line.lstrip().startswith("#"):
        return _reflowed(lines, at, at, re.match(r"\s*# ?", line)[0])  # type: ignore[index]
    stack: list[tuple[int, int]] = []
    best: tuple[int, int, int] | None = None
    previous: tokenize.TokenInfo | None = None
    tokens = tokens_of(text)
    for i, token in enumerate(tokens):
        number = at + 1
        if token.type == tokenize.STRING and token.start[0] <= number <= token.end[0]:
            is_statement = previous is None or previous.type in (
                tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.COMMENT)
            if is_statement and token.string.lstrip("rb").startswith('"""') and not stack:
                return _docstring(lines, token, at)
            if token.start[0] != number:
                return None
        if token.type == tokenize.COMMENT and token.start[0] == number and token.start[1] > 0:
            if len(line[:token.start[1]].rstrip()) <= LIMIT:  # the comment goes above
                indent = line[:len(line) - len(line.lstrip())]
                return "\n".join([*lines[:at], f"{indent}{token.string}", line[:token.start[1]].rstrip(), *lines[at + 1:]])
        if token.start[0] == number and token.type != tokenize.NL and stack and previous is not None:
            col = token.start[1]
            breakable = previous.string == "," or token.string in ("and", "or", "if", "for", "else") or (
                token.type == previous.type == tokenize.STRING)
            if breakable and previous.end[0] == number and 0 < previous.end[1] <= LIMIT:
                opened = stack[-1]
                target = opened[1] + 1
                if target + len(line) - col <= LIMIT + 40:
                    rank = (-len(stack), col)
                    if best is None or rank > (best[0], best[1]):
                        best = (-len(stack), col, target if opened[0] == number or lines[opened[0] - 1].rstrip()[-1:] not in "([{"
                                else len(line) - len(line.lstrip()))
        if token.type == tokenize.OP:
            if token.string in "([{":
                stack.append(token.start)
            elif token.string in ")]}" and stack:
                stack.pop()
        if token.start[0] > number:
            break
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            previous = token
    if best is None:
        return _split_string(lines, at, tokens) or _parenthesized(lines, at, tokens)
    _, col, target = best
    rest = line[col:]
    following, shift = list(lines[at + 1:]), target - col
    if following and _can_join(rest, following[0], target):
        return "\n".join([*lines[:at], line[:col].rstrip(), f"{' ' * target}{rest} {following[0].strip()}", *following[1:]])
    return "\n".join([*lines[:at], line[:col].rstrip(), " " * target + rest,
                      *_shifted(text, at, col, shift, following)])


def _can_join(rest: str, following: str, target: int) -> bool:
    """Whether the line `following` may go on after `rest`, as one paragraph of items."""
    words = following.strip()
    return (rest.endswith(",") and "#" not in following and bool(words) and len(following) - len(words) == target
            and not re.match(r"[rbf]*[\"'][^\"']*$|for |if |\*", words)
            and all(words.count(a) == words.count(b) for a, b in ("()", "[]", "{}")))


def _shifted(text: str, at: int, col: int, shift: int, following: list[str]) -> list[str]:
    """The lines after the one that was broken at `col`: those aligned with a bracket in its rest move with that."""
    stack: list[tuple[int, int]] = []
    moved: set[int] = set()
    seen = 0
    for token in tokens_of(text):
        line, start = token.start
        if line > at + 1 and line != seen and stack and token.type not in (tokenize.NL, tokenize.NEWLINE):
            opened = stack[-1]
            if start == opened[1] + 1 and ((opened[0] == at + 1 and opened[1] >= col) or opened[0] in moved):
                moved.add(line)
        if line > at + 1 and not stack and token.type not in (tokenize.NL, tokenize.NEWLINE):
            break
        seen = token.end[0]
        if token.type == tokenize.OP:
            if token.string in "([{":
                stack.append(token.start)
            elif token.string in ")]}" and stack:
                stack.pop()
    for number in moved:
        line_text = following[number - at - 2]
        stripped = line_text.lstrip()
        following[number - at - 2] = " " * max(0, len(line_text) - len(stripped) + shift) + stripped
    return following


def _reflowed(lines: list[str], at: int, first: int, prefix: str) -> str | None:
    """Comment lines from `at` on, as one paragraph."""
    last = at
    while last + 1 < len(lines) and lines[last + 1].startswith(prefix) and lines[last + 1][len(prefix):].strip():
        last += 1
    words = " ".join(line[len(prefix):].strip() for line in lines[at:last + 1])
    new = [prefix + line for line in textwrap.wrap(words, LIMIT - len(prefix), break_long_words=False,
                                                   break_on_hyphens=False)]
    return "\n".join([*lines[:at], *new, *lines[last + 1:]])


def _docstring(lines: list[str], token: tokenize.TokenInfo, at: int) -> str | None:
    first, last = token.start[0] - 1, token.end[0] - 1
    indent = " " * token.start[1]
    if first == last:  # one line: its last sentence of errors becomes a paragraph, or the text goes on below
        content = lines[at].strip()
        inner = content[3:-3] if content.startswith('"""') and content.endswith('"""') else None
        if inner is None:
            return None
        if (found := re.search(r" (Raises .*)$", inner)) and len(indent) + 3 + found.start() <= LIMIT:
            new = [f'{indent}"""{inner[:found.start()]}', "", f"{indent}{found[1]}", f'{indent}"""']
        else:
            new = [indent + line for line in textwrap.wrap(content, LIMIT - len(indent), break_long_words=False,
                                                           break_on_hyphens=False)]
        return "\n".join([*lines[:at], *new, *lines[at + 1:]])
    start = end = at
    while end < last and lines[end + 1].strip() and lines[end + 1].strip() != '"""' and \
            len(lines[end + 1]) - len(lines[end + 1].lstrip()) == token.start[1]:
        end += 1
    if at == first and not lines[at].strip().startswith('"""'):
        return None
    words = " ".join(line.strip() for line in lines[start:end + 1])
    new = [indent + line for line in textwrap.wrap(words, LIMIT - len(indent), break_long_words=False,
                                                   break_on_hyphens=False)]
    return "\n".join([*lines[:start], *new, *lines[end + 1:]])


def _split_string(lines: list[str], at: int, tokens: list[tokenize.TokenInfo]) -> str | None:
    """A string that makes the line too long, as two: at the last space that leaves room, outside of braces."""
    depth = 0
    for token in tokens:
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if token.type != tokenize.STRING or token.start[0] != at + 1 or token.end[0] != at + 1 or not depth:
            continue
        found = re.match(r"([rbfRBF]*)(['\"])", token.string)
        if found is None or token.string.startswith('"""', len(found[1])):
            continue
        braces, cut, formatted = 0, None, "f" in found[1].lower()
        for i in range(len(found[0]), len(token.string) - 1):
            c = token.string[i]
            braces += formatted and (c == "{") - (c == "}")
            if c == " " and not braces and token.start[1] + i + 2 <= LIMIT:
                cut = i + 1
        if not cut:
            continue
        one, two = token.string[:cut] + found[2], found[0] + token.string[cut:]
        if formatted and "{" not in one:
            one = one.removeprefix("f")
        if formatted and "{" not in two:
            two = two.removeprefix("f")
        line, following = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
        first, indent = line[:token.start[1]] + one, " " * token.start[1]
        joined = re.match(rf"{indent}(f?)({re.escape(found[2])})", following)
        plain = not formatted or "{" not in two
        if token.end[1] == len(line) and joined and (joined[1] or formatted) and (plain or joined[1]):
            rest = two.removeprefix("f")[1:-1]
            return "\n".join([*lines[:at], first, f"{indent}{joined[1]}{joined[2]}{rest}{following[joined.end():]}",
                              *lines[at + 2:]])
        return "\n".join([*lines[:at], first, indent + two + line[token.end[1]:], *lines[at + 1:]])
    return None


def _parenthesized(lines: list[str], at: int, tokens: list[tokenize.TokenInfo]) -> str | None:
    """An assignment or a return that makes the line too long, with its value in brackets, so that it can be wrapped."""
    found = re.match(r"( *(?:return|[\w.]+ =) )([^(#].*)$", lines[at])
    inside = [token for token in tokens if token.start[0] == at + 1 == token.end[0]]
    if found is None or not any(token.type == tokenize.NEWLINE for token in inside):
        return None
    return "\n".join([*lines[:at], f"{found[1]}({found[2]})", *lines[at + 1:]])
