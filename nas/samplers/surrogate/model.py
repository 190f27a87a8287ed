"""What the observations let expect of candidates: one process for each dear objective, and one for
whether a candidate holds the limits and lives.

n observations, m candidates, M objectives, F features, Q quantiles
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from nas.pareto import Floats
from nas.samplers.surrogate.ensemble import Ensemble, equally_likely
from nas.samplers.surrogate.improvement import QUANTILES
from nas.samplers.surrogate.ingredients import ALL, Ingredients
from nas.samplers.surrogate.observations import Rows
from nas.samplers.surrogate.process import GaussianProcess, Posterior
from nas.samplers.surrogate.warp import STRAIGHT, Warp, warps_for

FIT_ON = 150
"""Observations that hyperparameters are fitted to, at most: evenly spaced ones."""
REFIT = 12
"""Hyperparameters are fitted again when a twelfth more is known."""
MARGIN = 2.0
"""By which a hint has to make the logarithm of the likelihood larger; by chance alone, one number
more gains half of one."""
SURE = 2.0
"""Standard errors by which a hint has to make the observations more likely."""
FORM = 2
"""Of what `Model.state` writes; a new number for another covariance."""
Hint = Callable[[Floats], Floats]
"""What is expected of a cost at points [m, F], up to scale and offset: [m]."""


class Surface:
    """One quantity over the space, in its own units.

    A process models it on one of a few scales (``warp``), whichever makes the observations most
    likely, each in the light of the others. A `hint` is what other studies let expect of the
    quantity, up to scale and offset: the process then models what is left after a line through hint
    and observations. It is followed only as long as it makes the observations more likely.
    """

    def __init__(
        self,
        features: int,
        hint: Hint | None = None,
        *,
        bends: bool = True,
        ingredients: Ingredients = ALL,
        seed: Sequence[int] | None = None,
    ) -> None:
        """`bends` is whether scales other than the straight one are tried; `seed` is that of the
        ensemble, or None for the likeliest process alone."""
        kept = seed if ingredients.ensemble else None
        self.ensemble = Ensemble(features, linear=ingredients.line, seed=kept)
        self.posteriors: list[Posterior] = []
        """The likeliest first."""
        self.hint = hint
        self.follows = hint is not None
        """Whether the hint is used."""
        self.bends, self.warp = bends and ingredients.scales, STRAIGHT
        self.doubts = ingredients.doubt
        self._mean, self._deviation = 0.0, 1.0
        self._line = 0.0, 0.0
        """Offset and slope of the line from the hint to the cost."""

    def fit(self, x: Floats, y: Floats, extra: Floats) -> None:
        """Scale and hyperparameters from observations `x` [n, F], `y` [n] with relative variances
        `extra`."""
        chosen = np.unique(np.linspace(0, len(y) - 1, min(len(y), FIT_ON)).round().astype(int))
        given = x[chosen], y[chosen], extra[chosen]
        alone = self._likeliest(given, follows=False)
        found = alone
        if self.hint is not None:
            found = self._likeliest(given, follows=True)
            if not _is_surely_more(found[0], alone[0]):
                found = alone
        _, self.process.theta, self.warp, self.follows = found
        scaled = self._scaled(*given[:2])
        self.ensemble.fit_others(given[0], scaled, given[2], len(y))

    def _likeliest(
        self, given: tuple[Floats, Floats, Floats], *, follows: bool
    ) -> tuple[Floats, Floats, Warp, bool]:
        """How likely the observations are on the scale that suits them best, the hyperparameters
        there, the scale, and `follows`."""
        tried = []
        for warp in warps_for(given[1]) if self.bends else [STRAIGHT]:
            self.process.theta, self.warp, self.follows = self.process.start, warp, follows
            tried.append((self._fit(*given), self.process.theta, warp, follows))
        return max(tried, key=lambda each: float(each[0].sum()))

    def _fit(self, x: Floats, y: Floats, extra: Floats) -> Floats:
        """The logarithm of how likely each observation [n] is in the light of the others."""
        scaled = self._scaled(x, y)
        self.process.fit(x, scaled, extra)
        mean, deviation = self.process.condition(x, scaled, extra).left_out()
        surprise = 0.5 * ((scaled - mean) / deviation) ** 2 + np.log(deviation * self._deviation)
        return np.asarray(self.warp.log_slope(y) - surprise)

    def condition(self, x: Floats, y: Floats, extra: Floats, pending: Floats) -> None:
        """On observations, and on proposals `pending` [p, F] that are out as if they had brought
        what is expected of them (Ginsbourger et al., "Kriging is well-suited to parallelize
        optimization", 2010)."""
        scaled = self._scaled(x, y)
        self.posteriors = self.ensemble.condition(x, scaled, extra)
        if len(pending):
            believed = self.posteriors[0].mean(pending)
            self.posteriors = self.ensemble.condition(
                np.concatenate([x, pending]),
                np.concatenate([scaled, believed]),
                np.concatenate([extra, np.zeros(len(pending))]),
            )

    def predict(self, x: Floats) -> list[tuple[Floats, Floats]]:
        """Mean [m] and standard deviation [m] of what evaluations of candidates [m, F] find, on
        the scale of `warp`, by each process."""
        found = []
        for posterior in self.posteriors[1:] or self.posteriors:
            mean, deviation = posterior.predict(x)
            around = np.hypot(deviation, posterior.process.noise**0.5)
            found.append((self._unscaled(x, mean), around * self._deviation))
        return found

    def samples(self, x: Floats) -> Floats:
        """[m, Q] equally likely values at candidates [m, F]."""
        if not self.doubts:
            return np.repeat(self.medians(x)[:, None], QUANTILES, axis=1)
        return self.warp.back(equally_likely(self.predict(x)))

    def medians(self, x: Floats) -> Floats:
        """[m] values that candidates [m, F] are as likely above as below, by the likeliest
        process."""
        return self.warp.back(self._unscaled(x, self.posteriors[0].mean(x)))

    @property
    def process(self) -> GaussianProcess:
        """The likeliest."""
        return self.ensemble.lead

    def _scaled(self, x: Floats, y: Floats) -> Floats:
        """What is left after the hint, with mean 0 and deviation 1, on the scale of `warp`."""
        self._line = 0.0, 0.0
        if self.follows and self.hint is not None:
            hint = self.hint(x)
            around = hint - hint.mean()
            slope = float(around @ y / (around @ around + 1e-12))
            self._line = float(y.mean() - slope * hint.mean()), slope
        z = self.warp(y) - self._hinted(x)
        self._mean, self._deviation = float(z.mean()), float(z.std()) or 1.0
        return np.asarray((z - self._mean) / self._deviation)

    def _unscaled(self, x: Floats, mean: Floats) -> Floats:
        return np.asarray(mean * self._deviation + self._mean + self._hinted(x))

    def _hinted(self, x: Floats) -> Floats | float:
        """What the hint lets expect at points [m, F], on the scale of `warp`: [m]."""
        offset, slope = self._line
        if not slope or self.hint is None:
            return 0.0
        return self.warp(offset + slope * self.hint(x))


def _is_surely_more(some: Floats, others: Floats) -> bool:
    """Whether log likelihoods [n] of the same observations are larger, beyond chance (Vehtari,
    Gelman and Gabry, "Practical Bayesian model evaluation using leave-one-out cross-validation and
    WAIC", 2017)."""
    gains = some - others
    return bool(gains.sum() > max(MARGIN, SURE * gains.std() * len(gains) ** 0.5))


class Model:
    """Of all objectives and of feasibility."""

    def __init__(
        self,
        features: int,
        hints: Sequence[Hint | None],
        ingredients: Ingredients = ALL,
        *,
        seed: int = 0,
    ) -> None:
        """`hints` has one entry for each objective."""
        self.surfaces = [
            Surface(features, hint, ingredients=ingredients, seed=(seed, place))
            for place, hint in enumerate(hints)
        ]
        self.verdict = Surface(features, bends=False)
        self.fitted_on = 0
        """Observations when hyperparameters were last fitted."""
        self._judges = False

    def is_stale(self, count: int) -> bool:
        """Whether hyperparameters are to be fitted to `count` observations."""
        return count - self.fitted_on >= max(1, self.fitted_on // REFIT)

    def fit(self, rows: Rows, verdicts: tuple[Floats, Floats], count: int) -> None:
        """Hyperparameters of everything that has to be predicted."""
        for objective, surface in enumerate(self.surfaces):
            surface.fit(rows.features, rows.costs[:, objective], rows.extra[:, objective])
        features, signs = verdicts
        if (signs < 0).any():
            self.verdict.fit(features, signs, np.zeros(len(signs)))
        self.fitted_on = count

    def condition(self, rows: Rows, verdicts: tuple[Floats, Floats], pending: Floats) -> None:
        """On all observations, with hyperparameters as they are."""
        for objective, surface in enumerate(self.surfaces):
            costs, extra = rows.costs[:, objective], rows.extra[:, objective]
            surface.condition(rows.features, costs, extra, pending)
        features, signs = verdicts
        self._judges = bool((signs < 0).any())
        if self._judges:
            self.verdict.condition(features, signs, np.zeros(len(signs)), pending)

    def samples(self, features: Floats, known: Floats) -> list[Floats]:
        """For each objective [m, Q] equally likely costs of candidates [m, F], or [m, 1] where all
        are exact; `known` [m, M] are costs, exact where they are not NaN."""
        found: list[Floats] = []
        for objective, surface in enumerate(self.surfaces):
            given = known[:, objective]
            open_ = np.isnan(given)
            values = given[:, None]
            if open_.any():
                values = np.repeat(values, QUANTILES, axis=1)
                values[open_] = surface.samples(features[open_])
            found.append(values)
        return found

    def medians(self, features: Floats, known: Floats) -> Floats:
        """[m, M] costs that candidates are as likely above as below; see `samples`."""
        found = known.copy()
        for objective, surface in enumerate(self.surfaces):
            open_ = np.isnan(found[:, objective])
            if open_.any():
                found[open_, objective] = surface.medians(features[open_])
        return found

    def feasible(self, features: Floats) -> Floats:
        """[m] probability that candidates hold the limits and live, by least squares on the signs
        (Rasmussen and Williams, section 6.5)."""
        if not self._judges:
            return np.ones(len(features))
        ((mean, deviation),) = self.verdict.predict(features)
        return np.asarray(ndtr(mean / deviation))

    def state(self) -> dict[str, Any]:
        """Hyperparameters, from which `restore` makes the same model without fitting."""
        surfaces = [*self.surfaces, self.verdict]
        return {
            "form": FORM,
            "theta": [surface.ensemble.state() for surface in surfaces],
            "follows": [surface.follows for surface in surfaces],
            "warp": [_warp_state(surface.warp) for surface in surfaces],
            "fitted_on": self.fitted_on,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The opposite of `state`. One that another model wrote, as before an update, says nothing
        of this one, which is fitted when it is next asked."""
        if state.get("form") != FORM:
            return
        self.fitted_on = state["fitted_on"]
        surfaces = [*self.surfaces, self.verdict]
        for surface, theta, follows, warp in zip(
            surfaces, state["theta"], state["follows"], state["warp"], strict=True
        ):
            surface.ensemble.restore(theta)
            surface.follows = follows
            surface.warp = Warp(*warp) if warp else STRAIGHT


def _warp_state(warp: Warp) -> list[float] | None:
    """JSON has no infinity."""
    return list(warp) if np.isfinite(warp.bend) else None
