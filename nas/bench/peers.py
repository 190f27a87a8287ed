"""Libraries run on a table as their own documentation runs them, without this service in between.

Each has its own settings, and its own way with several objectives. What is added is what the
comparison needs: a seed, and taking a uniform row for an answer (``replay``), as every arm does
when it is stuck.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nas.bench.ax_peer import AX, AxPeer
from nas.bench.running import NeverSkips, Rules
from nas.bench.table import Row, Table
from nas.record import Proposal
from nas.samplers.base import Sampler
from nas.search_spaces.axes import RecordingDraw, ReplayDraw, Scalar

if TYPE_CHECKING:
    import optuna

NEVERGRAD = {
    "de": "DE",
    "ngopt": "NGOpt",
    "cma": "CMA",
    "portfolio": "PortfolioDiscreteOnePlusOne",
    "two-points-de": "TwoPointsDE",
}
"""Our name -> Nevergrad's."""
OPTUNA = ("random", "nsga2", "tpe", "gp", "qmc")
PEERS = (
    *(f"peer:optuna.{name}" for name in OPTUNA),
    *(f"peer:nevergrad.{name}" for name in NEVERGRAD),
    AX,
)


def make_peer(name: str, table: Table, rules: Rules, seed: int) -> Sampler[Row]:
    """A fresh sampler by one of the names in PEERS."""
    if name == AX:
        return AxPeer(name, table, seed)
    library, _, sampler = name.removeprefix("peer:").partition(".")
    if library == "optuna":
        return OptunaPeer(name, sampler, table, seed)
    return NevergradPeer(name, NEVERGRAD[sampler], table, rules, seed)


class OptunaPeer(NeverSkips):
    """One study with one sampler object: NSGA-II with a population of 20, TPE multivariate, all
    else as Optuna has it."""

    def __init__(self, name: str, sampler: str, table: Table, seed: int) -> None:
        import optuna

        makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=20, seed=seed),
            "tpe": lambda: optuna.samplers.TPESampler(multivariate=True, seed=seed),
            "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            "qmc": lambda: optuna.samplers.QMCSampler(scramble=True, seed=seed),
        }
        self.name = name
        self.table = table
        directions = [objective.direction for objective in table.objectives]
        with _quiet():
            self._study = optuna.create_study(sampler=makers[sampler](), directions=directions)
        self._trials: list[optuna.Trial] = []

    def ask(self) -> tuple[Proposal, Row]:
        """See ``Sampler``."""
        with _quiet():
            trial = self._study.ask()
            draw = RecordingDraw(_Suggesting(trial))
            row = self.table.decode(draw)
        self._trials.append(trial)
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
        with _quiet():
            self._study.tell(self._trials[number], values)

    def replay(self, proposal: Proposal) -> None:
        """See ``Sampler``."""
        self._study.enqueue_trial(proposal.answers)
        self.ask()


class _Suggesting:
    """The choices of a table as Optuna's ``suggest_categorical``."""

    def __init__(self, trial: "optuna.Trial") -> None:
        self.trial = trial

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self.trial.suggest_categorical(axis, options)

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        return self.trial.suggest_int(axis, low, high, step=step, log=log)

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        return self.trial.suggest_float(axis, low, high, log=log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna notes every study on stderr; only errors are wanted."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class NevergradPeer(NeverSkips):
    """One optimiser over a dictionary of choices; several objectives are told as a list, from
    which Nevergrad makes its own loss."""

    def __init__(self, name: str, optimizer: str, table: Table, rules: Rules, seed: int) -> None:
        import nevergrad as ng

        self.name = name
        self.table = table
        self._signs = [-1.0 if o.direction == "maximize" else 1.0 for o in table.objectives]
        choices = {q: ng.p.Choice(list(range(len(_options(table, q))))) for q in table.axes}
        parametrization = ng.p.Dict(**choices)
        parametrization.random_state.seed(seed)
        self._optimizer = ng.optimizers.registry[optimizer](
            parametrization, budget=rules.evaluations, num_workers=rules.workers
        )
        if len(self._signs) > 1:
            self._optimizer.num_objectives = len(self._signs)
        self._candidates: list[Any] = []

    def ask(self) -> tuple[Proposal, Row]:
        """See ``Sampler``."""
        candidate = self._optimizer.ask()
        self._candidates.append(candidate)
        value: Mapping[str, int] = candidate.value
        given = {q: _options(self.table, q)[place] for q, place in value.items()}
        draw = RecordingDraw(ReplayDraw(given))
        row = self.table.decode(draw)
        number = len(self._candidates) - 1
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
        costs = [sign * value for sign, value in zip(self._signs, values, strict=True)]
        self._optimizer.tell(self._candidates[number], costs if len(costs) > 1 else costs[0])

    def replay(self, proposal: Proposal) -> None:
        """See ``Sampler``."""
        value = dict(self._optimizer.parametrization.value)
        for question, answer in proposal.answers.items():
            value[question] = _options(self.table, question).index(answer)
        self._candidates.append(self._optimizer.parametrization.spawn_child(new_value=value))


def _options(table: Table, question: str) -> tuple[Scalar, ...]:
    return table.axes[question].options or ()
