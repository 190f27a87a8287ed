"""Reads an exported file for what a reader would trip over; runs nothing."""

import ast
import builtins
import symtable
from collections.abc import Iterable

from nas.errors import ExportRefused
from nas.export.parse import annotations_in, imports_of, names_in, strings_in

_GIVEN = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__"}
ENTRY_POINTS = frozenset({"build"})


def check_source(
    text: str, *, entry_points: Iterable[str] = ENTRY_POINTS, packages: Iterable[str] = ()
) -> None:
    """Refuse a file that imports anything but torch and the standard library, names something that
    it does not define, or defines something at its top level that nothing uses.

    `entry_points` are for those who import the file; `packages` it may import besides."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for item in imports_of(node, ""):
                if not item.allowed and item.package not in packages:
                    raise ExportRefused(f"export: the file imports {item.module}")
    top = symtable.symtable(text, "model.py", "exec")
    defined = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {name for node in tree.body for name in _used(node)}
    if unknown := used - defined - _GIVEN:
        raise ExportRefused(f"export: the file does not define {', '.join(sorted(unknown))}")
    if unused := defined - used - {*entry_points}:
        raise ExportRefused(f"export: nothing uses {', '.join(sorted(unused))}")


def _used(statement: ast.stmt) -> set[str]:
    """Names that one top-level statement takes from elsewhere."""
    table = symtable.symtable(ast.unparse(statement), "statement", "exec")
    used = _looked_up(table, top=True)
    for annotation in annotations_in(statement):
        for quoted in strings_in(annotation):
            used.update(names_in(ast.parse(quoted, mode="eval")))
    return used - {getattr(statement, "name", None)}


def _looked_up(table: symtable.SymbolTable, *, top: bool = False) -> set[str]:
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (top or symbol.is_global())
    }
    return found.union(*(_looked_up(child) for child in table.get_children()))
