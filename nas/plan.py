"""A plan says how a model is built: a tree of calls on literals, with no objects in it.

``execute(plan)`` imports and calls, which is how the search builds a model; the exporter prints the
same tree as Python. A target is written ``package.module:Name``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias, Union

Literal: TypeAlias = int | float | bool | str | None
Node: TypeAlias = Union[Literal, "Call", tuple["Node", ...]]


@dataclass(frozen=True)
class Call:
    """One constructor call: ``Call("nas.search_spaces.norms.rms.module:RMSNorm", {"dim": 64})``."""

    target: str
    arguments: Mapping[str, Node] = field(default_factory=dict)


def execute(node: Node) -> Any:
    """Build what the plan describes. Tuples stay tuples."""
    if isinstance(node, Call):
        module, name = node.target.split(":")
        function = getattr(import_module(module), name)
        return function(**{key: execute(value) for key, value in node.arguments.items()})
    if isinstance(node, tuple):
        return tuple(execute(item) for item in node)
    return node
