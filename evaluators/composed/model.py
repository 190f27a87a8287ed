"""The time of a whole model, composed from the times of its parts.

``time = a + b * (sum over parts)``, everything in times of the anchor model, with a and b at least
zero and fitted in relative error on whole models that were measured (non-negative least squares).
nn-Meter (https://doi.org/10.1145/3458864.3467882) adds up predicted kernels in the same way, and
ProxylessNAS (arXiv 1812.00332) looks measured operators up in a table; the whole models that
correct the sum, and the interval, are this module's.

The interval is the conformal one of leave-one-out residuals (the jackknife of arXiv 1905.02928,
with relative residuals): of n residuals the one in place ``ceil((n + 1) * coverage)``. It is wider
where the parts of a model are known less well than those of the models it was fitted on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nas.evaluators.composed.records import ModelLatency, PartLatency, Setting

COVERAGE = 0.9
"""Share of models whose time lies within the interval."""
REACH = 2.0
"""A sum this many times outside of the fitted range is not extrapolated to."""
MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)."""
PERCENTILE = 1.2816
"""90th percentile of the standard normal."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A time that nobody measured."""

    ms: float
    low: float
    """Lower end of the interval, milliseconds."""
    high: float
    """Upper end."""
    coverage: float
    """Share of models whose time lies within it."""
    fitted_on: int
    """Whole models that were measured for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no prediction; the whole model has to be measured."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fit:
    """How parts become a model."""

    offset: float
    """a, in times of the anchor."""
    factor: float
    """b."""

    def __call__(self, total: float) -> float:
        """The time of a model whose parts add up to `total`."""
        return self.offset + self.factor * total


def least_models(coverage: float = COVERAGE) -> int:
    """Whole models without which no interval of that coverage can be stated."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Everything besides the parts that a prediction follows from."""

    offset: float
    """a, in times of the anchor."""
    factor: float
    """b."""
    half_width: float
    """Of the interval, relative to the predicted time."""
    lowest: float
    """Least sum of parts among the models that it was fitted on, in times of the anchor."""
    highest: float
    """Largest one."""
    usual_error: float
    """Standard error of their sums, relative: the median."""
    anchor_ms: float
    """The anchor's time in ordinary conditions."""
    fitted_on: int
    """Whole models."""
    coverage: float
    """Share of models whose time lies within the interval."""


class Formula:
    """Predicts times of one setting from numbers that were worked out before."""

    def __init__(self, numbers: Numbers, parts: Mapping[str, tuple[float, float]]) -> None:
        """`parts` has for each id its time, in times of the anchor, and the standard error of that,
        relative to it."""
        self.numbers = numbers
        self.parts = dict(parts)

    def total(self, counts: Mapping[str, int]) -> float:
        """The sum over the parts of a model, in times of the anchor."""
        return math.fsum([count * self.parts[part][0] for part, count in counts.items()])

    def predict(
        self, counts: Mapping[str, int], *, anchor_ms: float | None = None
    ) -> Prediction | Refusal:
        """The time of a model with so many of each part.

        `anchor_ms` is the anchor's time in the conditions that are meant, for example just now;
        None means those in which the models were measured that this was fitted on.
        """
        if unknown := [part for part in counts if part not in self.parts]:
            return Refusal(f"{len(unknown)} of its parts are not measured: {', '.join(unknown)}")
        total, numbers = self.total(counts), self.numbers
        low, high = numbers.lowest, numbers.highest
        if not low / REACH <= total <= high * REACH:
            return Refusal(
                f"its parts add up to {total:.3g} times the anchor, far from the {low:.3g} to "
                f"{high:.3g} of the {numbers.fitted_on} models that the composition was fitted on"
            )
        anchor_ms = numbers.anchor_ms if anchor_ms is None else anchor_ms
        ms = Fit(numbers.offset, numbers.factor)(total) * anchor_ms
        width = self._width(self.error(counts, total))
        lowest, highest = ms * max(0.0, 1 - width), ms * (1 + width)
        return Prediction(ms, lowest, highest, numbers.coverage, numbers.fitted_on)

    def _width(self, error: float) -> float:
        """Half the interval, relative: the usual one, with what its parts' noise exceeds that of
        the fitted models by, at the same coverage."""
        more = max(0.0, error**2 - self.numbers.usual_error**2)
        quantile = 1.645 if self.numbers.coverage <= COVERAGE else 2.576
        return math.hypot(self.numbers.half_width, quantile * math.sqrt(more))

    def error(self, counts: Mapping[str, int], total: float) -> float:
        """Standard error of the sum, relative to it. Copies of one part share its error."""
        parts = self.parts
        variances = [
            (count * parts[part][0] * parts[part][1]) ** 2 for part, count in counts.items()
        ]
        return math.sqrt(math.fsum(variances)) / total


class CompositionModel(Formula):
    """The formula fitted on what is measured of one setting. What it is made of is kept in the
    store, so it is fitted anew whenever it is needed."""

    def __init__(
        self,
        parts: Sequence[PartLatency],
        models: Sequence[ModelLatency],
        *,
        coverage: float = COVERAGE,
    ) -> None:
        """Models with parts that are not measured are left out.

        Raises:
            ValueError: rows of several settings, or too few models (`least_models`).
        """
        _check_one_setting([row.setting for row in (*parts, *models)])
        self.coverage = coverage
        self.parts = {row.part: (row.relative, median_error(row)) for row in parts}
        usable = [row for row in models if set(row.parts) <= set(self.parts)]
        if len(usable) < least_models(coverage):
            raise ValueError(
                f"{len(usable)} whole models with known parts are measured; an interval of "
                f"{coverage:.0%} needs at least {least_models(coverage)}"
            )
        totals = [self.total(row.parts) for row in usable]
        times = [row.relative for row in usable]
        self.fitted_on = len(usable)
        self.fit = fit(totals, times)
        self.half_width = conformal(_left_out_residuals(totals, times), coverage)
        """Of the interval, relative to the predicted time."""
        self.range = (min(totals), max(totals))
        """Sums of parts that it was fitted on, in times of the anchor."""
        self.anchor_ms = median(row.anchor_ms for row in usable)
        """The anchor's time in ordinary conditions."""
        errors = [self.error(row.parts, total) for row, total in zip(usable, totals, strict=True)]
        numbers = Numbers(
            self.fit.offset,
            self.fit.factor,
            self.half_width,
            *self.range,
            median(errors),
            self.anchor_ms,
            self.fitted_on,
            coverage,
        )
        super().__init__(numbers, self.parts)


def fit(totals: Sequence[float], times: Sequence[float]) -> Fit:
    """The offset and factor, both at least zero, with the least sum of squared relative errors.

    Non-negative least squares of two unknowns, by hand: where the free solution has a negative one,
    the best has a zero in its place.
    """
    rows = [(1 / time, total / time) for total, time in zip(totals, times, strict=True)]
    oo, of, ff = (math.fsum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    o, f = (math.fsum(r[i] for r in rows) for i in (0, 1))
    offset_alone, factor_alone = Fit(o / oo, 0.0), Fit(0.0, f / ff)
    determinant = oo * ff - of * of
    if determinant > 1e-12 * oo * ff:  # else all totals are the same, and any line would do
        free = Fit((o * ff - f * of) / determinant, (f * oo - o * of) / determinant)
        if free.offset >= 0 and free.factor >= 0:
            return free

    def loss(found: Fit) -> float:
        return math.fsum((r[0] * found.offset + r[1] * found.factor - 1) ** 2 for r in rows)

    return min(factor_alone, offset_alone, key=loss)


def conformal(residuals: Sequence[float], coverage: float) -> float:
    """The absolute residual that a new one stays below with at least this probability.

    Raises:
        ValueError: too few residuals to say.
    """
    place = math.ceil((len(residuals) + 1) * coverage - 1e-9)
    if place > len(residuals):
        raise ValueError(f"{len(residuals)} residuals are too few for a coverage of {coverage:.0%}")
    return sorted(map(abs, residuals))[place - 1]


def median_error(row: PartLatency) -> float:
    """Standard error of a measured median, relative to it, from its 10th and 90th percentile."""
    deviation = (row.high - row.low) / (2 * PERCENTILE)
    return MEDIAN_ERROR * deviation / math.sqrt(row.repeats) / row.ms


def _left_out_residuals(totals: Sequence[float], times: Sequence[float]) -> list[float]:
    """For each model, (time - prediction) / prediction of a fit on all the others."""
    residuals = []
    for index, (total, time) in enumerate(zip(totals, times, strict=True)):
        others = (_without(totals, index), _without(times, index))
        predicted = fit(*others)(total)
        residuals.append(time / predicted - 1)
    return residuals


def _without(values: Sequence[float], index: int) -> list[float]:
    return [*values[:index], *values[index + 1 :]]


def _check_one_setting(settings: Sequence[Setting]) -> None:
    different: set[Any] = set(settings)
    if len(different) > 1:
        raise ValueError(
            f"times of {len(different)} settings cannot be composed; give those of one"
        )
