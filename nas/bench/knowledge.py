"""What is known of a row before it is evaluated: its answers, and the objectives that are cheap."""

from collections.abc import Collection

import numpy as np

from nas.bench.table import Row, Table
from nas.pareto import Floats
from nas.search_spaces.axes import Scalar

FEW = 8
"""Numbers of an axis that are also told apart as names: an effect of few need not be monotone."""


class TableKnowledge:
    """Implements ``samplers.base.Knowledge``.

    Features [F], axis after axis: of numbers the rank among the axis's values, scaled to 0..1,
    with a 1 beside it where the question was asked if some rows leave it out, and a one-hot code
    where they are few; of two values of any other kind 0 or 1; of more a one-hot code. Where
    several axes offer the same answers, as the layers of a network do, how often each answer was
    given follows, over the root of their number: much depends on what is there, before it matters
    where.
    """

    def __init__(self, table: Table, cheap: Collection[str] = ()) -> None:
        """`cheap` names the objectives that are known before an evaluation."""
        codings = [_coding(options) for options in table.columns.values()]
        columns = zip(codings, table.codes.T, strict=True)
        single = [coding[codes] for coding, codes in columns]
        self._features = np.concatenate([*single, *_counts(table)], axis=1)
        known = np.array([objective.metric in cheap for objective in table.objectives])
        self._values = np.where(known, table.values, np.nan)

    def features(self, member: Row) -> Floats:
        """[F] in 0..1."""
        return self._features[member.index]

    def values(self, member: Row) -> Floats:
        """[M]: the cheap objectives in their own units, NaN for the others."""
        return self._values[member.index]

    def violation(self, member: Row) -> float:
        """A table has no limits."""
        return 0.0


def _counts(table: Table) -> list[Floats]:
    """[N, answers] for each group of axes with the same answers."""
    groups: dict[tuple[Scalar, ...], list[int]] = {}
    for place, options in enumerate(table.columns.values()):
        groups.setdefault(options, []).append(place)
    found = []
    for options, places in groups.items():
        if len(places) > 1:
            given = table.codes[:, places, None] == np.arange(len(options))
            found.append(given.sum(axis=1) / np.sqrt(len(places)))
    return found


def _coding(options: tuple[Scalar, ...]) -> Floats:
    """[values of an axis, features]"""
    numbers = [o for o in options if isinstance(o, int | float) and not isinstance(o, bool)]
    if len(numbers) < sum(option is not None for option in options):
        size = len(options)
        return np.eye(size) if size > 2 else np.arange(float(size))[:, None]
    few = 2 < len(numbers) <= FEW
    rank = np.linspace(0.0, 1.0, max(2, len(numbers)))[: len(numbers), None]
    if len(numbers) == len(options):
        return np.concatenate([rank, np.eye(len(numbers))], axis=1) if few else rank
    asked = np.concatenate([rank, np.ones_like(rank)], axis=1)
    return np.concatenate([np.zeros((1, 2)), asked])  # the question that is not asked comes first
