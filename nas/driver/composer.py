"""Latencies put together from measured parts, for a study whose latency rung is ``composed``.

What is missing (parts, or whole models to fit the composition on) is measured first and kept in the
store, where every later study on the same device finds it.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from nas.evaluators.base import EvaluationFailed, StageResult
from nas.evaluators.composed.composition import Composition
from nas.evaluators.composed.decide import Interval, open_limit, why_measure
from nas.evaluators.composed.device import device_record
from nas.evaluators.composed.library import Library, name
from nas.evaluators.composed.model import Prediction, Refusal
from nas.evaluators.composed.parts import Part, take_apart, why_not_composable
from nas.evaluators.composed.records import ModelLatency, PartLatency, Setting
from nas.evaluators.composed.settings import MODES, Mode, anchor_architecture, settings_of
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store
from nas.study import StudySpec

FIT = 12
"""Random members of each space that are measured whole, to fit on."""
AHEAD = 200
"""Random members whose parts are measured before they are needed, where the sampler can use it: of
members of a space that makes 140 parts, nine in ten are then composable, and one in thirty else."""
MOST_AHEAD = 160
"""Parts that are measured so; a space that makes more is left to be learned as it is searched."""
AT_ONCE = 16
"""Parts that are measured in one go."""
STAGE: Literal["composed"] = "composed"


class Composed(NamedTuple):
    """Times that nobody measured, or why there are none."""

    result: StageResult | None
    reason: str | None = None


class MeasuresParts(Protocol):
    """What a composer measures with; an evaluator does."""

    def measure_parts(self, parts: Sequence[Part], modes: Sequence[Mode]) -> list[PartLatency]:
        """Raises EvaluationFailed."""

    def measure_models(
        self, architectures: Sequence[Architecture], modes: Sequence[Mode]
    ) -> list[ModelLatency]:
        """Raises EvaluationFailed."""

    def latency(self, architecture: Architecture) -> StageResult:
        """Of a whole candidate. Raises EvaluationFailed."""


class Composer:
    """Composes for one study. Thread-safe; the store's own methods are, and parts are no part of
    the log that a resumed study replays."""

    def __init__(self, spec: StudySpec, evaluator: MeasuresParts, store: Store) -> None:
        """Any other call raises Unavailable where the target's device is not there."""
        self.spec, self.evaluator, self.store = spec, evaluator, store
        asked = [o.metric for o in spec.objectives] + [limit.metric for limit in spec.limits]
        self.wanted = [metric for metric in asked if spec.metrics[metric].stage == "latency"]
        named = {metric.partition(".")[0] for metric in self.wanted}
        known = MODES[spec.space.family]
        self.modes: tuple[Mode, ...] = tuple(mode for mode in known if mode in named)
        self._anchor_ms: dict[str, float] = {}
        """The anchor's times, measured as a candidate of this study would be."""
        self._lock = threading.Lock()
        self._looks_ahead = spec.driver.library == "nas"
        self._not_ahead: str | None = None
        """Why parts are not measured ahead any more."""
        self.composition: Composition | None = None
        """What times follow from since something was last measured; None before the first."""
        self._published: Library | None = None

    @cached_property
    def settings(self) -> list[Setting]:
        """Those of the times that the study asks for."""
        found = settings_of(self.spec.target, self.spec.space.family)
        return [setting for (mode, _), setting in found.items() if mode in self.modes]

    @cached_property
    def _library(self) -> Library:
        return Library(self.store, self.settings)

    def recall(self, before: Composition | None) -> None:
        """Goes on with the anchor's times of an earlier run, if they are of this very machine: the
        anchor is measured once in a study."""
        if before is None:
            return
        settings = {name(setting): setting for setting in self.settings}
        if all(settings.get(n) == setting for n, setting in before.settings.items()):
            self._anchor_ms = dict(before.anchor_ms)

    def is_ready(self, architecture: Architecture) -> bool:
        """Whether nothing has to be measured to compose this one."""
        if why_not_composable(architecture):
            return True
        return (
            bool(self._anchor_ms)
            and self._is_fitted()
            and not self._library.missing([architecture])
            and not self._ahead
        )

    def compose(self, architecture: Architecture) -> Composed:
        """Measures what is missing, which has to happen while nothing else runs, and composes.
        Raises EvaluationFailed where a part cannot be measured."""
        with self._lock:
            if not self.is_ready(architecture):
                self._complete(architecture)
            self._publish()
            found = self._library.predict(architecture, self._anchor_ms)
        refused = [each.reason for each in found.values() if isinstance(each, Refusal)]
        if refused:
            return Composed(None, refused[0])
        times = {n: each for n, each in found.items() if isinstance(each, Prediction)}
        fitted_on = {n: each.fitted_on for n, each in times.items()}
        about: dict[str, Any] = {"fitted_on": fitted_on, "anchor_ms": self._anchor_ms}
        if self._not_ahead:
            about["not_measured_ahead"] = self._not_ahead
        measurements = tuple(self._measurements(times))
        return Composed(StageResult(measurements, environment={STAGE: about}))

    def open_limit(self, measurements: Sequence[Measurement]) -> str | None:
        """The limit that an interval leaves open, in words."""
        return open_limit(intervals(measurements), self.spec.limits)

    def why_measure(self, measurements: Sequence[Measurement]) -> str | None:
        """Why a trained candidate has to be measured after all; None if its front and limits are
        settled without."""
        if not any(map(is_composed, measurements)):
            return None
        metrics = [objective.metric for objective in self.spec.objectives]
        points = self.store.front_values(self.spec.name, metrics)
        front = [dict(zip(metrics, point.values, strict=True)) for point in points]
        return why_measure(front, intervals(measurements), self.spec.objectives, self.spec.limits)

    def _is_fitted(self) -> bool:
        """Whether members of this very space are known in every setting."""
        wanted = {member.id for member in self._members}
        return all(
            wanted <= {row.architecture for row in self.store.model_latencies(setting)}
            for setting in self.settings
        )

    def _complete(self, architecture: Architecture) -> None:
        """Measures what the composition of an architecture lacks. The anchor is measured once in a
        study, just as candidates are, so that composed and measured times can be compared."""
        if not self._anchor_ms:
            measured = self.evaluator.latency(anchor_architecture(self.spec.space.family))
            self._anchor_ms = {m.metric: m.value for m in measured.measurements if m.unit == "ms"}
        self.store.put_device(device_record(self.spec.target.device))
        wanted = [architecture]
        if not self._is_fitted():
            wanted += self._members
            found = self.evaluator.measure_models(self._members, self.modes)
            self.store.put_model_latencies(found)
        if missing := self._library.missing(wanted):
            self.store.put_part_latencies(self.evaluator.measure_parts(missing, self.modes))
        self._library = Library(self.store, self.settings)
        self._measure_ahead()

    @property
    def _ahead(self) -> list[Part]:
        """Parts that are yet to be measured before they are needed."""
        if not self._looks_ahead or self._not_ahead:
            return []
        lacking = self._library.lacking(self._common_parts)
        self._looks_ahead = bool(lacking)
        return lacking

    def _measure_ahead(self) -> None:
        """As far as it goes: a part that no candidate has asked for yet fails none."""
        lacking = self._ahead
        try:
            for start in range(0, len(lacking), AT_ONCE):
                some = lacking[start : start + AT_ONCE]
                self.store.put_part_latencies(self.evaluator.measure_parts(some, self.modes))
        except EvaluationFailed as failed:
            self._not_ahead = failed.message
        if lacking:
            self._library = Library(self.store, self.settings)

    @cached_property
    def _common_parts(self) -> dict[str, Part]:
        """Of random members, if they are made of few enough; else none."""
        drawn = (self.spec.space.example(seed) for seed in range(AHEAD))
        members = {each.id: each for each in drawn if why_not_composable(each) is None}
        parts = {p.id: p for each in members.values() for p in take_apart(each).distinct}
        return parts if len(parts) <= MOST_AHEAD else {}

    def _publish(self) -> None:
        """Makes it known where the library can be composed of."""
        if self.composition is not None and self._published is self._library:
            return
        formulas = self._library.formulas()
        if formulas is not None:
            settings = {name(setting): setting for setting in self.settings}
            self.composition = Composition(settings, self._anchor_ms, formulas)
            self._published = self._library

    @cached_property
    def _members(self) -> list[Architecture]:
        """Distinct members of the space, to fit on; fewer where it has no more."""
        drawn = (self.spec.space.example(seed) for seed in range(20 * FIT))
        distinct = {each.id: each for each in drawn if why_not_composable(each) is None}
        return list(distinct.values())[:FIT]

    def _measurements(self, times: dict[str, Prediction]) -> Iterator[Measurement]:
        for setting in self.settings:
            each = times[name(setting)]
            numbers = {"value": each.ms, "low": each.low, "high": each.high}
            names = [name(setting)]
            if setting.context == self.spec.target.longest:
                names.append(setting.metric)
            for metric in names:
                yield Measurement(metric=metric, unit="ms", stage=STAGE, **numbers)


def is_composed(measurement: Measurement) -> bool:
    """Whether it stands for something that was not measured."""
    return measurement.stage == STAGE and not measurement.metric.endswith((f"@{STAGE}", "@first"))


def intervals(measurements: Sequence[Measurement]) -> dict[str, Interval]:
    """Where each value lies: the interval of what was composed, the value of what was measured."""
    return {
        m.metric: Interval(m.low, m.high)
        if m.stage == STAGE and m.low is not None and m.high is not None
        else Interval(m.value, m.value)
        for m in measurements
    }


def measured_instead(
    before: Sequence[Measurement],
    found: Sequence[Measurement],
    *,
    kept_as: Literal["composed", "first"] = STAGE,
) -> tuple[Measurement, ...]:
    """With measured times in place of composed ones, which are kept as ``metric@composed``; as
    ``metric@first`` where the trial had finished, since they are what the sampler was told."""
    new = {m.metric for m in found}
    kept = (
        m.model_copy(update={"metric": f"{m.metric}@{kept_as}"})
        if is_composed(m) and m.metric in new
        else m
        for m in before
    )
    return (*kept, *found)
