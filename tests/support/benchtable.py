"""A small grid with a front that can be told by hand, as a table and as files."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.bench.table import Table
from nas.study import Objective

GOALS = (
    Objective(metric="score", direction="maximize"),
    Objective(metric="cost", direction="minimize"),
)
HEADER = ("width", "kind", "score", "cost")
GRID = [
    (width, kind, width * bonus, float(width + extra))
    for width in (8, 1, 2, 4)
    for kind, bonus, extra in (("plain", 1.0, 0.0), ("gated", 1.5, 1.0), ("slow", 0.5, 4.0))
]
"""Cost and score rise with the width; `slow` never pays."""


def table(rows: Iterable[Sequence[Any]] = GRID) -> Table:
    """Width and kind are chosen, score and cost are wanted."""
    width, kind, score, cost = zip(*rows, strict=True)
    values = list(zip(score, cost, strict=True))
    return Table("grid", {"width": width, "kind": kind}, GOALS, values)


def write_csv(path: Path, rows: Iterable[Sequence[Any]] = GRID, header: Any = HEADER) -> Path:
    """The rows as a file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def wide(side: int = 6) -> Table:
    """`side` to the power 3 rows with a smooth trade-off."""
    places = [(a, b, c) for a in range(side) for b in range(side) for c in range(side)]
    columns = dict(zip("abc", zip(*places, strict=True), strict=True))
    values = [((a - 2) ** 2 + b + 0.1 * c, c + (side - b) ** 2 + 0.1 * a) for a, b, c in places]
    goals = (Objective(metric="first"), Objective(metric="second"))
    return Table("wide", columns, goals, values)
