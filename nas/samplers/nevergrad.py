"""Nevergrad's optimisers behind ask and tell.

Nevergrad has to know all axes before it starts, so it optimises over the survey of the space
(``SearchSpace.axes``). A question that the survey missed is answered uniformly and the proposal's
``fallback`` says so. An axis that a candidate does not ask is carried along unused.

Several objectives become one loss here, since Nevergrad's own conversion ignores its first 15
evaluations and depends on the objectives' units; see ``Loss``.

Optimisers keep their state to themselves, and every random number comes from one seeded generator,
so ``replay`` asks again and gets the same candidate: that is exact, and costs milliseconds. A
replayed proposal that another sampler made is told as an unasked candidate.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import nevergrad as ng
import numpy as np

from nas.pareto import Floats, as_costs
from nas.record import Proposal
from nas.samplers.uniform import generator_of
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import Answers, Axis, ForcedDraw, RandomDraw, RecordingDraw, Scalar
from nas.search_spaces.space import SearchSpace
from nas.study import Objective

OPTIMIZERS = {
    "ngopt": "NGOpt",
    "de": "DE",
    "cma": "CMA",
    "portfolio": "PortfolioDiscreteOnePlusOne",
}
"""Our names and Nevergrad's."""
_MISSING = object()
_log = logging.getLogger(__name__)


class NevergradSampler:
    """Implements ``base.Sampler``. All its samplers take several objectives."""

    def __init__(
        self,
        space: SearchSpace,
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
        self._loss = Loss([objective.direction for objective in objectives], seed=seed)
        self._axes = {name: axis for name, axis in space.axes.items() if _size(axis) != 1}
        # Nevergrad refuses to optimise over nothing; a space of one member has no axes.
        parameters = {name: _parameter(axis) for name, axis in self._axes.items()}
        parametrization = ng.p.Dict(**(parameters or {"": ng.p.Choice([0, 1])}))
        parametrization.random_state.seed(seed)
        self._optimizer = ng.optimizers.registry[OPTIMIZERS[sampler]](
            parametrization, budget=budget_trials, num_workers=workers
        )
        self._candidates: list[Any] = []
        """By number of the proposal."""

    def ask(self) -> tuple[Proposal, Architecture]:
        number = len(self._candidates)
        candidate = self._optimizer.ask()
        self._candidates.append(candidate)
        known = self._answers(candidate)
        draw = RecordingDraw(ForcedDraw(known, RandomDraw(generator_of(self.seed, number))))
        architecture = self.space.decode(draw)
        missed = sorted(n for n, given in draw.answers.items() if known.get(n, _MISSING) != given)
        fallback = None
        if missed:
            fallback = f"answered uniformly, missed by the survey of axes: {', '.join(missed)}"
        proposal = Proposal(
            number=number, answers=draw.answers, proposer=self.name, fallback=fallback
        )
        return proposal, architecture

    def tell(self, number: int, values: Sequence[float] | None, violation: float) -> None:
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

    def _answers(self, candidate: Any) -> Answers:
        known: Answers = {name: _answer(axis, None) for name, axis in self.space.axes.items()}
        for name, axis in self._axes.items():
            known[name] = _answer(axis, candidate.value[name])
        return known

    def _unasked(self, answers: Mapping[str, Scalar]) -> Any:
        value = dict(self._optimizer.parametrization.value)
        for name, axis in self._axes.items():
            if name in answers:
                value[name] = _position(axis, answers[name])
        return self._optimizer.parametrization.spawn_child(new_value=value)


class Loss:
    """One number for what was told, small is better.

    With one objective it is the objective. With several it is minus the share of the box between
    the best and the worst values seen that the front so far dominates, this candidate included;
    a dominated candidate adds how far it is behind the front. A later candidate that extends the
    front therefore always beats the earlier ones. The box is filled with fixed points rather than
    integrated, so the price is the same for seven objectives as for two.

    A failed candidate, or one that breaks a limit, is worse than the worst feasible one so far, by
    one spread of what was seen plus one for each unit of violation.
    """

    def __init__(self, directions: Sequence[Any], *, seed: int, samples: int = 4096) -> None:
        self.directions = list(directions)
        self.box = np.random.default_rng(seed).random((samples, len(self.directions)))
        self.told = np.empty((0, len(self.directions)))
        self.low, self.high = 0.0, 0.0
        """Of the losses of feasible candidates."""

    def __call__(self, values: Sequence[float] | None, violation: float) -> float:
        if values is None or violation > 0:
            spread = (self.high - self.low) or 1.0
            return self.high + spread * (1.0 + violation)
        cost = as_costs([list(values)], self.directions)
        loss = float(cost[0, 0]) if len(self.directions) == 1 else self._behind_front(cost)
        first = not len(self.told)
        self.low = loss if first else min(self.low, loss)
        self.high = loss if first else max(self.high, loss)
        self.told = np.concatenate((self.told, cost))
        return loss

    def _behind_front(self, cost: Floats) -> float:
        points = np.concatenate((self.told, cost))
        low, high = points.min(axis=0), points.max(axis=0)
        scaled = (points - low) / np.where(high > low, high - low, 1.0)
        covered = np.zeros(len(self.box), dtype=bool)
        for point in np.unique(scaled, axis=0):
            covered |= (point <= self.box).all(axis=1)
        behind = (scaled[-1] - scaled[:-1]).min(axis=1, initial=np.inf)
        return float(max(0.0, behind.max(initial=0.0)) - covered.mean())


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
