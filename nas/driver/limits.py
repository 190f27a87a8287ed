"""A study's limits against what was measured, and whether anything can meet them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.errors import BadInput, Problem
from nas.evaluators.static import PEAK, peak_measurement, static_measurements
from nas.record import Measurement
from nas.search_spaces.architecture import Architecture
from nas.study import Limit, StudySpec, Target

SAMPLE = 200
"""Random members of a space that are looked at to tell whether limits can be met."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that does not hold."""

    limit: Limit
    value: float
    excess: float
    """How far it is broken, relative to the bound."""

    def __str__(self) -> str:
        bound, name = (self.limit.max, "max")
        if self.limit.max is None or self.value <= self.limit.max:
            bound, name = (self.limit.min, "min")
        side = "above" if name == "max" else "below"
        return f"{self.limit.metric} {number(self.value)} is {side} the {name} of {number(bound)}"


def violations(limits: Iterable[Limit], measurements: Iterable[Measurement]) -> list[Violation]:
    """The limits that do not hold, in the order of `limits`. One whose metric has not been
    measured yet does not count."""
    values = {measurement.metric: measurement.value for measurement in measurements}
    found = (
        Violation(limit, values[limit.metric], limit.excess(values[limit.metric]))
        for limit in limits
        if limit.metric in values
    )
    return [violation for violation in found if violation.excess > 0]


def total_violation(limits: Iterable[Limit], measurements: Iterable[Measurement]) -> float:
    """0 where all limits hold, else the sum of their relative excesses."""
    return math.fsum(violation.excess for violation in violations(limits, measurements))


def measure_for_limits(
    architecture: Architecture, target: Target, limits: Iterable[Limit]
) -> tuple[Measurement, ...]:
    """The static metrics, with the peak of activations only where a limit needs it."""
    measured = static_measurements(architecture, target)
    if any(limit.metric == PEAK for limit in limits):
        measured += (peak_measurement(architecture, target),)
    return measured


def check_limits_reachable(spec: StudySpec) -> None:
    """Raises BadInput where no random member of the space meets the limits that closed-form cost
    decides, with the nearest value that was found.

    A space of which fewer than about one member in a hundred fits may be refused by chance.
    """
    known = {m.metric for m in static_measurements(spec.space.example(), spec.target)} | {PEAK}
    static = [(i, limit) for i, limit in enumerate(spec.limits) if limit.metric in known]
    if not static:
        return
    seen = []
    for seed in range(SAMPLE):
        member = spec.space.example(seed)
        seen.append(measure_for_limits(member, spec.target, spec.limits))
        if not violations(spec.limits, seen[-1]):
            return
    problems = [
        _out_of_reach(i, limit, seen) for i, limit in static if _never_holds(limit, seen)
    ] or [
        Problem(
            "limits",
            f"each limit can be met alone, but none of {SAMPLE} random members meets all of them",
            accepted="looser limits, or a space in which they go together",
        )
    ]
    raise BadInput("; ".join(str(problem) for problem in problems), problems)


def closest(limit: Limit, values: Sequence[float]) -> str:
    """The value that comes nearest to holding, in words."""
    nearest = min(values, key=limit.excess)
    extreme = "smallest" if limit.max is not None and nearest > limit.max else "largest"
    return f"{extreme} seen {number(nearest)}"


def number(value: float | None) -> str:
    """A number for people: 1,234,000 or 0.0125."""
    if value is None:
        return "none"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _never_holds(limit: Limit, seen: Sequence[Sequence[Measurement]]) -> bool:
    return all(violations([limit], measured) for measured in seen)


def _out_of_reach(index: int, limit: Limit, seen: Sequence[Sequence[Measurement]]) -> Problem:
    values = [m.value for measured in seen for m in measured if m.metric == limit.metric]
    bounds = {"max": limit.max, "min": limit.min}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    nearest = min(values, key=limit.excess)
    if limit.max is not None and nearest > limit.max:
        accepted = f"a max of {number(nearest)} or more"
    else:
        accepted = f"a min of {number(nearest)} or less"
    return Problem(
        f"limits.{index}",
        f"no random member of the space out of {SAMPLE} meets the limit on {limit.metric}; "
        + closest(limit, values),
        given,
        accepted,
    )
