"""What a study knows from others before its first trial, as it was kept when it began."""

import math
from collections.abc import Mapping
from typing import Any

from nas.driver.limits import measure_for_limits, total_violation
from nas.errors import Conflict
from nas.evaluators.static import PEAK, peak_measurement
from nas.record import Measurement
from nas.samplers.base import Observation
from nas.search_spaces.architecture import Architecture
from nas.store.base import Store
from nas.study import StudySpec

KIND = "known"
"""Of the event that holds the trials of one other study."""


def observations_of(store: Store, spec: StudySpec) -> tuple[Observation[Architecture], ...]:
    """Each architecture once, in the order of the study's warm starts.

    Raises Conflict where a warm start was never written down.
    """
    if not spec.warm_start:
        return ()
    events = [event for event in store.events(spec.name) if event.kind == KIND]
    if missing := {w.study for w in spec.warm_start} - {e.data["study"] for e in events}:
        names = ", ".join(sorted(missing))
        raise Conflict(
            f"study {spec.name!r} was to start from {names}, whose trials were not written down "
            "when it began; start it again under another name"
        )
    found: dict[str, Observation[Architecture]] = {}
    for event in events:
        for given in event.data["observations"]:
            member = Architecture.model_validate(given["architecture"])
            if member.id not in found:
                found[member.id] = _observation(spec, member, given["values"])
    return tuple(found.values())


def _observation(
    spec: StudySpec, member: Architecture, taken: Mapping[str, float]
) -> Observation[Architecture]:
    static = measure_for_limits(member, spec.target, spec.limits)
    if any(o.metric == PEAK for o in spec.objectives) and all(m.metric != PEAK for m in static):
        static += (peak_measurement(member, spec.target),)
    measured = [*static, *(_measurement(spec, *item) for item in taken.items())]
    values: dict[str, Any] = {m.metric: m.value for m in measured}
    return Observation(
        member,
        tuple(values.get(objective.metric, math.nan) for objective in spec.objectives),
        total_violation(spec.limits, measured),
    )


def _measurement(spec: StudySpec, metric: str, value: float) -> Measurement:
    known = spec.metrics[metric]
    return Measurement(metric=metric, value=value, unit=known.unit, stage=known.stage)
