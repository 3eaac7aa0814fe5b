"""Rename modules and what is in them, and move definitions, by the table in table.toml. See README.md beside this."""

import argparse
import ast
import os
import re
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from layout import apply_edits, tokens_of, wrap
from project import Attr, Binding, Project, Ref, Scope, Source

HERE = os.path.dirname(os.path.abspath(__file__))
DISTINCT = re.compile(r"[A-Za-z]\w*_\w+|_\w{4,}|[A-Z]\w*[a-z]\w*[A-Z]\w*")
"""A name that is no word of English: it may be replaced in prose."""


@dataclass
class Step:
    name: str
    commit: str
    modules: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)
    style: dict[str, str] = field(default_factory=dict)
    docs: dict[str, str] = field(default_factory=dict)
    create: dict[str, str] = field(default_factory=dict)
    text: list[list[str]] = field(default_factory=list)
    names_commit: str = ""


@dataclass(frozen=True)
class Piece:
    """What an import statement has to bring: a module as `local`, or `name` of it as `local`."""

    kind: str  # module, symbol, external
    module: str
    name: str
    local: str
    text: str = ""


class Engine:
    def __init__(self, root: str, step: Step, python: str) -> None:
        self.root, self.step = root, step
        self.notes: list[str] = []
        self.project = Project(root, python, types=bool(step.names or step.identifiers))
        self.modules = {}
        for old, new in step.modules.items():
            if old not in self.project.modules:
                self.note(f"gone already: module {old}")
            elif new in self.project.modules and new not in step.modules:
                self.note(f"NOT DONE: {old} -> {new}: the new module is there already")
            else:
                self.modules[old] = new
        self.names = self._known_names()
        self.edits: dict[str, dict[int, list[tuple[int, int, str]]]] = defaultdict(lambda: defaultdict(list))
        self.replaced: dict[str, list[tuple[int, int, list[str]]]] = defaultdict(list)
        self.moved: dict[str, list[tuple[int, int, str, ast.stmt]]] = defaultdict(list)
        self.dest_of_line: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self.header: dict[str, list[tuple[Piece, bool]]] = defaultdict(list)
        self.extra: dict[str, list[Piece]] = defaultdict(list)
        self.local_names: dict[tuple[int, str], str] = {}
        self.done: set[tuple[str, int, int]] = set()
        self.written: set[str] = set()
        self.patched: dict[tuple[str, int, int], str] = {}

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    # the table

    def _known_names(self) -> dict[str, str]:
        found = {}
        for old, new in self.step.names.items():
            module, rest = self.split(old)
            source = self.project.modules.get(module)
            top = rest.partition(".")[0]
            if not source or not rest or top not in source.root.bindings or any(
                    each.target for each in source.root.bindings[top]):
                self.note(f"gone already: {old}")
                continue
            if "." in rest and not self._has_member(source, module, rest):
                self.note(f"gone already: {old}")
                continue
            if self._is_taken(old, new):
                self.note(f"NOT DONE: {old} -> {new}: that name is there already")
                continue
            found[old] = new
        return found

    def _is_taken(self, old: str, new: str) -> bool:
        """Whether `new` names something else where `old` is or goes, that is not renamed itself."""
        back = {to: frm for frm, to in self.step.modules.items()}
        for dotted in dict.fromkeys((new, old.rpartition(".")[0] + "." + new.rpartition(".")[2])):
            module, rest = self.split(dotted)
            module = next((frm for to, frm in back.items() if dotted.startswith(f"{to}.")), module)
            rest = dotted.removeprefix(f"{self.step.modules.get(module, module)}.").removeprefix(f"{module}.")
            source = self.project.modules.get(module)
            qualname, _, name = rest.rpartition(".")
            scopes = [source.root] if source else []
            while scopes:
                scope = scopes.pop()
                scopes += scope.children
                if scope.qualname == qualname and scope.kind != "comprehension" and any(
                        not each.target for each in scope.bindings.get(name, [])):
                    return f"{module}.{rest}" != old and f"{module}.{rest}" not in self.step.names
        return False

    def _has_member(self, source: Source, module: str, rest: str) -> bool:
        for ref in source.refs:
            owner = ref.scope.lookup(ref.name)
            if owner and ".".join(filter(None, [owner.qualname, ref.name])) == rest:
                return True
        parent, _, last = rest.rpartition(".")
        return any(attr.name == last and f"{module}.{parent}" in self.mro_of_all(attr, source) for attr in source.attrs
                   if attr.name == last)

    def mro_of_all(self, attr: Attr, source: Source) -> set[str]:
        return {base for name in self.project.types_of(attr.node.value, source)
                for base in self.project.mro.get(name, [name])}

    def split(self, dotted: str) -> tuple[str, str]:
        parts = dotted.split(".")
        for i in range(len(parts), 0, -1):
            module = ".".join(parts[:i])
            if module in self.project.modules or module in self.step.modules:
                return module, ".".join(parts[i:])
        return "", dotted

    def new_module(self, module: str) -> str:
        return self.modules.get(module, module)

    def location(self, dotted: str) -> tuple[str, str] | None:
        """The module and name at which the top-level `dotted` is afterwards; None where it is not ours."""
        module, rest = self.split(dotted)
        if module not in self.project.modules or not rest or "." in rest:
            return None
        new = self.names.get(dotted)
        if new:
            head, _, name = new.rpartition(".")
            return head, name
        return self.new_module(module), rest

    def member(self, cls: str, name: str) -> str | None:
        for base in self.project.mro.get(cls, [cls]):
            if new := self.names.get(f"{base}.{name}"):
                return new.rpartition(".")[2]
        return None

    def _warn_of_wire(self) -> None:
        """Fields of classes that become JSON by `_asdict()`: their names are not Python's alone."""
        wired = {cls for source in self.project.all_sources() for attr in source.attrs
                 if attr.name in ("_asdict", "_fields") for cls in [
                     *self.project.types_of(attr.node.value, source),
                     self.project.dotted(attr.node.value, attr.scope, source) or ""]}
        for old in self.names:
            parent, _, name = old.rpartition(".")
            source = self.project.modules.get(self.split(old)[0])
            is_field = source and any(isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
                                      and node.target.id == name and f"{source.module}.{scope.qualname}" == parent
                                      for cls, scope in source.classes for node in cls.body)
            if parent in wired and is_field:
                self.note(f"CHECK {old}: it is a key of what _asdict() gives, which may be on disk, in the API or sent")

    # what moves

    def _plan_moves(self) -> None:
        for source in self.project.sources.values():
            own = self.new_module(source.module)
            body = source.tree.body
            for i, node in enumerate(body):
                names = _defined(node)
                if not names:
                    continue
                places = {(self.location(f"{source.module}.{name}") or (own, name))[0] for name in names}
                if places == {own}:
                    continue
                if len(places) > 1:
                    self.note(f"NOT DONE: {source.path}:{node.lineno}: {', '.join(names)} go to different modules")
                    for name in names:
                        self.names.pop(f"{source.module}.{name}", None)
                    continue
                [place] = places
                start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
                while start > 1 and source.lines[start - 2].startswith("#"):
                    start -= 1
                end = node.end_lineno or node.lineno
                if i + 1 < len(body) and _is_text(body[i + 1]) and not isinstance(
                        node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                    end = body[i + 1].end_lineno or end
                self.moved[source.path].append((start, end, place, node))
                self.dest_of_line[source.path].append((start, end, place))

    def dest(self, source: Source, line: int) -> str:
        """The module in which the code at `line` is afterwards."""
        host = source.host or source
        if source.host:
            return self.new_module(host.module) if host.module in self.project.modules else host.module
        for start, end, place in self.dest_of_line[host.path]:
            if start <= line <= end:
                return place
        return self.new_module(host.module)

    # edits

    def edit(self, source: Source, line: int, col: int, length: int, new: str) -> None:
        host, number = (source.host, line + source.first_line) if source.host else (source, line)
        key = (host.path, number, col)
        if key not in self.done:
            self.done.add(key)
            self.edits[host.path][number].append((col, length, new))

    def rename_at(self, source: Source, line: int, col: int, old: str, new: str) -> None:
        if old == new:
            return
        if source.at(line, col, old):
            self.edit(source, line, col, len(old.encode()), new)
        else:
            self.note(f"NOT DONE: {source.path}:{line + source.first_line}: {old} -> {new} is not where it should be")

    def final_name(self, source: Source, scope: Scope, name: str) -> str:
        if name in self.step.identifiers:
            return self.step.identifiers[name]
        dotted = ".".join(filter(None, [source.module, scope.qualname, name]))
        return self.names.get(dotted, name).rpartition(".")[2]

    def taken(self, source: Source, scope: Scope, uses: list[Ref], name: str, target: str) -> bool:
        """Whether `name`, bound by an import of `target` in `scope`, would hide something or be hidden at `uses`."""
        if self.local_names.get((id(scope), name), target) != target:
            return True

        def others(each: Scope) -> bool:
            return any(self.final_name(source, each, bound) == name and any(not b.target for b in bindings)
                       for bound, bindings in each.bindings.items())

        def imported(each: Scope) -> bool:
            return any(bound == name and any(b.target and not self._affects(b) for b in bindings) and
                       {b.target for b in bindings} != {target} for bound, bindings in each.bindings.items())

        if others(scope) or imported(scope):
            return True
        for use in uses:
            inner: Scope | None = use.scope
            while inner is not None and inner is not scope:
                if (others(inner) or imported(inner)) and (inner.kind != "class" or inner is use.scope):
                    return True
                inner = inner.parent
        if scope.kind != "module":  # nothing there may mean the name of outside
            for ref in source.refs:
                found = ref.scope.lookup(ref.name)
                if found and found is not scope and self.final_name(source, found, ref.name) == name and \
                        _within(ref.scope, scope) and not _within(found, scope):
                    return True
        return False

    def _affects(self, binding: Binding) -> bool:
        return bool(binding.target) and self.split(binding.target or "")[0] in self.project.modules

    # the passes

    def run(self) -> None:
        self._warn_of_wire()
        self._plan_moves()
        self.uses: dict[int, list[tuple[Ref, Source]]] = defaultdict(list)
        for source in self.project.all_sources():
            self._names_in(source)
        for source in self.project.all_sources():
            self._imports_of(source)
        for source in self.project.all_sources():
            self._strings_in(source)
            self._parameters_in_docs(source)
        self._write()

    def _names_in(self, source: Source) -> None:
        project = self.project
        for ref in source.refs:
            if ref.name in self.step.identifiers and not self._is_imported(ref):
                self.rename_at(source, ref.line, ref.col, ref.name, self.step.identifiers[ref.name])
                continue
            found = ref.scope.lookup(ref.name)
            if found is None:
                continue
            bindings = found.bindings[ref.name]
            if any(each.target for each in bindings):
                for each in bindings:
                    if each.target:
                        self.uses[id(each)].append((ref, source))
                continue
            dotted = ".".join(filter(None, [source.module, found.qualname, ref.name]))
            if found.kind == "module" and source.host is None:
                place = self.location(dotted)
                assert place
                here = self.dest(source, ref.line)
                if place[0] != here:
                    self._reach(source, ref, place, here)
                else:
                    self.rename_at(source, ref.line, ref.col, ref.name, place[1])
            elif found.kind == "class":
                cls = project.class_at.get((source.module, getattr(found.node, "lineno", 0)), "")
                if new := self.member(cls, ref.name) or self.member(dotted.rpartition(".")[0], ref.name):
                    self.rename_at(source, ref.line, ref.col, ref.name, new)
            elif dotted in self.names:
                self.rename_at(source, ref.line, ref.col, ref.name, self.names[dotted].rpartition(".")[2])
        for attr in source.attrs:
            if attr.name in self.step.identifiers:
                base = project.dotted(attr.node.value, attr.scope, source)
                if not base or base in project.modules or base.split(".")[0] in ("hermes_oscron", "tests", "bench"):
                    self.rename_at(source, attr.line, attr.col, attr.name, self.step.identifiers[attr.name])
                continue
            base = project.dotted(attr.node.value, attr.scope, source)
            if base in project.modules:
                continue  # see the imports
            classes = [*project.types_of(attr.node.value, source), *([base] if base in project.mro else [])]
            for cls in classes:
                if new := self.member(cls, attr.name):
                    self.rename_at(source, attr.line, attr.col, attr.name, new)
                    break
        for call, scope in source.calls:
            self._keywords(source, call, scope)
        if self.step.identifiers:
            for call, _ in source.calls:
                for keyword in call.keywords:
                    if keyword.arg in self.step.identifiers:
                        self.rename_at(source, keyword.lineno, keyword.col_offset, keyword.arg,
                                       self.step.identifiers[keyword.arg])

    def _is_imported(self, ref: Ref) -> bool:
        found = ref.scope.lookup(ref.name)
        return bool(found and any(each.target for each in found.bindings[ref.name]))

    def _keywords(self, source: Source, call: ast.Call, scope: Scope) -> None:
        func = call.func
        name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        if name in ("setattr", "delattr", "getattr", "hasattr", "object") and len(call.args) > 1:
            self._by_string(source, call.args[0], call.args[1], scope)
        if not call.keywords:
            return
        owners: list[str] = []
        dotted = self.project.dotted(call.func, scope, source)
        if dotted:
            owners.append(dotted)
        owners += self.project.types_of(call.func, source)
        if isinstance(call.func, ast.Attribute):
            for cls in self.project.types_of(call.func.value, source):
                if call.func.attr == "_replace":
                    owners.append(cls)
                owners += [f"{base}.{call.func.attr}" for base in self.project.mro.get(cls, [])]
        for keyword in call.keywords:
            for owner in owners:
                new = keyword.arg and (self.member(owner, keyword.arg) or self.member(f"{owner}.__init__", keyword.arg))
                if new and keyword.arg:
                    self.rename_at(source, keyword.lineno, keyword.col_offset, keyword.arg, new)
                    break

    def _by_string(self, source: Source, owner: ast.expr, text: ast.expr, scope: Scope) -> None:
        """monkeypatch.setattr(owner, "text", …)"""
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            return
        dotted = self.project.dotted(owner, scope, source)
        new = None
        if dotted in self.project.modules:
            place = self.location(self.project.canonical(f"{dotted}.{text.value}"))
            new = place[1] if place else None
            if place and place[0] != self.new_module(dotted or "") and f"{dotted}.{text.value}" in self.names:
                self.patched[source.module, owner.lineno, owner.col_offset] = place[0]
        else:
            for cls in [*self.project.types_of(owner, source), *([dotted] if dotted in self.project.mro else [])]:
                new = new or self.member(cls or "", text.value)
        if new and new != text.value:
            self.edit(source, text.lineno, text.col_offset + 1, len(text.value.encode()), new)

    def _reach(self, source: Source, ref: Ref, place: tuple[str, str], here: str) -> None:
        """What `ref` names is in another module than the code afterwards: import it there."""
        module, name = place
        self.rename_at(source, ref.line, ref.col, ref.name, name)
        piece = Piece("symbol", module, name, name)
        if here == self.new_module(source.module):
            if piece not in self.extra[source.path]:
                self.extra[source.path].append(piece)
        elif (piece, False) not in self.header[here]:
            self.header[here].append((piece, False))

    # imports

    def _imports_of(self, source: Source) -> None:
        for stmt, scope, stack in source.imports:
            typing = any(isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test) for each in stack)
            bindings = [each for each in sum(scope.bindings.values(), []) if each.stmt is stmt]
            if scope.globals:
                bindings = [each for each in sum(scope.bindings.values(), []) if each.stmt is stmt]
            order = {id(alias): i for i, alias in enumerate(stmt.names)}  # type: ignore[attr-defined]
            bindings.sort(key=lambda each: order[id(each.alias)])
            stays = self.dest(source, stmt.lineno)
            pieces: list[Piece] = []
            for binding in bindings:
                by_dest: dict[str, list[Ref]] = defaultdict(list)
                for ref, _ in self.uses.get(id(binding), []):
                    by_dest[self.dest(source, ref.line)].append(ref)
                if not by_dest:
                    by_dest[stays] = []
                for dest, refs in by_dest.items():
                    wanted = self._pieces(source, scope, binding, refs, dest)
                    if dest == stays:
                        pieces += wanted
                    else:
                        for piece in wanted:
                            if (piece, typing) not in self.header[dest]:
                                self.header[dest].append((piece, typing))
            self._replace(source, stmt, pieces, stays, stack)

    def _pieces(self, source: Source, scope: Scope, binding: Binding, refs: list[Ref], dest: str) -> list[Piece]:
        target, alias = binding.target or "", binding.alias
        assert alias
        if target in self.project.modules:
            return self._module_pieces(source, scope, binding, refs, dest)
        place = self.location(self.project.canonical(target))
        if place is None:
            text = ast.unparse(ast.Module([_only(binding.stmt, alias)], []))
            return [Piece("external", "", target, alias.asname or alias.name, text)]
        module, name = place
        if self.split(target)[0] == self.project.canonical(target).rpartition(".")[0] or \
                self.split(target)[0] in self.modules or place != (self.split(target)[0], alias.name):
            pass
        local = alias.asname or name
        if local == alias.name and name != alias.name:
            local = name
        if not alias.asname and local != alias.name and self.taken(source, scope, refs, local, f"{module}.{name}"):
            local = f"{local}_"
            self.note(f"CHECK {source.path}:{alias.lineno}: {name} is taken here; it is imported as {local}")
        self.local_names[id(scope), local] = f"{module}.{name}"
        for ref in refs:
            self.rename_at(source, ref.line, ref.col, ref.name, local)
        if module == dest:
            return []
        return [Piece("symbol", module, name, local)]

    def _module_pieces(self, source: Source, scope: Scope, binding: Binding, refs: list[Ref], dest: str) -> list[Piece]:
        target, alias = binding.target or "", binding.alias
        assert alias
        wanted: dict[str, list[tuple[Ref, Attr | None, str]]] = defaultdict(list)
        attr_of = {(each.node.value.lineno, each.node.value.col_offset): each for each in source.attrs
                   if isinstance(each.node.value, ast.Name)}
        for ref in refs:
            attr = attr_of.get((ref.line, ref.col))
            if attr is None:
                module = self.patched.get((source.module, ref.line, ref.col), self.new_module(target))
                wanted[module].append((ref, None, ""))
                continue
            place = self.location(self.project.canonical(f"{target}.{attr.name}"))
            if place is None or f"{target}.{attr.name}" in self.project.modules:
                place = (self.new_module(target), attr.name)
            elif self.project.canonical(f"{target}.{attr.name}") != f"{target}.{attr.name}" and \
                    self.split(self.project.canonical(f"{target}.{attr.name}"))[0] not in self.step.modules and \
                    target not in {each.rpartition(".")[0] for each in self.names}:
                place = (self.new_module(target), place[1])
            wanted[place[0]].append((ref, attr, place[1]))
        if not refs:
            wanted[self.new_module(target)] = []
        pieces = []
        for module, uses in wanted.items():
            if module == dest:
                for ref, attr, name in uses:
                    if attr is None:
                        self.note(f"NOT DONE: {source.path}:{ref.line}: a module uses itself")
                    else:
                        self._replace_access(source, ref, attr, name)
                continue
            base = module.rpartition(".")[2]
            local = alias.asname if alias.asname and len(wanted) == 1 else self.step.style.get(module, base)
            only = [ref for ref, _, _ in uses]
            bare = any(attr is None for _, attr, _ in uses)
            direct = local == "direct"
            if direct and bare:
                direct, local = False, base
            if not direct and self.taken(source, scope, only, local, module):
                direct = not bare
                if bare:
                    local = f"{local}_"
                    self.note(f"CHECK {source.path}:{alias.lineno}: {base} is taken here; it is imported as {local}")
            if direct and (hidden := [name for _, _, name in uses if self.taken(source, scope, only, name,
                                                                               f"{module}.{name}")]):
                direct, local = False, base if not self.taken(source, scope, only, base, module) else f"{base}_module"
                self.note(f"CHECK {source.path}:{alias.lineno}: {', '.join(sorted(set(hidden)))} of {module} "
                          f"{'is' if len(set(hidden)) == 1 else 'are'} taken here; written as {local}.NAME")
            if direct:
                for ref, attr, name in uses:
                    assert attr
                    self._replace_access(source, ref, attr, name)
                    self.local_names[id(scope), name] = f"{module}.{name}"
                    piece = Piece("symbol", module, name, name)
                    if piece not in pieces:
                        pieces.append(piece)
            else:
                self.local_names[id(scope), local] = module
                for ref, attr, name in uses:
                    self.rename_at(source, ref.line, ref.col, ref.name, local)
                    if attr is not None:
                        self.rename_at(source, attr.line, attr.col, attr.name, name)
                pieces.append(Piece("module", module, base, local))
        return pieces

    def _replace_access(self, source: Source, ref: Ref, attr: Attr, name: str) -> None:
        """`module.attr` becomes `name`."""
        if ref.line != attr.line:
            self.note(f"NOT DONE: {source.path}:{ref.line}: {ref.name}.{attr.name} goes over two lines")
            return
        self.edit(source, ref.line, ref.col, attr.col + len(attr.name.encode()) - ref.col, name)

    def _replace(self, source: Source, stmt: ast.stmt, pieces: list[Piece], dest: str, stack: list[ast.AST]) -> None:
        host, offset = (source.host, source.first_line) if source.host else (source, 0)
        level = getattr(stmt, "level", 0)
        top = (source.host or source).module.split(".")[0]
        package = self._package_after(dest, source)
        new = self.render(pieces, package, relative=level > 0, top=top)
        old = self.render(self._as_it_is(source, stmt), package, relative=False, top=top)
        now = self.render(pieces, package, relative=False, top=top)
        moves = level > 0 and package != source.package
        if sorted(old) == sorted(now) and not moves:
            return
        first = host.lines[stmt.lineno + offset - 1]
        last = host.lines[(stmt.end_lineno or stmt.lineno) + offset - 1]
        indent = first[:stmt.col_offset]
        comment = re.search(r"  # .*$", last)
        lines = [indent + line for line in new]
        if lines and comment and len(lines) == 1 and len(lines[0] + comment[0]) <= 120 and not indent:
            lines[0] += comment[0]
        elif lines and comment:
            lines.insert(0, f"{indent}{comment[0].strip()}")
        if not lines:
            container = stack[-2] if len(stack) > 1 else None
            if isinstance(container, ast.If) and len(container.body) == 1:
                self.replaced[host.path].append((container.lineno + offset, (container.end_lineno or 0) + offset, []))
                return
        self.replaced[host.path].append((stmt.lineno + offset, (stmt.end_lineno or 0) + offset, lines))

    def _as_it_is(self, source: Source, stmt: Any) -> list[Piece]:
        found = []
        for alias in stmt.names:
            if isinstance(stmt, ast.Import):
                found.append(Piece("external", "", alias.name, alias.asname or alias.name,
                                   ast.unparse(ast.Module([_only(stmt, alias)], []))))
                continue
            from project import resolve_relative
            base = resolve_relative(source.package, stmt.level, stmt.module)
            if f"{base}.{alias.name}" in self.project.modules:
                found.append(Piece("module", f"{base}.{alias.name}", alias.name, alias.asname or alias.name))
            elif base in self.project.modules:
                found.append(Piece("symbol", base, alias.name, alias.asname or alias.name))
            else:
                found.append(Piece("external", "", f"{base}.{alias.name}", alias.asname or alias.name,
                                   ast.unparse(ast.Module([_only(stmt, alias)], []))))
        return found

    def _package_after(self, module: str, source: Source) -> str:
        host = source.host or source
        if self.new_module(host.module) == module:
            return module if self._path_after(host).endswith("/__init__.py") else module.rpartition(".")[0]
        return module.rpartition(".")[0] if self._path_of(module) and not self._path_of(module).endswith(
            "/__init__.py") else module

    def _path_after(self, source: Source) -> str:
        new = self.new_module(source.module)
        if new == source.module:
            return self.step.paths.get(source.path, source.path)
        return self._path_of(new)

    def _path_of(self, module: str) -> str:
        for each in self.project.modules.values():
            if self.new_module(each.module) == module and each.is_package:
                becomes = self.step.paths.get(each.path)
                return becomes or f"{module.replace('.', '/')}/__init__.py"
        for old, new in self.modules.items():
            if new == module and (self.step.paths.get(self.project.modules[old].path) or "").endswith("__init__.py"):
                return self.step.paths[self.project.modules[old].path]
        return f"{module.replace('.', '/')}.py"

    def render(self, pieces: list[Piece], package: str, relative: bool, top: str) -> list[str]:
        groups: dict[str, list[str]] = {}
        out: list[str] = []
        for piece in pieces:
            if piece.kind == "external":
                key = piece.text
                if piece.text.startswith("from "):
                    key, _, imported = piece.text.partition(" import ")
                    groups.setdefault(key, []).append(imported)
                else:
                    groups.setdefault(piece.text, [])
                continue
            module = piece.module.rpartition(".")[0] if piece.kind == "module" else piece.module
            source = _relative(package, module) if relative and module.split(".")[0] == top else module
            name = piece.name if piece.local == piece.name else f"{piece.name} as {piece.local}"
            names = groups.setdefault(f"from {source}", [])
            if name not in names:
                names.append(name)
        for key, names in groups.items():
            out.append(f"{key} import {', '.join(sorted(names, key=_isort_key))}" if names else key)
        return out

    # texts

    def _parameters_in_docs(self, source: Source) -> None:
        """`GRID` in the docstring of a function whose parameter `grid` is renamed."""
        for node, _, inner in source.functions:
            first = node.body[0]  # type: ignore[attr-defined]
            if not _is_text(first):
                continue
            for name in inner.bindings:
                new = self.names.get(f"{source.module}.{inner.qualname}.{name}") or self.step.identifiers.get(name)
                if not new:
                    continue
                new = new.rpartition(".")[2]
                for number in range(first.lineno, first.end_lineno + 1):
                    for match in re.finditer(rf"\b{name.upper()}\b|`{name}`", source.lines[number - 1]):
                        text = f"`{new}`" if match[0].startswith("`") else new.upper()
                        col = len(source.lines[number - 1][:match.start()].encode())
                        self.edit(source, number, col, len(match[0].encode()), text)

    def _strings_in(self, source: Source) -> None:
        """Dotted names in strings of their own: monkeypatch.setattr("hermes_oscron.bridge.settle", …)."""
        for node, _ in source.strings:
            if not re.fullmatch(r"(hermes_oscron|tests|bench)(\.\w+)+", node.value):
                continue
            module, rest = self.split(node.value)
            if module not in self.project.modules:
                continue
            new = self.new_module(module)
            if rest:
                first, _, more = rest.partition(".")
                place = self.location(self.project.canonical(f"{module}.{first}"))
                if f"{module}.{first}" in self.names and place:
                    new = place[0]
                new += f".{place[1] if place else first}" + (f".{more}" if more else "")
            if new != node.value and source.at(node.lineno, node.col_offset + 1, node.value):
                self.edit(source, node.lineno, node.col_offset + 1, len(node.value), new)

    # writing

    def _write(self) -> None:
        moved_files: dict[str, str] = {}
        for old, new in self.modules.items():
            source = self.project.modules[old]
            moved_files[source.path] = self._path_of(new)
        for old, new in self.step.paths.items():
            if old in self.project.files:
                moved_files[old] = new
            else:
                self.note(f"gone already: {old}")
        self.moved_files = moved_files
        segments: dict[str, list[tuple[list[str], ast.stmt]]] = defaultdict(list)
        contents: dict[str, str] = {}
        removed: list[str] = []
        before: dict[str, set[str]] = defaultdict(set)
        for path, source in self.project.sources.items():
            touched = path in self.edits or path in self.replaced or path in self.moved or path in self.extra
            lines = apply_edits(source.text, self.edits[path]) if path in self.edits else list(source.lines)
            if touched or path in moved_files:
                before[moved_files.get(path, path)] |= set(source.lines)
            for start, end, place, node in self.moved[path]:
                part = lines[start - 1:end]
                part = self._with_replaced(part, start, end, path)
                segments[place].append((part, node))
                before[self._path_of(place)] |= set(source.lines)
            operations = [(start, end, new) for start, end, new in self.replaced[path]
                          if not any(s <= start <= e for s, e, _, _ in self.moved[path])]
            operations += [(start, end, []) for start, end, _, _ in self.moved[path]]
            if self.extra[path]:
                top = [stmt for stmt, scope, stack in source.imports if scope is source.root and len(stack) == 1]
                at = (top[-1].end_lineno or 0) if top else (source.tree.body[0].end_lineno or 0) if source.tree.body else 0
                text = self.render(self.extra[path], self._package_after(self.new_module(source.module), source),
                                   relative=source.module.startswith("hermes_oscron"), top=source.module.split(".")[0])
                operations.append((at + 1, at, text if top else ["", *text]))
            for start, end, new in sorted(operations, key=lambda each: (each[0], each[1]), reverse=True):
                lines[start - 1:end] = new
            if not touched:
                continue
            text = _tidy("\n".join(lines), bool(self.moved[path]))
            rest = [node for node in ast.parse(text).body if not isinstance(node, ast.Import | ast.ImportFrom)
                    and not _is_text(node) and not _is_typing_block(node)]
            if self.moved[path] and not rest and not path.endswith("__init__.py"):
                removed.append(path)
            else:
                contents[path] = text
        created: list[str] = []
        for place, parts in segments.items():
            path = self._path_of(place)
            package = place if path.endswith("__init__.py") else place.rpartition(".")[0]
            origin = next((old for old, new in moved_files.items() if new == path and old not in removed), None)
            if origin is None and path in self.project.files and path not in removed:
                origin = path
            ours = place.startswith("hermes_oscron")
            header = [piece for piece, typing in self.header[place] if not typing]
            typed = [piece for piece, typing in self.header[place] if typing and (piece, False) not in self.header[place]]
            imports = self.render(header, package, ours, place.split(".")[0])
            block = [f"    {line}" for line in self.render(typed, package, ours, place.split(".")[0])]
            if origin is None:
                created.append(path)
                doc = self.step.docs.get(place)
                if not doc:
                    self.note(f"CHECK {path}: a new module without a docstring in the table")
                lines = [f'"""{doc or "…"}"""', "", *imports]
                if block:
                    lines += ["from typing import TYPE_CHECKING", "", "if TYPE_CHECKING:", *block]
                body = [line for part, node in parts for line in _spaced(part, node)]
                contents[path] = _tidy("\n".join([*lines, "", *body]) + "\n", True)
            else:
                text = contents.get(origin) or self.project.sources[origin].text
                contents[origin] = _merged(text, imports, block, parts)
        self._save(contents, removed, created, moved_files, before)

    def _with_replaced(self, part: list[str], start: int, end: int, path: str) -> list[str]:
        for first, last, new in sorted(self.replaced[path], reverse=True):
            if start <= first and last <= end:
                part[first - start:last - start + 1] = new
        return part

    def _save(self, contents: dict[str, str], removed: list[str], created: list[str], moved_files: dict[str, str],
              before: dict[str, set[str]]) -> None:
        git = lambda *words: subprocess.run(["git", *words], cwd=self.root, check=True, capture_output=True)  # noqa: E731
        for path in removed:
            git("rm", "-q", "-f", path)
            moved_files.pop(path, None)
        for old, new in moved_files.items():
            if new == old:
                continue
            os.makedirs(os.path.dirname(f"{self.root}/{new}"), exist_ok=True)
            git("mv", old, new)
        for path, text in self.step.create.items():
            if not os.path.exists(f"{self.root}/{path}"):
                os.makedirs(os.path.dirname(f"{self.root}/{path}"), exist_ok=True)
                with open(f"{self.root}/{path}", "w", encoding="utf-8") as file:
                    file.write(text)
                created.append(path)
        for path, text in contents.items():
            path = moved_files.get(path, path)
            self.written.add(path)
            os.makedirs(os.path.dirname(f"{self.root}/{path}"), exist_ok=True)
            with open(f"{self.root}/{path}", "w", encoding="utf-8") as file:
                file.write(text)
        for path in created:
            git("add", path)
        folders = {os.path.dirname(old) for old in [*moved_files, *removed]}
        for folder in sorted(folders, key=len, reverse=True):
            full = f"{self.root}/{folder}"
            if os.path.isdir(full):
                left = [name for name in os.listdir(full) if name != "__pycache__"]
                if not left:
                    import shutil
                    shutil.rmtree(full)
        self._texts(before)

    # prose and other files

    def _texts(self, before: dict[str, set[str]]) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.root, capture_output=True, check=True).stdout.decode()
        paths = dict(sorted(self.moved_files.items(), key=lambda each: -len(each[0])))
        words = self._words()
        used = set()
        for path in listed.split("\0"):
            full = f"{self.root}/{path}"
            if not path or not os.path.isfile(full) or path.endswith((".png", ".woff2")):
                continue
            try:
                with open(full, encoding="utf-8") as file:
                    text = file.read()
            except UnicodeDecodeError:
                continue
            new = self._prose(text, path, paths, words)
            for i, (glob, pattern, replacement, *_) in enumerate(self.step.text):
                if re.fullmatch(glob, path) and re.search(pattern, new, re.M):
                    new = re.sub(pattern, replacement, new, flags=re.M)
                    used.add(i)
            if path.endswith(".py"):
                if path not in before:
                    before[path] = set(text.split("\n"))
                new, _ = wrap(new, before[path])
            if new != text:
                self.written.add(path)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(new)
        for i, (glob, pattern, *_) in enumerate(self.step.text):
            if i not in used:
                self.note(f"no such text (any more): {glob}: {pattern}")

    def _words(self) -> dict[str, str]:
        """Names that may be replaced in prose: those that are no English word, and mean one thing in this table."""
        found: dict[str, set[str]] = defaultdict(set)
        for old, new in self.names.items():
            module, rest = self.split(old)
            if rest.count(".") <= 1 and DISTINCT.fullmatch(rest.rpartition(".")[2]):
                found[rest.rpartition(".")[2]].add(new.rpartition(".")[2])
        for old, new in self.step.identifiers.items():
            if DISTINCT.fullmatch(old):
                found[old].add(new)
        still = {name for source in self.project.all_sources() for name in self._left_as_they_are(source)}
        return {old: news.pop() for old, news in found.items() if len(news) == 1 and old not in still}

    def _left_as_they_are(self, source: Source) -> set[str]:
        """The names that `source` binds or has as attributes, and that stay."""
        found, scopes = set(), [source.root]
        while scopes:
            scope = scopes.pop()
            scopes += scope.children
            for name, bindings in scope.bindings.items():
                dotted = ".".join(filter(None, [source.module, scope.qualname, name]))
                if dotted not in self.names and name not in self.step.identifiers and any(not b.target for b in bindings):
                    cls = self.project.class_at.get((source.module, getattr(scope.node, "lineno", 0)), "")
                    if not (scope.kind == "class" and self.member(cls, name)):
                        found.add(name)
        return found

    def _errors(self) -> dict[str, str]:
        return {self.split(old)[1]: new.rpartition(".")[2] for old, new in self.names.items()
                if re.fullmatch(r"[A-Z]\w+", self.split(old)[1]) and self.split(old)[1] != new.rpartition(".")[2]}

    def _prose(self, text: str, path: str, paths: dict[str, str], words: dict[str, str]) -> str:
        errors = self._errors()
        tests = {f"{self.split(old)[0].replace('.', '/')}.py::{self.split(old)[1]}":
                 f"{new.rpartition('.')[0].replace('.', '/')}.py::{new.rpartition('.')[2]}"
                 for old, new in self.names.items() if old.startswith("tests.") and "." not in self.split(old)[1]}
        members = {f"{self.split(old)[0].rpartition('.')[2]}.{self.split(old)[1]}": ".".join(new.split(".")[-2:])
                   for old, new in self.names.items() if "." not in self.split(old)[1]}

        def change(part: str, docs: bool) -> str:
            part = re.sub(r"\bhermes_oscron(?:\.\w+)+", lambda m: self._dotted_text(m[0]), part)
            for old, new in paths.items():
                part = re.sub(rf"(?<![\w/]){re.escape(old)}(?!\w)", new, part)
                if old.startswith("hermes_oscron/") and new.startswith("hermes_oscron/") and path == "pyproject.toml":
                    short, to = old.removeprefix("hermes_oscron/"), new.removeprefix("hermes_oscron/")
                    part = part.replace(f'"{short}"', f'"{to}"')
            for old, new in tests.items():
                part = part.replace(old, new)
            if not docs:
                return part
            for old, new in words.items():
                part = re.sub(rf"(?<![\w./-]){re.escape(old)}(?![\w/-])", new, part)
            for old, new in members.items():
                part = re.sub(rf"(?<![\w./`-]){re.escape(old)}(?![\w/-])(?=[\s).,;`])", new, part)
                part = re.sub(rf"`{re.escape(old)}`", f"`{new}`", part)
            if errors:
                names = "|".join(map(re.escape, errors))
                part = re.sub(r"\b[Rr]aises?\s+(?:[A-Z]\w+(?:\s*,\s*|\s+and\s+|\s+or\s+)?)+",
                              lambda m: re.sub(rf"\b({names})\b", lambda n: errors[n[1]], m[0]), part)
                part = re.sub(rf"`({names})`", lambda m: f"`{errors[m[1]]}`", part)
            for old, new in self.names.items():
                rest, last = self.split(old)[1], new.rpartition(".")[2]
                if "." not in rest and len(rest) > 3 and rest != last and path.startswith("hermes_oscron"):
                    part = re.sub(rf"`{re.escape(rest)}`", f"`{last}`", part)
            return part

        if not path.endswith(".py"):
            return change(text, path.endswith(".md"))
        lines = text.split("\n")
        previous = None
        operations = []
        for token in tokens_of(text):
            if token.type == 3 or token.type == 61 or token.type == 65 or token.string.startswith("#"):
                is_doc = token.string.startswith("#") or (token.type == 3 and (
                    previous is None or previous.type in (4, 5, 6) or previous.string == "\n")
                    and token.string.lstrip("rb").startswith('"""'))
                new = change(token.string, is_doc)
                if new != token.string:
                    operations.append((token.start, token.end, new))
            if token.type not in (61, 62, 65) and not token.string.startswith("#"):
                previous = token
        for (first, start), (last, end), new in reversed(operations):
            joined = lines[first - 1][:start] + new + lines[last - 1][end:]
            lines[first - 1:last] = joined.split("\n")
        return "\n".join(lines)

    def _dotted_text(self, dotted: str) -> str:
        module, rest = self.split(dotted)
        if module in self.modules and not rest:
            return self.modules[module]
        if module in self.project.modules and rest:
            place = self.location(".".join([module, rest.partition(".")[0]]))
            tail = rest.partition(".")[2]
            if place and (module in self.modules or f"{module}.{rest.partition('.')[0]}" in self.names):
                return ".".join(filter(None, [*place, tail]))
        if not rest:
            for old, new in self.modules.items():
                if old == dotted:
                    return new
        return dotted


# small things


def _only(stmt: Any, alias: ast.alias) -> ast.stmt:
    if isinstance(stmt, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(stmt.module, [alias], stmt.level)


def _isort_key(name: str) -> tuple[int, str]:
    first = name.split(" ")[0]
    return (0 if first.isupper() and len(first) > 1 else 1 if first[:1].isupper() else 2), name


def _relative(package: str, module: str) -> str:
    have, want = package.split("."), module.split(".")
    common = 0
    while common < min(len(have), len(want)) and have[common] == want[common]:
        common += 1
    return "." * (len(have) - common + 1) + ".".join(want[common:])


def _within(scope: Scope | None, outer: Scope) -> bool:
    while scope is not None:
        if scope is outer:
            return True
        scope = scope.parent
    return False


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [each.id for target in targets for each in ast.walk(target)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
    return []


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_typing_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _spaced(part: list[str], node: ast.stmt) -> list[str]:
    blank = 2 if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) else 1
    return [*[""] * blank, *part, *[""] * (blank - 1)]


def _tidy(text: str, moved: bool) -> str:
    """No more than two blank lines, and two around top-level definitions, where something was moved."""
    if not moved:
        return text
    text = re.sub(r"\n{4,}", "\n\n\n", text).rstrip("\n") + "\n"
    text = re.sub(r"^((?:from|import) [^\n]*|    [^\n]*|\)|\"\"\")\n{2}(?=(?:@|def |class |async def ))", r"\1\n\n\n", text,
                  flags=re.M)
    return _constants_close(text)


def _constants_close(text: str) -> str:
    """At most one blank line between two statements that are no definitions."""
    tree = ast.parse(text)
    lines = text.split("\n")
    define = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    operations = []
    for one, two in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(one, define) and not isinstance(two, define):
            start = one.end_lineno or 0
            end = two.lineno - 1
            between = lines[start:end]
            if len(between) > 1 and not any(between):
                operations.append((start, end))
    for start, end in reversed(operations):
        lines[start:end] = [""]
    return "\n".join(lines)


def _merged(text: str, imports: list[str], block: list[str], parts: list[tuple[list[str], ast.stmt]]) -> str:
    """`text` with `parts` in it: what is no function after the imports, functions at the end."""
    tree = ast.parse(text)
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = text.rstrip("\n").split("\n")
    first = [line for part, node in parts if not isinstance(node, ast.FunctionDef) for line in _spaced(part, node)]
    end = [line for part, node in parts if isinstance(node, ast.FunctionDef) for line in _spaced(part, node)]
    typing = next((node for node in tree.body if _is_typing_block(node)), None)
    at = (top[-1].end_lineno or 0) if top else (tree.body[0].end_lineno or 0) if tree.body and _is_text(tree.body[0]) else 0
    after = max(at, (typing.end_lineno or 0) if typing else 0)
    if block and not typing:
        imports = [*imports, "from typing import TYPE_CHECKING"]
        first = ["", "if TYPE_CHECKING:", *block, *first]
    elif block and typing:
        lines[after:after] = block
        after += len(block)
    lines[after:after] = [*first, ""] if first else []
    lines[at:at] = imports if top else ["", *imports]
    return _tidy("\n".join([*lines, *end]) + "\n", True)


def steps_of(path: str) -> list[Step]:
    with open(path, "rb") as file:
        table = tomllib.load(file)
    return [_expanded(Step(**each)) for each in table["step"]]


def _expanded(step: Step) -> Step:
    """`@` spelled out, and new names that have no module given the one where the old name goes."""

    def full(name: str) -> str:
        return name.replace("@", "hermes_oscron.", 1) if name.startswith("@") else name

    step.modules = {full(old): full(new) for old, new in step.modules.items()}
    for table in (step.docs, step.style):
        for old in list(table):
            table[full(old)] = table.pop(old)
    names = {}
    for old, new in step.names.items():
        old, new = full(old), full(new)
        if "." not in new:
            parent = old.rpartition(".")[0]
            for module in sorted(step.modules, key=len, reverse=True):
                if parent == module or parent.startswith(f"{module}."):
                    parent = step.modules[module] + parent[len(module):]
                    break
            new = f"{parent}.{new}"
        names[old] = new
    step.names = names
    return step


def phases(step: Step) -> list[Step]:
    """`step` as what is renamed and moved within the modules as they are called, and then the modules themselves.

    So that git takes the second for what it is: files of another name and the same content.
    """
    if not step.modules:
        return [step]
    back = {new: old for old, new in step.modules.items()}

    def old_place(dotted: str) -> str:
        for new in sorted(back, key=len, reverse=True):
            if dotted == new or dotted.startswith(f"{new}."):
                return back[new] + dotted[len(new):]
        return dotted

    names = {old: old_place(new) for old, new in step.names.items()}
    one = Step(step.name, f"{step.commit}: names", names=names, identifiers=step.identifiers, docs=step.docs,
               style=step.style, create=step.create)
    two = Step(step.name, step.commit, modules=step.modules, paths=step.paths, style=step.style, create=step.create,
               text=step.text)
    one.commit = step.names_commit or f"{step.commit}: what is in them"
    return [one, two] if names or step.identifiers else [two]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", help="the git checkout to change")
    parser.add_argument("--table", default=f"{HERE}/table.toml")
    parser.add_argument("--step", action="append", help="only this step (may be repeated); default: all, in order")
    parser.add_argument("--list", action="store_true", help="list the steps")
    parser.add_argument("--commit", action="store_true", help="commit each step: its names, then its modules")
    parser.add_argument("--python", help="the Python whose packages the code imports  [default: CHECKOUT/.venv]")
    arguments = parser.parse_args()
    steps = steps_of(arguments.table)
    if arguments.list:
        for step in steps:
            for phase in phases(step):
                print(f"{step.name:<12} {phase.commit}")
        return 0
    if arguments.step and (unknown := set(arguments.step) - {step.name for step in steps}):
        parser.error(f"no such step: {', '.join(unknown)}")
    root = os.path.abspath(arguments.checkout)
    if subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True).stdout:
        parser.error(f"{root} has changes that are not committed.")
    python = arguments.python or f"{root}/.venv/bin/python"
    results = [_run_in_child(root, phase, python, arguments.commit) for step in steps
               if not arguments.step or step.name in arguments.step for phase in phases(step)]
    return 0 if all(results) else 1


def _run_in_child(root: str, step: Step, python: str, commit: bool) -> bool:
    """mypy's trees take a gigabyte, and go with the process."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 2
        try:
            code = 0 if _run(root, step, python, commit) else 1
        finally:
            sys.stdout.flush()
            if sys.exc_info()[0]:
                import traceback
                traceback.print_exc()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 1):
        raise SystemExit(f"{step.name}: failed; the steps before are done.")
    return code == 0


def _run(root: str, step: Step, python: str, commit: bool) -> bool:
    started = time.monotonic()
    engine = Engine(root, step, python)
    engine.run()
    ruff = [f"{HERE}/venv/bin/ruff", "check", "--quiet"]
    fixed = subprocess.run([*ruff, "--fix", "--select", "I,F401", "."], cwd=root, capture_output=True, text=True, check=False)
    with open(f"{root}/pyproject.toml", "rb") as file:
        ignored = tomllib.load(file)["tool"]["ruff"]["lint"].get("per-file-ignores", {})
    for path, rules in ignored.items():
        if "I001" in rules and path in engine.written:
            subprocess.run([*ruff, "--isolated", "--line-length", "120", "--fix", "--select", "I", path], cwd=root, check=False,
                           capture_output=True)
    left = subprocess.run([*ruff, "--output-format", "concise", "."], cwd=root, capture_output=True, text=True, check=False)
    print(f"== {step.name}: {step.commit} ({time.monotonic() - started:.0f} s)")
    for note in engine.notes:
        print(f"   {note}")
    for line in (fixed.stderr + left.stdout).splitlines():
        print(f"   ruff: {line}", flush=True)
    if commit:
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True)
        if changed.stdout:
            subprocess.run(["git", "commit", "-qa", "-m", step.commit], cwd=root, check=True)
        else:
            print("   nothing to commit")
    return not any(note.startswith("NOT DONE") for note in engine.notes)


if __name__ == "__main__":
    sys.exit(main())
