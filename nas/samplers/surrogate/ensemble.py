"""Gaussian processes that explain a handful of observations about equally well.

A few observations leave open which features matter and over what distance; one process with the
most likely lengths takes them for known, and is surer than it may be. So further ones are fitted
against priors whose means were drawn from the prior: where the observations say little, they differ
as the prior does, and where they say much, they agree (anchored ensembles: Pearce, Leibfried and
Brintrup, "Uncertainty in neural networks: approximately Bayesian ensembling", 2020).

n observations, m points, F features, Q quantiles
"""

from collections.abc import Sequence

import numpy as np

from nas.pareto import Floats
from nas.samplers.surrogate.improvement import QUANTILES, normal_points
from nas.samplers.surrogate.process import GaussianProcess, Posterior

OTHERS = 4
"""Processes beside the likeliest; a divisor of `QUANTILES`."""
UNTIL = 64
"""Observations up to which they are asked. With more, their share of the doubt is small, and their
matrices would cost the most of a proposal."""
STEPS = 20
"""Of a fit, which sets out from the likeliest hyperparameters."""
DECIMALS = 4
"""Of their hyperparameters, which are written down with each proposal that fitted them."""


class Ensemble:
    """The likeliest process, and `others` beside it while there are few observations."""

    def __init__(self, features: int, *, linear: bool, seed: Sequence[int] | None) -> None:
        """`seed` decides the others; None is the likeliest alone."""
        self.lead = GaussianProcess(features, linear=linear)
        self.others: list[GaussianProcess] = []
        self.asks_others = False
        if seed is not None:
            random = np.random.default_rng(seed)
            self.others = [GaussianProcess(features, linear=linear) for _ in range(OTHERS)]
            for other in self.others:
                other.mean = random.normal(other.mean, other.spread)

    def fit_others(self, x: Floats, y: Floats, extra: Floats, count: int) -> None:
        """Hyperparameters of the others, once those of `lead` are found, if `count` observations
        are few enough."""
        self.asks_others = bool(self.others) and count <= UNTIL
        for other in self.others if self.asks_others else []:
            other.theta = self.lead.theta
            other.fit(x, y, extra, steps=STEPS)
            other.theta = other.theta.round(DECIMALS)

    def condition(self, x: Floats, y: Floats, extra: Floats) -> list[Posterior]:
        """The likeliest first; the others behind it where they are asked."""
        asked = [self.lead, *(self.others if self.asks_others else [])]
        return [process.condition(x, y, extra) for process in asked]

    def state(self) -> list[list[float]]:
        """Hyperparameters of the processes that are asked, from which `restore` makes the same."""
        others = self.others if self.asks_others else []
        return [process.theta.tolist() for process in (self.lead, *others)]

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """The opposite of `state`."""
        lead, *others = state
        self.lead.theta, self.asks_others = np.array(lead), bool(others)
        for process, theta in zip(self.others, others, strict=bool(others)):
            process.theta = np.array(theta)


def equally_likely(predictions: Sequence[tuple[Floats, Floats]]) -> Floats:
    """[m, Q] values of a mixture of normal distributions with these means [m] and deviations
    [m]."""
    points = normal_points(QUANTILES // len(predictions))
    parts = [mean[:, None] + deviation[:, None] * points for mean, deviation in predictions]
    return np.concatenate(parts, axis=1)
