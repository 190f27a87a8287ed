"""A plan as Python text: the same calls with keyword arguments, laid out as a formatter would, and
repeats folded, so that twelve equal layers read as one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nas.export.collect import spelling
from nas.plan import Call, Node

WIDTH = 100
INDENT = 4


@dataclass(frozen=True)
class Repeat:
    """Some items, several times over."""

    count: int
    items: tuple["Item", ...]


Item: TypeAlias = Repeat | Node


def render(plan: Node, *, indent: int = 0, before: str = "", after: str = "") -> str:
    """The expression that builds what the plan describes.

    `indent` is that of its first line in columns; `before` and `after` stand on its first and last
    line, for example ``return``, and are part of the result.
    """
    return "\n".join(_layout(plan, indent, before, after))


def fold(items: Sequence[Node]) -> tuple[Item, ...]:
    """Equal neighbours and repeating groups become a `Repeat`, the largest saving first."""
    keys = [repr(item) for item in items]  # 1, 1.0 and True are equal, and not the same
    best = (0, 0, 0, 0)  # items saved, start, period, count
    for start in range(len(items)):
        for period in range(1, (len(items) - start) // 2 + 1):
            if len(items) - start - period <= best[0]:
                break
            count = 1
            unit = keys[start : start + period]
            while keys[start + count * period : start + (count + 1) * period] == unit:
                count += 1
            if period * (count - 1) > best[0]:
                best = (period * (count - 1), start, period, count)
    saved, start, period, count = best
    if not saved:
        return tuple(items)
    end = start + count * period
    repeat = Repeat(count, fold(items[start : start + period]))
    return (*fold(items[:start]), repeat, *fold(items[end:]))


def _layout(item: Item, indent: int, before: str, after: str) -> list[str]:
    """On one line where that fits, else with its parts indented below it."""
    line = " " * indent + before + _flat(item) + after
    if len(line) <= WIDTH:
        return [line]
    if isinstance(item, Call) and item.arguments:
        return _call_layout(item, indent, before, after)
    if isinstance(item, Repeat):
        return _repeat_layout(item, "*(", indent, before, after)
    if isinstance(item, tuple) and item:
        return _tuple_layout(item, indent, before, after)
    return [line]  # a literal that is too long to fit anywhere


def _call_layout(call: Call, indent: int, before: str, after: str) -> list[str]:
    first, last = f"{before}{spelling(call.target)}(", f"){after}"
    inner = indent + INDENT
    together = " " * inner + _flat_arguments(call)
    if len(together) <= WIDTH:
        return [" " * indent + first, together, " " * indent + last]
    lines = [" " * indent + first]
    for name, value in call.arguments.items():
        lines += _layout(value, inner, f"{name}=", ",")
    return [*lines, " " * indent + last]


def _tuple_layout(items: tuple[Node, ...], indent: int, before: str, after: str) -> list[str]:
    folded = _folded(items)
    if len(folded) == 1 and isinstance(folded[0], Repeat):
        return _repeat_layout(folded[0], "tuple(", indent, before, after)
    lines = [" " * indent + before + "("]
    for item in folded:
        lines += _layout(item, indent + INDENT, "", ",")
    return [*lines, " " * indent + ")" + after]


def _repeat_layout(repeat: Repeat, opening: str, indent: int, before: str, after: str) -> list[str]:
    inner = indent + INDENT
    first, last = " " * indent + before + opening, " " * indent + ")" + after
    together = " " * inner + _flat_generator(repeat)
    if len(together) <= WIDTH:
        return [first, together, last]
    loop = " " * inner + f"for _ in range({repeat.count})"
    if len(repeat.items) == 1:
        return [first, *_layout(repeat.items[0], inner, "", ""), loop, last]
    lines = [first, " " * inner + "block", loop, " " * inner + "for block in ("]
    for item in repeat.items:
        lines += _layout(item, inner + INDENT, "", ",")
    return [*lines, " " * inner + ")", last]


def _flat(item: Item) -> str:
    if isinstance(item, Call):
        return f"{spelling(item.target)}({_flat_arguments(item)})"
    if isinstance(item, Repeat):
        return f"*({_flat_generator(item)})"
    if isinstance(item, tuple):
        folded = _folded(item)
        if len(folded) == 1 and isinstance(folded[0], Repeat):
            return f"tuple({_flat_generator(folded[0])})"
        return _flat_tuple(folded)
    if isinstance(item, str):
        return json.dumps(item, ensure_ascii=False)
    return repr(item).replace("e+", "e")  # 1e+16 is written 1e16


def _flat_arguments(call: Call) -> str:
    return ", ".join(f"{name}={_flat(value)}" for name, value in call.arguments.items())


def _flat_tuple(items: tuple[Item, ...]) -> str:
    parts = [_flat(item) for item in items]
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def _flat_generator(repeat: Repeat) -> str:
    loop = f"for _ in range({repeat.count})"
    if len(repeat.items) == 1:
        return f"{_flat(repeat.items[0])} {loop}"
    return f"block {loop} for block in {_flat_tuple(repeat.items)}"


def _folded(items: tuple[Node, ...]) -> tuple[Item, ...]:
    """Literals stay as they are: only calls are worth a loop."""
    return fold(items) if any(isinstance(item, Call) for item in items) else items
