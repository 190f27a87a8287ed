"""Nevergrad's optimisers behind ask and tell.

Nevergrad has to know all axes before it starts, so it optimises over the survey of the space
(``SearchSpace.axes``). A question that the survey missed is answered uniformly and the proposal's
``fallback`` says so. An axis that a candidate does not ask is carried along unused.

Several objectives become one loss here, since Nevergrad's own conversion ignores its first 15
evaluations and depends on the objectives' units; see ``Loss``.

Optimisers keep their state to themselves, and every random number comes from one seeded generator,
so ``replay`` asks again and gets the same candidate: that is exact, and costs some ten
milliseconds for each trial. A replayed proposal that another sampler made is told as an unasked
candidate.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Generic

import nevergrad as ng
import numpy as np

from nas.evaluators.base import Direction
from nas.pareto import Floats, as_costs
from nas.record import Proposal
from nas.samplers.base import MemberT, Space
from nas.samplers.rungs import RungShift
from nas.samplers.uniform import generator_of
from nas.search_spaces.axes import Answers, Axis, ForcedDraw, RandomDraw, RecordingDraw, Scalar
from nas.study import Objective

_MISSING = object()
_log = logging.getLogger(__name__)


class NevergradSampler(Generic[MemberT]):
    """Implements ``base.Sampler``. All its samplers take several objectives."""

    def __init__(
        self,
        space: Space[MemberT],
        *,
        sampler: str,
        objectives: Sequence[Objective],
        seed: int,
        budget_trials: int,
        workers: int,
    ) -> None:
        self.name = f"nevergrad.{sampler}"
        self.space = space
        self.seed = seed
        self._loss = Loss([objective.direction for objective in objectives])
        self._axes = {name: axis for name, axis in space.axes.items() if _size(axis) != 1}
        # Nevergrad refuses to optimise over nothing; a space of one member has no axes.
        parameters = {name: _parameter(axis) for name, axis in self._axes.items()}
        parametrization = ng.p.Dict(**(parameters or {"": ng.p.Choice([0, 1])}))
        parametrization.random_state.seed(seed)
        self._optimizer = _optimizer(sampler, budget_trials)(
            parametrization, budget=budget_trials, num_workers=workers
        )
        self._shift = RungShift()
        self._candidates: list[Any] = []
        """By number of the proposal."""

    def ask(self) -> tuple[Proposal, MemberT]:
        number = len(self._candidates)
        candidate = self._optimizer.ask()
        self._candidates.append(candidate)
        known = self._answers(candidate)
        draw = RecordingDraw(ForcedDraw(known, RandomDraw(generator_of(self.seed, number))))
        member = self.space.decode(draw)
        missed = sorted(n for n, given in draw.answers.items() if known.get(n, _MISSING) != given)
        fallback = None
        if missed:
            fallback = f"answered uniformly, missed by the survey of axes: {', '.join(missed)}"
        proposal = Proposal(
            number=number, answers=draw.answers, proposer=self.name, fallback=fallback
        )
        return proposal, member

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        if values is not None:
            values = self._shift(number, values, rung)
        self._optimizer.tell(self._candidates[number], self._loss(values, violation))

    def replay(self, proposal: Proposal) -> None:
        if proposal.proposer == self.name:
            again, _ = self.ask()
            if again.answers == proposal.answers:
                return
            _log.warning(
                "%s proposed trial %d otherwise when it was first asked; with another version of "
                "nevergrad the study goes on, but not as it would have without interruption",
                self.name,
                proposal.number,
            )
            self._candidates.pop()
        self._candidates.append(self._unasked(proposal.answers))

    def skip(self, number: int) -> None:
        self._candidates.append(None)

    def _answers(self, candidate: Any) -> Answers:
        known: Answers = {name: _answer(axis, None) for name, axis in self.space.axes.items()}
        value = candidate.value  # computed anew at each access
        for name, axis in self._axes.items():
            known[name] = _answer(axis, value[name])
        return known

    def _unasked(self, answers: Mapping[str, Scalar]) -> Any:
        value = dict(self._optimizer.parametrization.value)
        for name, axis in self._axes.items():
            if name in answers:
                value[name] = _position(axis, answers[name])
        return self._optimizer.parametrization.spawn_child(new_value=value)


def _optimizer(sampler: str, budget_trials: int) -> Any:
    """Nevergrad's optimiser for one of our names."""
    if sampler == "de":
        # Several generations have to fit into the budget; 30 is Nevergrad's own default.
        return ng.optimizers.DifferentialEvolution(popsize=max(6, min(30, budget_trials // 6)))
    names = {"ngopt": "NGOpt", "cma": "CMA", "portfolio": "PortfolioDiscreteOnePlusOne"}
    return ng.optimizers.registry[names[sampler]]


class Loss:
    """One number for what was told, small is better.

    With one objective it is the objective. With several it is the share of what was told before
    that dominates the candidate, less the share that the candidate dominates. It has no unit and
    needs no reference point, and it keeps its meaning as the front moves on: to beat a candidate
    that was on an early front, a later one has to leave as large a share behind.

    A candidate that failed, or that breaks a limit, is worse than the worst feasible one so far: by
    the spread of what was seen, once and again for each unit of violation.
    """

    def __init__(self, directions: Sequence[Direction]) -> None:
        self.directions = list(directions)
        self.told: list[list[float]] = []
        """Costs of feasible candidates."""
        self.low, self.high = 0.0, 0.0
        """Of the losses of feasible candidates."""

    def __call__(self, values: Sequence[float] | None, violation: float) -> float:
        if values is None or violation > 0:
            spread = (self.high - self.low) or 1.0
            return self.high + spread * (1.0 + violation)
        cost = as_costs([list(values)], self.directions)[0]
        loss = float(cost[0]) if len(cost) == 1 else self._strength(cost)
        self.low = min(self.low, loss) if self.told else loss
        self.high = max(self.high, loss) if self.told else loss
        self.told.append(cost.tolist())
        return loss

    def _strength(self, cost: Floats) -> float:
        if not self.told:
            return 0.0
        told = np.array(self.told)
        beaten_by = (told <= cost).all(axis=1) & (told < cost).any(axis=1)
        beats = (told >= cost).all(axis=1) & (told > cost).any(axis=1)
        return float(beaten_by.mean() - beats.mean())


def _size(axis: Axis) -> int | None:
    """Number of answers; None for a real axis."""
    if axis.options is not None:
        return len(axis.options)
    return None if axis.step is None else len(_members(axis))


def _members(axis: Axis) -> range:
    return range(int(axis.low), int(axis.high) + 1, axis.step or 1)


def _parameter(axis: Axis) -> Any:
    """Options and steps are optimised by their position. Choices are deterministic: Nevergrad's
    default samples again at each step, so that a child would lose what its parent had chosen."""
    if axis.options is not None:
        return ng.p.Choice(list(range(len(axis.options))), deterministic=True)
    if axis.log:
        log = ng.p.Log(lower=axis.low, upper=axis.high)
        return log if axis.step is None else log.set_integer_casting()
    if axis.step is None:
        return ng.p.Scalar(lower=axis.low, upper=axis.high)
    return ng.p.Scalar(lower=0, upper=len(_members(axis)) - 1).set_integer_casting()


def _answer(axis: Axis, position: Any) -> Scalar:
    """What a parameter's value answers; None stands for an axis with a single answer."""
    if axis.options is not None:
        return axis.options[int(position or 0)]
    if axis.step is None:
        return min(axis.high, max(axis.low, float(position)))
    members = _members(axis)
    if axis.log and position is not None:
        return min(members[-1], max(members[0], int(position)))
    return members[int(position or 0)]


def _position(axis: Axis, answer: Scalar) -> Any:
    """The parameter's value that gives an answer."""
    if axis.options is not None:
        same = (o == answer and type(o) is type(answer) for o in axis.options)
        return list(same).index(True)
    if axis.step is None or axis.log:
        return answer
    return _members(axis).index(int(answer))  # type: ignore[arg-type]
