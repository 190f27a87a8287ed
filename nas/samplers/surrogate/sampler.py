"""Trains what is expected to add most to the front.

After a few that are spread over the space, each proposal looks at some hundred members: uniform
ones, children of the best, and neighbours of those that promise most. Members that break a limit in
closed form are dropped. For the others,
objectives in closed form are known exactly, and a Gaussian process says what the observations let
expect of the rest and how sure that is. The one with the largest expected gain in hypervolume,
times the chance that it holds the measured limits, is proposed.

State is what was asked and told, and hyperparameters, which go into ``Proposal.sampler_state``
whenever they are fitted. So a study is rebuilt without fitting.

m candidates, M objectives
"""

from collections.abc import Sequence
from typing import Any, Generic

import numpy as np
from threadpoolctl import ThreadpoolController

from nas.pareto import Floats, as_costs, crowding, front
from nas.record import Proposal
from nas.samplers.base import Knowledge, MemberT, Observation, Space
from nas.samplers.surrogate.hints import hint_of
from nas.samplers.surrogate.improvement import Boxes, expected_improvement, open_boxes
from nas.samplers.surrogate.ingredients import ALL, Ingredients
from nas.samplers.surrogate.model import Hint, Model
from nas.samplers.surrogate.observations import Observations, Rows
from nas.samplers.surrogate.pool import Choice, Pool
from nas.samplers.surrogate.spread import SpreadDraw
from nas.samplers.uniform import generator_of
from nas.search_spaces.axes import Answers, RecordingDraw, ReplayDraw
from nas.study import Objective

STARTUP = 5
"""Observations before the first model; until then proposals are spread over the space."""
DRAWS = 50
"""Uniform members that are drawn for one of these, at most, until one is new and within limits."""
ROUNDS = 2
"""Of looking at the neighbours of the best."""
REFINED = 5
"""Members whose neighbours are looked at."""
MARGIN = 0.1
"""By which the reference point lies beyond the worst, relative to the range."""
MOST_ON_FRONT = {1: 1, 2: 500, 3: 60, 4: 25}
"""Points that the open region is cut by; the number of boxes grows with the power M - 1."""


class SurrogateSampler(Generic[MemberT]):
    """Implements ``base.Sampler`` and ``base.LearnsBefore``."""

    name = "nas.surrogate"

    def __init__(
        self,
        space: Space[MemberT],
        *,
        objectives: Sequence[Objective],
        seed: int,
        knowledge: Knowledge[MemberT],
        ingredients: Ingredients = ALL,
    ) -> None:
        self.space, self.seed, self.ingredients = space, seed, ingredients
        self.directions = [objective.direction for objective in objectives]
        self.observations: Observations[MemberT] = Observations(self.directions)
        self._pool = Pool(space, knowledge, seed, breeds=ingredients.children)
        self._model: Model | None = None
        self._hints: list[Hint | None] = [None] * len(self.directions)
        self._threads = ThreadpoolController()

    def learn(self, known: Sequence[Observation[MemberT]]) -> None:
        """See ``base.LearnsBefore``. What was learned is a hint: see ``model.Surface``."""
        features = np.array([self._pool.describe(each.member, {}).features for each in known])
        signs = as_costs(np.ones((1, len(self.directions))), self.directions)
        costs = np.array([each.values for each in known], dtype=float) * signs
        self._hints = [hint_of(features, column) for column in costs.T]

    def ask(self) -> tuple[Proposal, MemberT]:
        number = self.observations.proposals
        known = self.observations.count
        if known < STARTUP:
            choice = self._first(number)
            state: dict[str, Any] = {"start": f"{known} of {STARTUP} observations"}
        else:
            # Matrices are small, and the other cores train: threads would wait for each other.
            with self._threads.limit(limits=1, user_api="blas"):
                choice, state = self._best(number)
        self.observations.add(choice)
        proposal = Proposal(
            number=number, answers=choice.answers, proposer=self.name, sampler_state=state
        )
        return proposal, choice.member

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        violation: float,
        rung: int | None = None,
    ) -> None:
        self.observations.tell(number, values, violation, rung)

    def replay(self, proposal: Proposal) -> None:
        draw = RecordingDraw(ReplayDraw(proposal.answers))
        choice = self._pool.describe(self.space.decode(draw), draw.answers)
        self.observations.add(choice)
        if "fitted" in proposal.sampler_state:
            self._model_for(choice.features).restore(proposal.sampler_state["fitted"])

    def skip(self, number: int) -> None:
        self.observations.skip()

    # The first ones ------------------------------------------------------------------------------

    def _first(self, number: int) -> Choice[MemberT]:
        """A member that is apart from those before it, unless hints say where to begin."""
        if self.ingredients.spread and all(hint is None for hint in self._hints):
            choice = self._pool.draw(SpreadDraw(self.seed, number, STARTUP))
            if choice.violation == 0 and choice.member.id not in self.observations.seen:
                return choice
        return self._uniform(number)

    def _uniform(self, number: int) -> Choice[MemberT]:
        """A new member within limits; where there are hints, of those that promise most by them."""
        generator, seen = generator_of(self.seed, number), self.observations.seen
        found: list[Choice[MemberT]] = []
        for _ in range(DRAWS):
            choice = self._pool.uniform(generator)
            if choice.violation == 0 and choice.member.id not in seen:
                found.append(choice)
                if all(hint is None for hint in self._hints):
                    break
        if not found:
            return choice
        hinted = [hint(_features(found)) for hint in self._hints if hint is not None]
        if hinted:
            found = [found[i] for i in _front(np.column_stack(hinted))]
        return found[number % len(found)]

    # The best of many ----------------------------------------------------------------------------

    def _best(self, number: int) -> tuple[Choice[MemberT], dict[str, Any]]:
        rows, state = self.observations.rows(), {}
        model = self._model_for(rows.features[0])
        verdicts = self.observations.verdicts()
        count = self.observations.count
        if model.is_stale(count):
            model.fit(rows, verdicts, count)
            state["fitted"] = model.state()
        pending = self.observations.pending
        model.condition(rows, verdicts, _features(pending))
        gain = _Gain(model, rows, pending, self._pool.common, self.directions)
        choice, best = self._search(number, rows, gain)
        return choice, {**state, "gain": best, "expected": gain.expected(choice)}

    def _search(
        self, number: int, rows: Rows, gain: "_Gain[MemberT]"
    ) -> tuple[Choice[MemberT], float]:
        """The new member with the largest expected gain, and the gain."""
        generator = generator_of(self.seed, number, self.name)
        parents: list[Answers] = [rows.answers[i] for i in gain.parents]  # type: ignore[misc]
        others: list[Answers] = rows.answers  # type: ignore[assignment]
        tried = self.observations.seen
        ranked: list[tuple[float, Choice[MemberT]]] = []
        found = [*self._pool.common, *self._pool.around(parents, others, generator)]
        for _ in range(1 + (ROUNDS if self.ingredients.neighbours else 0)):
            fresh = _fresh(found, tried)
            if fresh:
                gains = gain(fresh).tolist()
                ranked = sorted([*ranked, *zip(gains, fresh, strict=True)], key=_by_gain)
            best = [choice.answers for _, choice in ranked[:REFINED]]
            found = list(self._pool.neighbours(best, generator))
        if not ranked:  # everything near was proposed before; the driver counts what is not new
            return self._uniform(number), 0.0
        return ranked[0][1], ranked[0][0]

    def _model_for(self, features: Floats) -> Model:
        if self._model is None:
            self._model = Model(len(features), self._hints, self.ingredients, seed=self.seed)
        return self._model


class _Gain(Generic[MemberT]):
    """Expected gain in hypervolume, in shares of the box from the best to the worst known."""

    def __init__(
        self,
        model: Model,
        rows: Rows,
        pending: Sequence[Choice[MemberT]],
        common: Sequence[Choice[MemberT]],
        directions: Sequence[Any],
    ) -> None:
        self.model, self.directions = model, directions
        self.low = rows.costs.min(axis=0)
        width = rows.costs.max(axis=0) - self.low
        self.width = np.where(width > 0, width, 1.0)
        good = np.flatnonzero(rows.feasible)
        costs = self._scaled(rows.costs[good])
        best = _front(costs)
        self.parents: list[int] = good[best].tolist() or list(range(len(rows.costs)))
        """Indices of rows."""
        if pending:
            costs = np.concatenate([costs, self._scaled(self._medians(pending))])
        self.boxes = self._open(costs, common)

    def __call__(self, choices: Sequence[Choice[MemberT]]) -> Floats:
        """[m]"""
        scaled = [
            (values - low) / width
            for values, low, width in zip(self._samples(choices), self.low, self.width, strict=True)
        ]
        gains = expected_improvement(scaled, self.boxes)
        return np.asarray(gains * self.model.feasible(_features(choices)))

    def expected(self, choice: Choice[MemberT]) -> list[list[float]]:
        """Mean and standard deviation of each objective [M], in its own direction."""
        signs = as_costs(np.ones((1, len(self.directions))), self.directions)[0]
        pairs = zip(signs, self._samples([choice]), strict=True)
        return [[float(sign * values.mean()), float(values.std())] for sign, values in pairs]

    def _samples(self, choices: Sequence[Choice[MemberT]]) -> list[Floats]:
        return self.model.samples(_features(choices), self._known(choices))

    def _medians(self, choices: Sequence[Choice[MemberT]]) -> Floats:
        return self.model.medians(_features(choices), self._known(choices))

    def _known(self, choices: Sequence[Choice[MemberT]]) -> Floats:
        """[m, M] costs."""
        known = np.array([choice.known for choice in choices])
        return np.asarray(known * as_costs(np.ones((1, len(self.directions))), self.directions))

    def _open(self, costs: Floats, common: Sequence[Choice[MemberT]]) -> Boxes:
        """What the front leaves open below a reference point beyond the worst that is known or
        expected anywhere: where dear members are good, that is where the front goes on."""
        medians = self._scaled(self._medians(common))
        reference = np.maximum(1.0, medians.max(axis=0)) + MARGIN
        kept = _front(costs)
        most = MOST_ON_FRONT.get(costs.shape[1], 12)
        if len(kept) > most:
            kept = kept[np.argsort(-crowding(costs[kept]), kind="stable")[:most]]
        return open_boxes(costs[kept], reference)

    def _scaled(self, costs: Floats) -> Floats:
        return np.asarray((costs - self.low) / self.width)


def _front(costs: Floats) -> Any:
    """Indices [K]."""
    return np.flatnonzero(front(costs, ["minimize"] * costs.shape[1]))


def _features(choices: Sequence[Choice[Any]]) -> Floats:
    """[m, F]"""
    return np.array([choice.features for choice in choices])


def _fresh(found: Sequence[Choice[MemberT]], tried: set[str]) -> list[Choice[MemberT]]:
    """Members within the limits that were not tried, each once; from now on they are."""
    fresh = []
    for choice in found:
        if choice.member.id not in tried:
            tried.add(choice.member.id)
            if choice.violation == 0:
                fresh.append(choice)
    return fresh


def _by_gain(pair: tuple[float, Choice[Any]]) -> float:
    return -pair[0]
