"""Optuna's samplers behind ask and tell.

How a study is rebuilt exactly. A sampler object of Optuna is used for one ``ask`` only, seeded from
the study's seed and the number of the proposal, so all state lives in the (in-memory) Optuna study.
That state is what was asked and told, in order, and ``replay`` restores it:

- ``tpe`` and ``gp`` keep nothing but attributes of each trial. Those go into
  ``Proposal.sampler_state`` and come back with the trial, so that no model is fitted on replay.
- ``nsga2`` and ``qmc`` keep generations and a position in the study. They are cheap, so a replayed
  trial takes the same steps again, with its answers fixed; answers that the candidate does not use
  go into ``Proposal.sampler_state``.

What is told. A trial that breaks a limit without having objective values gets, for each objective,
the worst value told so far (0 before there is one): by constrained domination it ranks below all
feasible ones anyway. A failed trial has no place in the models and is left out, as Optuna does.
A trial that was stopped at a rung is told with its values there, shifted (``rungs.RungShift``).
When it is told again, that is a further trial with the same answers; ``nsga2`` keeps the first
alone, since a second one would count twice in its generation.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic
from zlib import crc32

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.record import Proposal
from nas.samplers.base import MemberT, Space
from nas.samplers.rungs import RungShift
from nas.search_spaces.axes import Axis, RecordingDraw, ReplayDraw, Scalar
from nas.study import Objective

FITS_A_MODEL = ("tpe", "gp")
"""Samplers whose ``ask`` is dear and whose state is in the trials alone."""
ANSWERS_EVERYTHING = ("nsga2", "qmc")
"""Samplers that only inherit, or spread out, what all trials have in common. They answer every axis
of the space's survey, also those that the candidate at hand does not ask, as recessive genes: else
an axis that depends on another would always be drawn at random."""


class OptunaSampler(Generic[MemberT]):
    """Implements ``base.Sampler``. All its samplers take several objectives."""

    def __init__(
        self,
        space: Space[MemberT],
        *,
        sampler: str,
        objectives: Sequence[Objective],
        seed: int,
        budget_trials: int,
        constrained: bool,
    ) -> None:
        self.name = f"optuna.{sampler}"
        self.space = space
        self.sampler = sampler
        self.seed = seed
        self.budget_trials = budget_trials
        self.constrained = constrained
        """Whether limits can be broken; a model of violations costs as much as an objective's."""
        self._trials: dict[int, optuna.Trial] = {}
        """By number of the proposal; Optuna numbers what is told again as well."""
        self._told: set[int] = set()
        self._shift = RungShift()
        self._worst = _Worst([objective.direction for objective in objectives])
        with _quiet():
            self._study = optuna.create_study(directions=[o.direction for o in objectives])
        if sampler == "qmc":
            self._sequence = _low_discrepancy(seed)

    def ask(self) -> tuple[Proposal, MemberT]:
        with _quiet():
            draw, member = self._new_trial()
        number = len(self._trials) - 1
        proposal = Proposal(
            number=number,
            answers=draw.answers,
            proposer=self.name,
            sampler_state=self._state(self._trials[number], draw),
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
        with _quiet():
            if number not in self._told:
                self._tell(self._trials[number], values, violation)
            elif self.sampler != "nsga2" and (values is not None or violation > 0):
                self._tell(self._once_more(self._trials[number]), values, violation)
        self._told.add(number)

    def _tell(self, trial: optuna.Trial, values: Sequence[float] | None, violation: float) -> None:
        if values is None and violation == 0:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if self.constrained:
            trial.set_constraint("limits", violation)
        self._study.tell(trial, self._worst.fill(values))

    def _once_more(self, trial: optuna.Trial) -> optuna.Trial:
        """A further trial with the answers of another one."""
        return self._added(
            create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
            )
        )

    def _added(self, frozen: FrozenTrial) -> optuna.Trial:
        """A trial of the study that was not asked for."""
        self._study.add_trial(frozen)
        added = self._study.get_trials(deepcopy=False)[-1]
        return optuna.Trial(self._study, added._trial_id)

    def replay(self, proposal: Proposal) -> None:
        draw = RecordingDraw(ReplayDraw(proposal.answers))
        self.space.decode(draw)
        with _quiet():
            if self.sampler in FITS_A_MODEL:
                self._add_trial(draw, proposal)
            else:
                unused = proposal.sampler_state.get("unused", {})
                self._study.enqueue_trial({**unused, **draw.answers})
                self._new_trial()

    def skip(self, number: int) -> None:
        with _quiet():  # a failed trial without answers: no model reads it
            self._trials[number] = self._added(create_trial(state=TrialState.FAIL))

    def _new_trial(self) -> tuple[RecordingDraw, MemberT]:
        self._study.sampler = self._fresh(len(self._trials))
        trial = self._study.ask()
        _ = trial.relative_params  # now, not at the first question: a replay fixes all answers
        suggest = _TrialDraw(trial)
        draw = RecordingDraw(suggest)
        member = self.space.decode(draw)
        if self.sampler in ANSWERS_EVERYTHING:
            for axis in self.space.axes.values():
                suggest.answer(axis)
        self._trials[len(self._trials)] = trial
        return draw, member

    def _add_trial(self, draw: RecordingDraw, proposal: Proposal) -> None:
        self._study.sampler = self._fresh(proposal.number)
        self._trials[proposal.number] = self._added(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(draw.answers),
                distributions={name: _distribution(axis) for name, axis in draw.axes.items()},
                system_attrs=dict(proposal.sampler_state.get("attributes", {})),
            )
        )

    def _state(self, trial: optuna.Trial, draw: RecordingDraw) -> dict[str, Any]:
        if self.sampler in FITS_A_MODEL:
            return {"attributes": dict(self._study.get_trials(deepcopy=False)[-1].system_attrs)}
        unused = {name: a for name, a in trial.params.items() if name not in draw.answers}
        return {"unused": unused} if unused else {}

    def _fresh(self, number: int) -> BaseSampler:
        seed = _seed_of(self.seed, number)
        startup = max(4, min(10, self.budget_trials // 3))
        if self.sampler == "tpe":
            return TPESampler(
                seed=seed, multivariate=True, constant_liar=True, n_startup_trials=startup
            )
        if self.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        if self.sampler == "qmc":
            return self._sequence
        if self.sampler == "random":
            return RandomSampler(seed=seed)
        return NSGAIISampler(
            seed=seed,
            # Several generations have to fit into the budget; 50 is Optuna's own default.
            population_size=max(6, min(50, self.budget_trials // 6)),
            # Two answers of a child in the mean; with Optuna's one, small spaces repeat themselves.
            mutation_prob=min(0.5, 2 / max(1, len(self.space.axes))),
        )


def _seed_of(*parts: int) -> int:
    """A seed of 32 bits from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class _Stateless(BaseSampler):
    """Uniform answers that follow from seed, number of the trial and axis alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seed = _seed_of(self.seed, trial.number, crc32(param_name.encode()))
        return RandomSampler(seed=seed).sample_independent(
            study, trial, param_name, param_distribution
        )


def _low_discrepancy(seed: int) -> QMCSampler:
    """One scrambled Sobol sequence for the whole study; its position is kept in the study."""
    with warnings.catch_warnings():  # that the class is experimental is our concern, not the user's
        warnings.simplefilter("ignore", ExperimentalWarning)
        return QMCSampler(
            scramble=True,
            seed=seed,
            independent_sampler=_Stateless(seed),
            warn_independent_sampling=False,
        )


class _TrialDraw:
    """Questions of a space as Optuna's ``suggest``; asked again, it answers the same."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def choice(self, axis: str, options: tuple[Scalar, ...]) -> Scalar:
        return self.trial.suggest_categorical(axis, options)

    def integer(self, axis: str, low: int, high: int, step: int, log: bool) -> int:
        return self.trial.suggest_int(axis, low, _last(low, high, step), step=step, log=log)

    def real(self, axis: str, low: float, high: float, log: bool) -> float:
        return self.trial.suggest_float(axis, low, high, log=log)

    def answer(self, axis: Axis) -> Scalar:
        """Any question."""
        if axis.options is not None:
            return self.choice(axis.name, axis.options)
        if axis.step is None:
            return self.real(axis.name, axis.low, axis.high, axis.log)
        return self.integer(axis.name, int(axis.low), int(axis.high), axis.step, axis.log)


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.options is not None:
        return CategoricalDistribution(axis.options)
    if axis.step is None:
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    low, high = int(axis.low), int(axis.high)
    return IntDistribution(low, _last(low, high, axis.step), log=axis.log, step=axis.step)


def _last(low: int, high: int, step: int) -> int:
    """The last member of a range; Optuna warns where the range does not end on a step."""
    return high - (high - low) % step


class _Worst:
    """The worst value told so far for each objective."""

    def __init__(self, directions: Sequence[str]) -> None:
        self.pick = [min if direction == "maximize" else max for direction in directions]
        self.values: list[float] | None = None

    def fill(self, values: Sequence[float] | None) -> list[float]:
        """The values themselves, or the worst ones where there are none."""
        if values is None:
            return list(self.values or [0.0] * len(self.pick))
        pairs = zip(self.pick, self.values or values, values, strict=True)
        self.values = [pick(worst, value) for pick, worst, value in pairs]
        return list(values)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's progress notes do not reach the log of the service; errors do."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
