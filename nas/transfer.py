"""From one target to another: which values of a study hold there, and which a re-pricing found."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from nas.store.base import Store
from nas.study import StudySpec, Target
from nas.views import RepricedView

KIND = "repriced"
"""Of the event that holds the prices of a study on another target."""
_COUNTED = "decode.state_bytes"
"""Measured by running the model, but the same wherever it runs."""
_OF_COUNTING = ("contexts", "batch", "dtype")
"""Fields of a target on which it depends."""

Prices: TypeAlias = dict[str, dict[int, float]]
"""By metric: the value of each trial that has one, by number."""


def depends_on_device(spec: StudySpec, metric: str) -> bool:
    """Whether a metric is a property of the machine as well as of the model: times, energy and
    memory that was measured. Trained metrics, scores and closed-form costs are not."""
    stage = spec.metrics[metric].stage
    return stage not in ("static", "scores") and not stage.startswith("train")


def fields_that_count(metric: str) -> tuple[str, ...]:
    """The fields of a target on which a metric that was measured there depends."""
    if metric.partition("@")[0] == _COUNTED:
        return _OF_COUNTING
    return tuple(Target.model_fields)


def priced_on(store: Store, study: str, target: Target, metrics: Iterable[str]) -> Prices:
    """What `nas reprice` found for a study on a target; later prices replace earlier ones. A trial
    that could not be measured there has none, and neither has a metric without any."""
    found: Prices = {metric: {} for metric in metrics}
    for event in store.events(study):
        if event.kind != KIND:
            continue
        view = RepricedView.model_validate(event.data)
        if Target.model_validate(view.target) != target:
            continue
        for point in view.points:
            for metric, prices in found.items():
                if point.failure is None and metric in point.after:
                    prices[point.trial] = point.after[metric].value
    return {metric: prices for metric, prices in found.items() if prices}


def advice(other: StudySpec, metric: str) -> str:
    """What would make a metric of another study known on a new target."""
    if metric not in {objective.metric for objective in other.objectives}:
        return "a re-pricing would not say it, since it is no objective there"
    return (
        f"`nas reprice {other.name} --target FILE --all`, with the target of this study in FILE, "
        "finds it for studies that are started afterwards"
    )


def remarks(
    other: StudySpec, unknown: Mapping[str, str], priced: Prices, trials: int
) -> tuple[str, ...]:
    """What remains unknown of another study's trials, in words; `unknown` says why, by metric."""
    told = [
        f"{metric} of study {other.name!r} is not known here: {why}; {advice(other, metric)}"
        for metric, why in unknown.items()
    ]
    told += [
        f"{metric} of study {other.name!r} is known on this target for {len(prices)} of its "
        f"{trials} trials; {advice(other, metric)}"
        for metric, prices in priced.items()
        if len(prices) < trials
    ]
    return tuple(told)
