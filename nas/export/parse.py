"""One module as the exporter sees it: definitions with their text, and imports. Nothing is run."""

import ast
import importlib.util
import symtable
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nas.errors import ExportRefused


@dataclass(frozen=True)
class Import:
    """One name bound by an import statement."""

    module: str
    name: str | None
    """What is taken from the module; None imports the module itself."""
    alias: str | None = None

    @property
    def bound(self) -> str:
        """The name that the statement defines."""
        return self.alias or self.name or self.module.split(".")[0]

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.module.split(".")[0]

    @property
    def allowed(self) -> bool:
        """Whether an exported file may import it."""
        return self.package == "torch" or self.package in sys.stdlib_module_names


@dataclass(frozen=True)
class QuotedAnnotation:
    """An annotation written as a string, with its place in the text of a definition."""

    expression: str
    line: int
    """Of the definition's text, from 0."""
    start: int
    end: int

    @property
    def members(self) -> list[tuple[str, frozenset[str]]]:
        """The text and the names of each member of a union; a plain annotation is one member."""
        body = ast.parse(self.expression, mode="eval").body
        return [(ast.unparse(node), frozenset(names_in(node))) for node in union_members(body)]


@dataclass(frozen=True)
class Definition:
    """A function, class or constant at the top level of a module."""

    module: str
    name: str
    text: str
    """Whole lines, with decorators, the comment above, and the docstring below a constant."""

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def is_block(self) -> bool:
        """A function or class; a constant otherwise."""
        return not isinstance(self._tree.body[0], ast.Assign | ast.AnnAssign)

    @cached_property
    def names(self) -> frozenset[str]:
        """Names that it takes from its module or from Python's builtins."""
        table = symtable.symtable(self.text, self.name, "exec")
        return frozenset({*_global_names(table, top=True), *self._names_quoted_inside()})

    @cached_property
    def quoted(self) -> tuple[QuotedAnnotation, ...]:
        """Annotations that are a string as a whole."""
        return tuple(
            QuotedAnnotation(node.value, node.lineno - 1, node.col_offset, node.end_col_offset or 0)
            for node in annotations_in(self._tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )

    @property
    def inner_imports(self) -> Iterator[Import]:
        """Imports inside functions."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from imports_of(node, self.module)

    def _names_quoted_inside(self) -> Iterator[str]:
        """Names in strings within an annotation, as in ``list["Layer"]``."""
        for annotation in annotations_in(self._tree):
            if isinstance(annotation, ast.Constant):
                continue
            for node in strings_in(annotation):
                yield from names_in(ast.parse(node, mode="eval"))


@dataclass(frozen=True)
class ModuleSource:
    """A module's docstring, definitions in their order, and imports by the name they bind."""

    name: str
    docstring: str | None
    definitions: dict[str, Definition]
    imports: dict[str, Import]


def read_module(name: str) -> ModuleSource:
    """Parse a module without running it.

    Raises ExportRefused where there is no such module or no Python source for it.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ExportRefused(f"export: there is no source for module {name}")
    return parse_module(name, Path(spec.origin).read_text(encoding="utf-8"))


def parse_module(name: str, text: str) -> ModuleSource:
    """Split a module's text into its definitions and imports."""
    tree, lines = ast.parse(text), text.splitlines()
    definitions: dict[str, Definition] = {}
    imports: dict[str, Import] = {}
    for position, node in enumerate(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= {item.bound: item for item in imports_of(node, name)}
        elif (defined := _name_defined(node)) is not None:
            following = tree.body[position + 1 : position + 2]
            snippet = _text(node, following, lines)
            definitions[defined] = Definition(name, defined, snippet)
    return ModuleSource(name, ast.get_docstring(tree), definitions, imports)


def imports_of(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[Import]:
    """The names that one statement binds; relative imports are resolved against `module`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, alias.asname)
        return
    source = node.module or ""
    if node.level:
        package = module.rpartition(".")[0]
        source = importlib.util.resolve_name("." * node.level + source, package)
    for alias in node.names:
        renamed = None if alias.asname == alias.name else alias.asname
        yield Import(source, alias.name, renamed)


def union_members(node: ast.expr) -> list[ast.expr]:
    """``A | B | C`` as a list; anything else is a list of itself."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*union_members(node.left), *union_members(node.right)]
    return [node]


def names_in(tree: ast.AST) -> Iterator[str]:
    """All plain names of an expression."""
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def annotations_in(tree: ast.AST) -> Iterator[ast.expr]:
    """Annotations of parameters, results and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def strings_in(annotation: ast.expr) -> Iterator[str]:
    """Strings that stand for types: those of ``Literal["a"]`` are values and do not."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield annotation.value
    elif isinstance(annotation, ast.Subscript) and "Literal" in ast.unparse(annotation.value):
        return
    for child in ast.iter_child_nodes(annotation):
        if isinstance(child, ast.expr):
            yield from strings_in(child)


def _name_defined(node: ast.stmt) -> str | None:
    """The one name that a statement defines, where it is a definition."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target = node.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def _text(node: ast.stmt, following: list[ast.stmt], lines: list[str]) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    last = node.end_lineno or node.lineno
    is_constant = isinstance(node, ast.Assign | ast.AnnAssign)
    if is_constant and following and _is_docstring(following[0]):
        last = following[0].end_lineno or last
    return "\n".join(lines[first:last])


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _global_names(table: symtable.SymbolTable, *, top: bool = False) -> Iterator[str]:
    """Names that are looked up in the module: at its top level, or inside and nowhere nearer."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)
