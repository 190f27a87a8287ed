"""A finished study on another target: what its candidates would cost there, without training.

Run where the target is. Trained metrics stay as they are; what is exact is computed for the new
target; times are measured, or composed of measured parts where that settles the matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from nas.describe import one_line
from nas.driver.composer import STAGE as COMPOSED
from nas.driver.composer import Composer, MeasuresParts, is_composed, measured_instead
from nas.driver.limits import violations
from nas.errors import BadInput
from nas.evaluators.base import EvaluationFailed, StageResult
from nas.evaluators.pricer import ProcessPricer
from nas.evaluators.static import peak_measurement, static_measurements
from nas.fronts import front_of
from nas.pareto import front
from nas.record import Measurement, TrialRecord
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store, TrialQuery
from nas.study import StudySpec, Target
from nas.transfer import KIND
from nas.views import RepricedPoint, RepricedView


def reprice(
    spec: StudySpec,
    target: Target,
    store: Store,
    *,
    every: bool = False,
    accept_noise: bool = False,
) -> RepricedView:
    """The front of a study, or all its complete trials, on a target of this machine. Raises
    BadInput for a target that lacks what the study asks for, and for a study without a result."""
    check_target(spec, target)
    wanted = [objective.metric for objective in spec.objectives]
    pricer = ProcessPricer(target, seed=spec.seed, wanted=wanted, accept_noise=accept_noise)
    try:
        environment = pricer.environment()
        records = _chosen(spec, store, every)
        done = Repricing(spec, target, store, pricer, compose=every).run(records)
    finally:
        pricer.close()
    view = _view(spec, target, environment, done)
    store.add_event(spec.name, KIND, view.model_dump(mode="json"))
    return view


def _chosen(spec: StudySpec, store: Store, every: bool) -> list[TrialRecord]:
    numbers = set(front_of(store, spec.name, spec.objectives, spec.limits)[1])
    complete, _ = store.trials(spec.name, TrialQuery(states=("complete",)))
    if not complete:
        raise BadInput(f"study {spec.name!r} has no complete trial yet; there is nothing to price")
    return [record for record in complete if every or record.number in numbers]


@dataclass
class Repriced:
    """One trial on the new target."""

    record: TrialRecord
    architecture: Architecture
    measurements: tuple[Measurement, ...]
    on_front: bool = False
    broken: str | None = None
    """The limits that do not hold there, in words."""
    failure: str | None = None
    """Why it could not be measured."""


@dataclass(frozen=True)
class Repricing:
    """Prices trials of one study on one target."""

    spec: StudySpec
    """Of the study."""
    target: Target
    store: Store
    prices: MeasuresParts
    compose: bool
    """Whether to measure only parts where that settles the front."""

    def run(self, records: Sequence[TrialRecord]) -> list[Repriced]:
        """All of them, marked where they are on the front there. Raises BadInput where the target
        cannot give what the study's objectives ask for."""
        composer = self._composer() if self.compose else None
        priced = [self._price(record, composer) for record in records]
        while True:
            self._mark(priced)
            waiting = [each for each in priced if each.on_front and _is_composed(each)]
            if not waiting:
                return priced
            for each in waiting:
                self._measure(each)

    def _price(self, record: TrialRecord, composer: Composer | None) -> Repriced:
        architecture = self.store.architecture(record.architecture)
        trained = tuple(m for m in record.measurements if m.stage.startswith("train"))
        exact = static_measurements(architecture, self.target)
        peak = peak_measurement(architecture, self.target)
        priced = Repriced(record, architecture, (*exact, peak, *trained))
        composed = _composed(composer, architecture) if composer else None
        if composed is None:
            self._measure(priced)
        else:
            priced.measurements += composed.measurements
        return priced

    def _measure(self, priced: Repriced) -> None:
        try:
            found = self.prices.latency(priced.architecture)
        except EvaluationFailed as failed:
            priced.failure = failed.message
        else:
            priced.measurements = measured_instead(priced.measurements, found.measurements)

    def _mark(self, priced: Sequence[Repriced]) -> None:
        metrics = [objective.metric for objective in self.spec.objectives]
        usable, rows = [], []
        for each in priced:
            each.on_front = False
            broken = violations(self.spec.limits, each.measurements)
            each.broken = "; ".join(map(str, broken)) or None
            values = {m.metric: m.value for m in each.measurements}
            if not broken and each.failure is None and set(metrics) <= set(values):
                usable.append(each)
                rows.append([values[metric] for metric in metrics])
        if rows:
            directions = [objective.direction for objective in self.spec.objectives]
            for each, best in zip(usable, front(np.array(rows), directions), strict=True):
                each.on_front = bool(best)

    def _composer(self) -> Composer:
        moved = StudySpec.model_validate(_moved(self.spec, self.target, COMPOSED))
        return Composer(moved, self.prices, self.store)


def _moved(spec: StudySpec, target: Target, how: str) -> dict[str, Any]:
    """The study on another target, its latencies had in another way."""
    ladder = [rung.model_dump(mode="json") for rung in spec.ladder]
    for rung in ladder:
        if rung["kind"] == "latency":
            rung["how"] = how
    given = spec.model_dump(mode="json")
    given["budget"]["train_tokens"] = None  # the rungs say it
    return {**given, "target": target.model_dump(mode="json"), "rungs": ladder}


def _composed(composer: Composer, architecture: Architecture) -> StageResult | None:
    """None where the whole has to be measured, because it or one of its parts will not do."""
    try:
        return composer.compose(architecture).result
    except EvaluationFailed:
        return None


def check_target(spec: StudySpec, target: Target) -> None:
    """Raises BadInput where an objective or a limit of the study is measured at a context or batch
    that the target lacks."""
    try:
        StudySpec.model_validate(_moved(spec, target, "measured"))
    except ValueError as wrong:
        raise BadInput.at(
            "target",
            f"the study's objectives and limits cannot be had on this target: {_first(wrong)}",
            given=target.model_dump(mode="json", exclude_defaults=True),
            accepted=f"contexts that hold those of the study: {list(spec.target.contexts)}",
        ) from None


def _view(
    spec: StudySpec, target: Target, environment: dict[str, Any], done: Sequence[Repriced]
) -> RepricedView:
    first = spec.objectives[0]
    sign = 1 if first.direction == "minimize" else -1

    def place(each: Repriced) -> tuple[bool, float]:
        values = {m.metric: m.value for m in each.measurements}
        return not each.on_front, sign * values.get(first.metric, sign * inf)

    return RepricedView(
        study=spec.name,
        target=target.model_dump(mode="json"),
        metrics=spec.objectives,
        environment=environment,
        measured=sum(not _is_composed(each) for each in done),
        points=tuple(_point(spec, each) for each in sorted(done, key=place)),
    )


def _point(spec: StudySpec, priced: Repriced) -> RepricedPoint:
    named = [objective.metric for objective in spec.objectives]

    def values(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
        return {m.metric: m for m in measurements if m.metric in named}

    return RepricedPoint(
        trial=priced.record.number,
        architecture=priced.architecture.id,
        description=one_line(priced.architecture),
        before=values(priced.record.measurements),
        after=values(priced.measurements),
        on_front=priced.on_front,
        broken=priced.broken,
        failure=priced.failure,
    )


def _first(error: Any) -> str:
    found: Mapping[str, Any] = error.errors()[0]
    return str(found["msg"]).removeprefix("Value error, ")


def _is_composed(priced: Repriced) -> bool:
    """Whether a time of it was not measured, and can be."""
    return priced.failure is None and any(is_composed(m) for m in priced.measurements)
