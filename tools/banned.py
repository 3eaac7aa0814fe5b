"""Count the phrases of banned.md in a checkout: banned.py CHECKOUT [--list] [--markdown]. What is read is prose alone.

Of Python: comments, docstrings and other strings, and the names of tests with their underscores as blanks; not code.
Of Markdown: all but code blocks. Of shell and units: comments, descriptions, and strings in quotes.
"""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter, defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
SCOPE = re.compile(r"(hermes_oscron|tests|units|docs|bench)/|install\.sh$|README\.md$|SECURITY\.md$")


def rules() -> dict[str, list[dict[str, str]]]:
    text = open(f"{HERE}/banned.md", encoding="utf-8").read()
    found: dict[str, list[dict[str, str]]] = {}
    for block in re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S):
        for group, entries in tomllib.loads(block).items():
            found.setdefault(group, []).extend(entries)
    return found


def prose(path: str, text: str) -> list[tuple[int, str, str]]:
    """(line, kind, text) of what people read in `text`; kind is doc, first (a docstring's first line), comment, string."""
    if path.endswith(".py"):
        return python_prose(path, text)
    found, fenced = [], False
    for number, line in enumerate(text.split("\n"), 1):
        if path.endswith(".md"):
            fenced ^= line.startswith("```")
            if not fenced and not line.startswith("    "):
                found.append((number, "doc", re.sub(r"`[^`]*`", "`x`", line)))
        elif line.lstrip().startswith("#"):
            found.append((number, "comment", line.lstrip("# ")))
        elif line.startswith(("Description=", "Documentation=")):
            found.append((number, "string", line.partition("=")[2]))
        else:
            found += [(number, "string", each) for each in re.findall(r'"([^"$]*[A-Za-z]{3} [^"]*)"', line)]
    return found


def python_prose(path: str, text: str) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    tree = ast.parse(text)
    docs: set[tuple[int, int]] = set()
    owners: dict[tuple[int, int], ast.AST] = {}
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if not isinstance(body, list):
                continue
            for i, each in enumerate(body):
                if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str):
                    docs.add((each.lineno, each.col_offset))
                    owners[each.lineno, each.col_offset] = node if i == 0 else body[i - 1]
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.append((node.lineno, "name", node.name.replace("_s_", "'s ").replace("_", " ")))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            found.append((token.start[0], "comment", token.string.lstrip("# ")))
        elif token.type == tokenize.STRING:
            is_doc = token.start in docs
            content = re.sub(r'^[rbfRBF]*("""|\'\'\'|"|\')|("""|\'\'\'|"|\')$', "", token.string)
            if not is_doc and not re.search(r"[A-Za-z]{2} [A-Za-z]", content):
                continue
            for i, line in enumerate(content.split("\n")):
                kind = "first" if is_doc and i == 0 else "doc" if is_doc else "string"
                found.append((token.start[0] + i, kind, line))
            if is_doc:
                owner = owners[token.start]
                names = set()
                for each in ast.walk(owner) if isinstance(owner, ast.FunctionDef) else []:
                    if isinstance(each, ast.arg):
                        names.add(each.arg.lstrip("_"))
                if isinstance(owner, ast.ClassDef):
                    names = {a.arg for each in owner.body if isinstance(each, ast.FunctionDef) for a in each.args.args}
                    names |= {each.target.id for each in owner.body if isinstance(each, ast.AnnAssign)
                              and isinstance(each.target, ast.Name)}
                for i, line in enumerate(content.split("\n")):
                    for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", line):
                        if word.lower() in names:
                            found.append((token.start[0] + i, "capitals", word))
                if isinstance(owner, ast.Assign | ast.AnnAssign):
                    found.append((token.start[0], "constant", content.split("\n")[0]))
    return found


def hits(root: str) -> list[tuple[str, int, str, str, str]]:
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout.split() or [
        os.path.relpath(f"{folder}/{name}", root) for folder, _, names in os.walk(root) for name in names]
    compiled = [(group, re.compile(rule["re"]), rule.get("in", "first doc comment string name").split(), rule)
                for group, entries in rules().items() for rule in entries]
    found = []
    for path in sorted(listed):
        if not SCOPE.match(path) or path.endswith((".json", ".toml", ".yaml")):
            continue
        for line, kind, text in prose(path, open(f"{root}/{path}", encoding="utf-8").read()):
            for group, pattern, kinds, rule in compiled:
                if kind in kinds:
                    for match in pattern.finditer(text):
                        found.append((path, line, group, match[0].strip(), rule["write"]))
    return found


def main() -> None:
    root = sys.argv[1]
    found = hits(root)
    if "--list" in sys.argv:
        for path, line, group, text, write in found:
            print(f"{path}:{line}: {group}: {text!r}: {write}")
        return
    groups = list(rules())
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for path, _, group, _, _ in found:
        table[path][group] += 1
    print("| file | " + " | ".join(groups) + " | all |")
    print("|---" * (len(groups) + 2) + "|")
    for path, counts in sorted(table.items(), key=lambda each: (each[0].split("/")[0], each[0])):
        print(f"| {path} | " + " | ".join(str(counts[group] or "") for group in groups) + f" | {sum(counts.values())} |")
    total = Counter(group for _, _, group, _, _ in found)
    print("| **all** | " + " | ".join(str(total[group]) for group in groups) + f" | {len(found)} |")


main()
