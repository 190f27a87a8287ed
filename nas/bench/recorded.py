"""A finished study as a table: its complete trials are the rows, its answers the axes."""

from collections.abc import Sequence

from nas.bench.table import Table
from nas.errors import BadInput
from nas.record import TrialRecord
from nas.search_spaces.axes import Scalar
from nas.store.base import TrialQuery
from nas.study import Objective
from nas.verbs import Verbs

PAGE = 500
"""Trials fetched at once."""
FEWEST = 10
"""Trials below which samplers cannot be told apart by anything."""


def recorded(
    verbs: Verbs, name: str, objectives: Sequence[Objective] = (), axes: Sequence[str] = ()
) -> tuple[Table, tuple[str, ...]]:
    """The table of a study, and those objectives that needed no evaluation there.

    None named, the objectives are the study's own, and the axes are all questions that trials
    answered differently: the one with the fewest answers first, so that as much as possible is
    asked in the same words everywhere. A question that a trial was not asked has the answer None.
    Raises BadInput where the study has too few trials with all objectives.
    """
    goals = tuple(objectives) or verbs.study(name).objectives
    found = [(trial, _values(trial, goals)) for trial in _complete(verbs, name)]
    trials = [trial for trial, values in found if values]
    if len(trials) < FEWEST:
        raise BadInput.at(
            "study",
            f"{len(trials)} complete trials have {', '.join(o.metric for o in goals)}",
            given=name,
            accepted=f"a study with {FEWEST} or more",
        )
    columns = _columns(trials)
    for axis in axes:
        if axis not in columns:
            raise BadInput.at(
                "axes",
                "no trial was asked this",
                given=axis,
                accepted=", ".join(sorted(columns)),
            )
    chosen = {axis: columns[axis] for axis in axes or _by_size(columns)}
    table = Table(name, chosen, goals, [values for _, values in found if values])
    return table, tuple(goal.metric for goal in goals if _is_static(trials[0], goal.metric))


def _complete(verbs: Verbs, name: str) -> list[TrialRecord]:
    found: list[TrialRecord] = []
    while True:
        query = TrialQuery(states=("complete",), offset=len(found), count=PAGE)
        page = verbs.trials(name, query)
        found += page.trials
        if not page.trials or len(found) >= page.total:
            return found


def _values(trial: TrialRecord, goals: Sequence[Objective]) -> list[float]:
    """All objectives, or nothing where one of them is missing."""
    found = [trial.value(goal.metric) for goal in goals]
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _is_static(trial: TrialRecord, metric: str) -> bool:
    return any(m.metric == metric and m.stage == "static" for m in trial.measurements)


def _columns(trials: Sequence[TrialRecord]) -> dict[str, list[Scalar]]:
    """Each question's answers; whole numbers among fractions are fractions."""
    names = dict.fromkeys(name for trial in trials for name in trial.answers)
    columns: dict[str, list[Scalar]] = {}
    for name in names:
        given = [trial.answers.get(name) for trial in trials]
        fractions = any(isinstance(answer, float) for answer in given)
        columns[name] = [float(a) if fractions and type(a) is int else a for a in given]
    return columns


def _by_size(columns: dict[str, list[Scalar]]) -> list[str]:
    """Questions with more than one answer, the fewest answers first."""
    sizes = {axis: len({(type(a), a) for a in given}) for axis, given in columns.items()}
    return sorted((axis for axis, size in sizes.items() if size > 1), key=lambda axis: sizes[axis])
