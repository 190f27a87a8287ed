"""What the docstrings under the fields of a model say, read when somebody asks.

Pydantic can do it (``use_attribute_docstrings``), but reads every source when the class is made,
which took a third of the time that importing the catalogue takes. No torch here.
"""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """By field, those of base classes included; a class made in memory has none of its own."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _own_docs(base)
    return {name: doc for name, doc in found.items() if name in model.model_fields}


def _own_docs(model: type[BaseModel]) -> dict[str, str]:
    definition = _definitions(model.__module__).get(model.__qualname__)
    body = definition.body if definition else []
    return {
        field.target.id: inspect.cleandoc(doc.value.value)
        for field, doc in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    }


@cache
def _definitions(module: str) -> dict[str, ast.ClassDef]:
    """Classes at the top of a module."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):  # made in memory, or typed by hand
        source = ""
    tree = ast.parse(source)
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
