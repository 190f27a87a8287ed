"""A table from a file, and what a user writes to say which columns are what."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from nas.bench.table import Table
from nas.errors import BadInput
from nas.evaluators.base import Direction
from nas.evaluators.tasks.text.tables import Column, read_rows
from nas.search_spaces.axes import Scalar
from nas.study import Objective

DIRECTIONS: dict[str, Direction] = {
    "min": "minimize",
    "max": "maximize",
    "minimize": "minimize",
    "maximize": "maximize",
}
SPLIT = "[]"
"""After the name of a text column: each character is an axis of its own."""


def names(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """``acc:max,flops:min``; without a direction, small is better. Raises BadInput."""
    found = []
    for item in names(text):
        metric, _, said = item.rpartition(":") if ":" in item else (item, "", "min")
        if said not in DIRECTIONS or not metric:
            raise BadInput.at("objectives", "no such direction", given=item, accepted=_ACCEPTED)
        found.append(Objective(metric=metric, direction=DIRECTIONS[said]))
    if not found or len({objective.metric for objective in found}) < len(found):
        raise BadInput.at(
            "objectives", "each column once, one at least", given=text, accepted=_ACCEPTED
        )
    return tuple(found)


def parse_checkpoints(text: str) -> tuple[int, ...]:
    """``50,100,400``. Raises BadInput."""
    found = tuple(int(item) if item.isdecimal() else 0 for item in names(text))
    if not all(found):
        raise BadInput.at(
            "at",
            "no number of evaluations",
            given=text,
            accepted="whole numbers from 1, separated by commas",
        )
    return found


_ACCEPTED = "COLUMN:min or COLUMN:max, separated by commas"


def read_table(path: Path, axes: Sequence[str], objectives: Sequence[Objective]) -> Table:
    """A table in Parquet, CSV or JSON lines. An axis ``arch[]`` splits a text column of one length
    into an axis for each character: ``arch0``, ``arch1``, ...

    Raises BadInput for a file, column or value that cannot be used.
    """
    if not axes:
        raise BadInput.at(
            "axes", "none is named", given="", accepted="names of columns, separated by commas"
        )
    sources = [Column(axis.removesuffix(SPLIT), "axes") for axis in axes]
    wanted = [*sources, *(Column(o.metric, "objectives") for o in objectives)]
    if len({column.name for column in wanted}) < len(wanted):
        raise BadInput.at(
            "axes",
            "a column is named twice",
            given=[column.name for column in wanted],
            accepted="each column once, as an axis or as an objective",
        )
    cells = _cells(path, wanted)
    written = path.name.lower().removesuffix(".gz").endswith(".csv")
    columns: dict[str, Sequence[Scalar]] = {}
    for axis, source in zip(axes, sources, strict=True):
        given = cells[source.name]
        if axis.endswith(SPLIT):
            columns |= _split(source.name, given)
        else:
            columns[axis] = _answers(axis, _typed(given) if written else given)
    values = [_numbers(objective.metric, cells[objective.metric]) for objective in objectives]
    return Table(path.name, columns, objectives, np.array(values).T)


def _cells(path: Path, wanted: Sequence[Column]) -> dict[str, list[Any]]:
    """The columns. An error about the file names the table, not the field of a task."""
    try:
        rows = [row for _, row in read_rows(path, wanted)]
    except BadInput as error:
        (problem,) = error.problems
        if problem.path in ("axes", "objectives"):
            raise
        raise BadInput.at(
            "table", problem.message, given=problem.given, accepted=problem.accepted
        ) from None
    if not rows:
        raise BadInput.at(
            "table",
            f"{path} has no rows",
            given=str(path),
            accepted="a table with two rows or more",
        )
    columns = zip(*rows, strict=True)
    return {column.name: list(cells) for column, cells in zip(wanted, columns, strict=True)}


def _split(name: str, cells: Sequence[Any]) -> dict[str, Sequence[Scalar]]:
    lengths = {len(cell) if isinstance(cell, str) else None for cell in cells}
    if len(lengths) > 1 or not lengths - {None, 0}:
        raise BadInput.at(
            "axes",
            "only a column with text of the same length in every row can be split",
            given=f"{name}{SPLIT}",
            accepted=f"{name} unsplit, or another column",
        )
    return {
        f"{name}{place}": tuple(letters) for place, letters in enumerate(zip(*cells, strict=True))
    }


def _typed(cells: Sequence[Any]) -> list[Any]:
    """CSV has text only: a column is of the narrowest type that all of its cells spell."""
    kinds: tuple[Callable[[str], Any], ...] = (_integer, _fraction, _flag)
    for kind in kinds:
        try:
            return [None if cell == "" else kind(cell) for cell in cells]
        except ValueError:
            continue
    return [cell or None for cell in cells]


def _integer(cell: str) -> int:
    return int(_written(cell))


def _fraction(cell: str) -> float:
    return float(_written(cell))


def _written(cell: str) -> str:
    """A number as it is usually written; ``007`` and ``1_000`` are names."""
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?", cell) is None:
        raise ValueError(cell)
    return cell


def _flag(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError(cell)
    return cell.lower() == "true"


def _answers(axis: str, cells: Sequence[Any]) -> list[Scalar]:
    """Answers of one axis. Whole numbers among fractions are fractions."""
    plain = [float(cell) if isinstance(cell, Decimal) else cell for cell in cells]
    for row, cell in enumerate(plain, start=1):
        good = cell is None or isinstance(cell, bool | int | float | str)
        if not good or cell != cell:
            raise BadInput.at(
                "axes",
                f"row {row} holds a value that cannot be an answer ({type(cell).__name__})",
                given=axis,
                accepted="a column of text, numbers or true and false",
            )
    if any(isinstance(cell, float) for cell in plain):
        return [float(cell) if type(cell) is int else cell for cell in plain]
    return plain


def _numbers(metric: str, cells: Sequence[Any]) -> list[float]:
    found = []
    for row, cell in enumerate(cells, start=1):
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise BadInput.at(
                "objectives",
                f"row {row} holds {cell!r}, and a finite number is needed",
                given=metric,
                accepted="a column with a number in every row",
            )
        found.append(value)
    return found
