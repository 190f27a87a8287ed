"""Ax run on a table through its client, where it is installed."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nas.bench.running import NeverSkips
from nas.bench.table import Row, Table
from nas.record import Proposal
from nas.search_spaces.axes import Axis, RecordingDraw, ReplayDraw, Scalar

AX = "peer:ax"


class AxPeer(NeverSkips):
    """One client with its own generation strategy, asked for one trial at a time.

    Questions are choices of positions, ordered where the answers are numbers; questions and
    objectives have names of their own, since Ax reads names as formulas.
    """

    def __init__(self, name: str, table: Table, seed: int) -> None:
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig

        _quieten()
        self.name = name
        self.table = table
        self._questions = {f"q{place}": axis for place, axis in enumerate(table.axes.values())}
        self._client: Any = Client(random_seed=seed)
        parameters = []
        for short, axis in self._questions.items():
            ordered = _is_ordered(axis)
            values = [_value(axis, option) for option in axis.options or ()]
            kind = "int" if ordered else "str"
            parameters.append(ChoiceParameterConfig(short, values, kind, is_ordered=ordered))
        self._client.configure_experiment(parameters=parameters)
        signs = ["" if goal.direction == "maximize" else "-" for goal in table.objectives]
        goals = ", ".join(f"{sign}m{place}" for place, sign in enumerate(signs))
        self._client.configure_optimization(objective=goals)
        self._trials: list[int] = []
        """Ax's number of each proposal."""

    def ask(self) -> tuple[Proposal, Row]:
        """See ``Sampler``."""
        ((trial, parameters),) = self._client.get_next_trials(max_trials=1).items()
        self._trials.append(trial)
        draw = RecordingDraw(ReplayDraw(self._answers(parameters)))
        row = self.table.decode(draw)
        number = len(self._trials) - 1
        return Proposal(number=number, answers=draw.answers, proposer=self.name), row

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        """See ``Sampler``."""
        assert values is not None  # every row has values
        found = {f"m{place}": value for place, value in enumerate(values)}
        self._client.complete_trial(trial_index=self._trials[number], raw_data=found)

    def replay(self, proposal: Proposal) -> None:
        """See ``Sampler``. A question that the row is not asked gets its first answer."""
        parameters = {
            short: _value(axis, proposal.answers.get(axis.name, (axis.options or (None,))[0]))
            for short, axis in self._questions.items()
        }
        self._trials.append(self._client.attach_trial(parameters))

    def _answers(self, parameters: Mapping[str, Any]) -> dict[str, Scalar]:
        return {
            axis.name: (axis.options or ())[int(parameters[short])]
            for short, axis in self._questions.items()
        }


def _quieten() -> None:
    """Ax notes every trial on stderr, by loggers that have levels of their own; only errors are
    wanted."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "ax":
            logging.getLogger(name).setLevel(logging.ERROR)


def _is_ordered(axis: Axis) -> bool:
    return all(isinstance(o, int | float) and not isinstance(o, bool) for o in axis.options or ())


def _value(axis: Axis, answer: Scalar) -> int | str:
    """An answer's position: a number where the answers are ordered, else a word."""
    place = (axis.options or ()).index(answer)
    return place if _is_ordered(axis) else str(place)
