"""A checkout as syntax trees: which name means what, by Python's scopes and imports, and by mypy's types for attributes."""

import ast
import contextlib
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import Any

PACKAGES = ("hermes_oscron", "tests", "bench")


@dataclass(eq=False)
class Binding:
    """One place that binds `name` in `scope`. `target` is the dotted name that an import binds."""

    name: str
    scope: "Scope"
    node: ast.AST
    stmt: ast.stmt | None = None
    alias: ast.alias | None = None
    target: str | None = None


@dataclass(eq=False)
class Scope:
    kind: str
    node: ast.AST
    parent: "Scope | None"
    qualname: str
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    globals: set[str] = field(default_factory=set)
    children: list["Scope"] = field(default_factory=list)

    def lookup(self, name: str) -> "Scope | None":
        scope: Scope | None = self
        first = True
        while scope:
            if name in scope.globals:
                while scope.parent:
                    scope = scope.parent
                return scope if name in scope.bindings else None
            if name in scope.bindings and (scope.kind != "class" or first):
                return scope
            first = False
            scope = scope.parent
        return None


@dataclass(eq=False)
class Ref:
    """A use of a name (or its definition, where `binding` is set and it is no import)."""

    name: str
    line: int
    col: int  # in bytes
    scope: Scope
    node: ast.AST
    parent: ast.AST | None = None


@dataclass(eq=False)
class Attr:
    """An attribute access; `line` and `col` (bytes) are those of the name after the dot."""

    name: str
    line: int
    col: int
    scope: Scope
    node: ast.Attribute
    parent: ast.AST | None


class Source:
    """One Python file, or Python code in a string of one (`host`, with `first_line` lines of the host before it)."""

    def __init__(self, path: str, module: str, text: str, host: "Source | None" = None, first_line: int = 0) -> None:
        self.path, self.module, self.text, self.host, self.first_line = path, module, text, host, first_line
        self.is_package = path.endswith("/__init__.py")
        self.lines = text.split("\n")
        self.tree = ast.parse(text)
        self.root = Scope("module", self.tree, None, "")
        self.refs: list[Ref] = []
        self.attrs: list[Attr] = []
        self.calls: list[tuple[ast.Call, Scope]] = []
        self.strings: list[tuple[ast.Constant, ast.AST | None]] = []
        self.classes: list[tuple[ast.ClassDef, Scope]] = []
        self.functions: list[tuple[ast.AST, Scope, Scope]] = []
        self.imports: list[tuple[ast.stmt, Scope, list[ast.AST]]] = []
        self.args: list[tuple[ast.arg, Scope]] = []
        _Builder(self).run()

    @property
    def package(self) -> str:
        return self.module if self.is_package else self.module.rpartition(".")[0]

    def at(self, line: int, col: int, text: str) -> bool:
        data = self.lines[line - 1].encode()
        return data[col:col + len(text.encode())] == text.encode()


def _without_fields(code: str) -> str:
    """`code`, where it is a template of str.format(), with names of the same length in the place of `{fields}`."""
    try:
        ast.parse(code)
    except SyntaxError:
        return re.sub(r"\{\w+(![rsa])?\}", lambda m: "_" * len(m[0]), code)
    return code


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def resolve_relative(package: str, level: int, module: str | None) -> str:
    if not level:
        return module or ""
    parts = package.split(".")
    base = parts[:len(parts) - (level - 1)]
    return ".".join([*base, *([module] if module else [])])


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[ast.AST] = []

    def run(self) -> None:
        self.body(self.source.tree.body, self.source.root)

    def body(self, nodes: list[Any], scope: Scope) -> None:
        for node in nodes:
            self.visit(node, scope)

    def bind(self, name: str, scope: Scope, node: ast.AST, **more: Any) -> Binding:
        while scope.kind == "comprehension" and more.pop("walrus", False):
            assert scope.parent
            scope = scope.parent
        if name in scope.globals:
            while scope.parent:
                scope = scope.parent
        binding = Binding(name, scope, node, **more)
        scope.bindings.setdefault(name, []).append(binding)
        return binding

    def scope(self, kind: str, node: ast.AST, parent: Scope, name: str) -> Scope:
        made = Scope(kind, node, parent, f"{parent.qualname}.{name}".strip("."))
        parent.children.append(made)
        return made

    def ref(self, name: str, line: int, col: int, scope: Scope, node: ast.AST) -> None:
        self.source.refs.append(Ref(name, line, col, scope, node, self.stack[-2] if len(self.stack) > 1 else None))

    def visit(self, node: Any, scope: Scope) -> None:
        if node is None:
            return
        self.stack.append(node)
        method = getattr(self, f"visit_{type(node).__name__}", None)
        if method:
            method(node, scope)
        else:
            self.generic(node, scope)
        self.stack.pop()

    def generic(self, node: ast.AST, scope: Scope) -> None:
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                for each in value:
                    if isinstance(each, ast.AST):
                        self.visit(each, scope)
            elif isinstance(value, ast.AST):
                self.visit(value, scope)

    def name_after(self, node: Any, keyword: str) -> tuple[int, int]:
        line = node.lineno
        text = self.source.lines[line - 1].encode()
        match = re.compile(keyword.encode() + rb"\s+" + node.name.encode() + rb"\b").search(text, node.col_offset)
        assert match, (self.source.path, line)
        return line, match.end() - len(node.name.encode())

    def visit_FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        for each in node.decorator_list:
            self.visit(each, scope)
        self.bind(node.name, scope, node)
        line, col = self.name_after(node, "def")
        self.ref(node.name, line, col, scope, node)
        inner = self.scope("function", node, scope, node.name)
        self.source.functions.append((node, scope, inner))
        self.arguments(node.args, scope, inner)
        self.annotation(node.returns, scope)
        self.body(node.body, inner)

    visit_AsyncFunctionDef = visit_FunctionDef

    def arguments(self, args: ast.arguments, outer: Scope, inner: Scope) -> None:
        for each in [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]:
            self.annotation(each.annotation, outer)
            self.bind(each.arg, inner, each)
            self.ref(each.arg, each.lineno, each.col_offset, inner, each)
            self.source.args.append((each, inner))
        for default in [*args.defaults, *args.kw_defaults]:
            self.visit(default, outer)

    def visit_Lambda(self, node: ast.Lambda, scope: Scope) -> None:
        inner = self.scope("function", node, scope, f"<lambda:{node.lineno}:{node.col_offset}>")
        self.arguments(node.args, scope, inner)
        self.visit(node.body, inner)

    def visit_ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        for each in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(each, scope)
        self.bind(node.name, scope, node)
        line, col = self.name_after(node, "class")
        self.ref(node.name, line, col, scope, node)
        inner = self.scope("class", node, scope, node.name)
        self.source.classes.append((node, inner))
        self.body(node.body, inner)

    def comprehension(self, node: Any, scope: Scope, parts: list[ast.AST]) -> None:
        inner = self.scope("comprehension", node, scope, f"<comp:{node.lineno}:{node.col_offset}>")
        for i, generator in enumerate(node.generators):
            self.visit(generator.iter, scope if i == 0 else inner)
            self.visit(generator.target, inner)
            for condition in generator.ifs:
                self.visit(condition, inner)
        for part in parts:
            self.visit(part, inner)

    def visit_ListComp(self, node: Any, scope: Scope) -> None:
        self.comprehension(node, scope, [node.elt])

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp, scope: Scope) -> None:
        self.comprehension(node, scope, [node.key, node.value])

    def visit_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> None:
        target = scope
        while target.kind == "comprehension" and target.parent:
            target = target.parent
        self.visit(node.target, target)
        self.visit(node.value, scope)

    def visit_Global(self, node: ast.Global, scope: Scope) -> None:
        scope.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal, scope: Scope) -> None:
        pass

    def visit_Name(self, node: ast.Name, scope: Scope) -> None:
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self.bind(node.id, scope, node)
        self.ref(node.id, node.lineno, node.col_offset, scope, node)

    def visit_Attribute(self, node: ast.Attribute, scope: Scope) -> None:
        self.visit(node.value, scope)
        assert node.end_lineno and node.end_col_offset
        col = node.end_col_offset - len(node.attr.encode())
        self.source.attrs.append(Attr(node.attr, node.end_lineno, col, scope, node,
                                      self.stack[-2] if len(self.stack) > 1 else None))

    def visit_Call(self, node: ast.Call, scope: Scope) -> None:
        self.source.calls.append((node, scope))
        self.generic(node, scope)

    def visit_ExceptHandler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        self.visit(node.type, scope)
        if node.name:
            self.bind(node.name, scope, node)
        self.body(node.body, scope)

    def visit_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        self.visit(node.target, scope)
        self.annotation(node.annotation, scope)
        self.visit(node.value, scope)

    def annotation(self, node: Any, scope: Scope) -> None:
        if node is None:
            return
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                self.string_annotation(each, scope)
        self.visit(node, scope)

    def string_annotation(self, node: ast.Constant, scope: Scope) -> None:
        if node.lineno != node.end_lineno:
            return
        try:
            parsed = ast.parse(node.value, mode="eval")
        except SyntaxError:
            return
        for each in ast.walk(parsed):
            if hasattr(each, "lineno"):
                each.lineno = each.end_lineno = node.lineno  # type: ignore[attr-defined]
                each.col_offset += node.col_offset + 1
                each.end_col_offset += node.col_offset + 1
        self.visit(parsed.body, scope)

    def visit_Constant(self, node: ast.Constant, scope: Scope) -> None:
        if isinstance(node.value, str):
            self.source.strings.append((node, self.stack[-2] if len(self.stack) > 1 else None))

    def visit_Import(self, node: ast.Import, scope: Scope) -> None:
        self.source.imports.append((node, scope, list(self.stack)))
        for alias in node.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            self.bind(alias.asname or target, scope, node, stmt=node, alias=alias, target=target)

    def visit_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        self.source.imports.append((node, scope, list(self.stack)))
        base = resolve_relative(self.source.package, node.level, node.module)
        for alias in node.names:
            if alias.name != "*":
                self.bind(alias.asname or alias.name, scope, node, stmt=node, alias=alias,
                          target=f"{base}.{alias.name}")


class Project:
    """All Python of a checkout."""

    def __init__(self, root: str, python: str, types: bool = True) -> None:
        self.root = root
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.decode()
        self.files = [path for path in listed.split("\0") if path and os.path.isfile(f"{root}/{path}")]
        self.sources: dict[str, Source] = {}
        self.modules: dict[str, Source] = {}
        self.embedded: list[Source] = []
        for path in self.files:
            if path.endswith(".py") and path.split("/")[0] in PACKAGES:
                with open(f"{root}/{path}", encoding="utf-8") as file:
                    source = Source(path, module_of(path), file.read())
                self.sources[path] = source
                self.modules[source.module] = source
        for source in list(self.sources.values()):
            self.embedded += self._embedded(source)
        self.types: dict[str, dict[tuple[int, int, int, int], Any]] = {}
        self.mro: dict[str, list[str]] = {}
        self.class_at: dict[tuple[str, int], str] = {}
        if types:
            self._infer(python)

    def _embedded(self, source: Source) -> list[Source]:
        found = []
        for node, parent in source.strings:
            if "hermes_oscron" not in node.value or node.lineno == node.end_lineno or isinstance(parent, ast.Expr):
                continue
            assert node.end_lineno
            if not source.lines[node.lineno - 1].endswith('"""'):
                continue
            text = "\n".join(source.lines[node.lineno:node.end_lineno - 1]) + "\n"
            name = f"embedded_{len(self.embedded) + len(found)}"
            try:
                found.append(Source(source.path, name, _without_fields(text), source, node.lineno))
            except SyntaxError:
                print(f"NOTE {source.path}:{node.lineno}: a string with code that cannot be parsed; left alone")
        return found

    def all_sources(self) -> list[Source]:
        return [*self.sources.values(), *self.embedded]

    # names

    def canonical(self, dotted: str, depth: int = 0) -> str:
        """The place where what `dotted` names is defined, through modules that import it from another."""
        parts = dotted.split(".")
        for i in range(len(parts), 0, -1):
            module = ".".join(parts[:i])
            if module in self.modules:
                if i == len(parts) or depth > 10:
                    return dotted
                bindings = self.modules[module].root.bindings.get(parts[i], [])
                if bindings and all(each.target for each in bindings):
                    assert bindings[0].target
                    return self.canonical(".".join([bindings[0].target, *parts[i + 1:]]), depth + 1)
                return dotted
        return dotted

    def dotted(self, node: ast.AST, scope: Scope, source: Source) -> str | None:
        """What the expression `node` statically names, as a dotted name, or None."""
        if isinstance(node, ast.Name):
            found = scope.lookup(node.id)
            if found is None:
                return None
            bindings = found.bindings[node.id]
            imported = [each for each in bindings if each.target]
            if imported and len(imported) == len(bindings):
                return self.canonical(imported[0].target or "")
            return ".".join(filter(None, [source.module, found.qualname, node.id]))
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value, scope, source)
            if base and (base in self.modules or base in self.mro):
                return self.canonical(f"{base}.{node.attr}") if base in self.modules else f"{base}.{node.attr}"
        return None

    # types

    def _infer(self, python: str) -> None:
        from mypy import build
        from mypy.nodes import ClassDef, Expression, Node, TypeInfo, Var
        from mypy.options import Options
        from mypy.types import (CallableType, Instance, LiteralType, Overloaded, TupleType, TypeType, TypeVarType,
                                UnionType, get_proper_type)

        options = Options()
        options.python_executable = python
        options.export_types = options.preserve_asts = True
        options.check_untyped_defs = options.ignore_missing_imports = True
        options.namespace_packages = options.explicit_package_bases = True
        options.incremental, options.sqlite_cache = True, False
        here = os.path.dirname(os.path.abspath(__file__))
        options.cache_dir = f"{here}/.mypy_cache/{self.root.strip('/').replace('/', '-')}"
        options.show_traceback = True
        options.mypy_path = [self.root]
        from mypy.modulefinder import BuildSource

        folder = tempfile.TemporaryDirectory()
        by_module: dict[str, Source] = {}
        sources = []
        for source in self.sources.values():
            sources.append(BuildSource(f"{self.root}/{source.path}", source.module, None))
            by_module[source.module] = source
        for source in self.embedded:
            path = f"{folder.name}/{source.module}.py"
            with open(path, "w", encoding="utf-8") as file:
                file.write(source.text)
            sources.append(BuildSource(path, source.module, None))
            by_module[source.module] = source
        before = os.getcwd()
        os.chdir(self.root)
        try:
            result = build.build(sources, options)
        except Exception as error:
            from mypy.errors import CompileError
            if isinstance(error, CompileError):
                raise SystemExit("mypy cannot read the tree:\n" + "\n".join(error.messages[:20])) from None
            raise
        finally:
            os.chdir(before)
            folder.cleanup()

        def names(kind: Any) -> list[str]:
            kind = get_proper_type(kind)
            if isinstance(kind, Instance):
                info = kind.type
                self.mro.setdefault(info.fullname, [each.fullname for each in info.mro])
                return [info.fullname]
            if isinstance(kind, UnionType):
                return [name for item in kind.items for name in names(item)]
            if isinstance(kind, TupleType):
                return names(kind.partial_fallback)
            if isinstance(kind, LiteralType):
                return names(kind.fallback)
            if isinstance(kind, TypeVarType):
                return names(kind.upper_bound)
            if isinstance(kind, TypeType):
                return names(kind.item)
            if isinstance(kind, CallableType):
                return names(kind.ret_type) if kind.is_type_obj() else []
            if isinstance(kind, Overloaded):
                return names(kind.items[0])
            return []

        skipped = {"node", "info", "analyzed", "type", "unanalyzed_type", "original_def", "names", "defs_", "mod"}

        def walk(top: Any, module: str) -> None:
            """All nodes under `top`; by reflection, since compiled mypy lets nobody subclass its visitors."""
            found, seen, left = self.types.setdefault(module, {}), set(), [top]
            while left:
                node = left.pop()
                if isinstance(node, (list, tuple)):
                    left += node
                    continue
                if not isinstance(node, Node) or isinstance(node, (TypeInfo, Var)) or id(node) in seen:
                    continue
                seen.add(id(node))
                if isinstance(node, Expression) and (kind := result.types.get(node)) is not None:
                    key = (node.line, node.column, node.end_line or 0, node.end_column or 0)
                    found[key] = [*found.get(key, []), *names(kind)]
                if isinstance(node, ClassDef):
                    self.mro.setdefault(node.info.fullname, [each.fullname for each in node.info.mro])
                    self.class_at[module, node.line] = node.info.fullname
                for base in type(node).__mro__:
                    for name in base.__dict__.get("__mypyc_attrs__", ()):
                        if name not in skipped and not name.startswith("__"):
                            try:
                                left.append(getattr(node, name))
                            except AttributeError:
                                pass

        for module, tree in result.files.items():
            if module in by_module:
                walk(tree.defs, module)
        for path, _, files in os.walk(options.cache_dir):  # what is not ours need not be read again
            for name in files:
                relative = os.path.relpath(f"{path}/{name}", options.cache_dir)
                if relative.split("/", 1)[-1].startswith((*PACKAGES, "embedded_")):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{path}/{name}")

    def types_of(self, node: ast.expr, source: Source) -> list[str]:
        found = self.types.get(source.module, {}).get(
            (node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0), [])
        return list(dict.fromkeys(found))
