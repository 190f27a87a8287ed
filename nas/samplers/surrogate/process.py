"""A Gaussian process for few, dear observations.

The covariance of two points is a Matérn 5/2 with a length for each feature, a linear part and the
square of one. These carry what adds up and what multiplies, as depth and width do in a cost: in
spaces of architectures, most does either. Hyperparameters
are the mode of their posterior (a log-normal prior on each keeps fits to a handful of points sane),
found by L-BFGS with analytic gradients. scikit-learn's regressor has no priors and no noise per
observation, and forms a matrix for each length and step.

n observations, m points, F features
"""

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nas.pareto import Floats

ROOT5 = 5**0.5
JITTER = 1e-8
LENGTH_SPREAD = 1.0
"""Standard deviation of the logarithm of a length. Its mean grows with the root of F, as distances
do (Hvarfner et al., "Vanilla Bayesian optimization performs great in high dimensions", 2024)."""
PRIORS = {
    "bend": (0.0, 1.0),
    "slope": (np.log(0.5), 1.0),
    "curve": (np.log(0.5), 1.0),
    "noise": (np.log(1e-3), 2.0),
}
"""Mean and deviation of the logarithms of the three amplitudes and of the variance of the noise,
for observations scaled to mean 0 and deviation 1."""
CENTRE = 0.5
"""The middle of every feature, from which slopes and curves are counted."""
NOISE_FLOOR = 1e-6
BOUNDS = {
    "length": (-4.0, 6.0),
    "bend": (-4.0, 3.0),
    "slope": (-5.0, 3.0),
    "curve": (-5.0, 3.0),
    "noise": (-13.8, 1.0),
}


class GaussianProcess:
    """Hyperparameters stand in one vector, as logarithms: F lengths, bend, slope, curve, noise."""

    def __init__(self, features: int, *, trend: bool = True) -> None:
        """Without `trend`, there is a Matérn alone."""
        self.features = features
        self.trend = float(trend)
        self.mean = np.r_[
            np.full(features, np.log(max(features, 1)) / 2 + 0.5),
            [PRIORS[name][0] for name in PRIORS],
        ]
        self.spread = np.r_[np.full(features, LENGTH_SPREAD), [PRIORS[name][1] for name in PRIORS]]
        self.start = np.r_[self.mean[:-1], np.log(1e-2)]
        """From where a fit that does not go on from another sets out."""
        self.theta = self.start

    def fit(self, x: Floats, y: Floats, extra: Floats, *, steps: int = 40) -> None:
        """Moves the hyperparameters to the mode of their posterior, from where they are.

        `x` is [n, F], `y` [n], `extra` [n] the known part of the variance of each observation.
        """
        bounds = [BOUNDS["length"]] * self.features + [BOUNDS[name] for name in PRIORS]
        found = minimize(
            self._negative_log_posterior,
            self.theta,
            (x, y, extra),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": steps},
        )
        self.theta = found.x

    def condition(self, x: Floats, y: Floats, extra: Floats) -> "Posterior":
        """What the observations let expect, with the hyperparameters as they are."""
        covariance = self.covariance(x, x)
        covariance[np.diag_indices(len(y))] += self.noise + extra + JITTER
        return Posterior(self, x, y, cholesky(covariance, lower=True, check_finite=False))

    @property
    def noise(self) -> float:
        """Variance of an observation around the function."""
        return float(np.exp(self.theta[-1])) + NOISE_FLOOR

    def covariance(self, a: Floats, b: Floats) -> Floats:
        """Of the function at points [m, F] with that at others [n, F]: [m, n]."""
        lengths, bend, slope, curve = self._parts(self.theta)
        r = np.sqrt(_squared_distances(a / lengths, b / lengths))
        matern = bend * (1 + ROOT5 * r + 5 / 3 * r * r) * np.exp(-ROOT5 * r)
        dots = (a - CENTRE) @ (b - CENTRE).T
        return np.asarray(matern + dots * (slope + curve * dots))

    def variance(self, x: Floats) -> Floats:
        """Of the function at points [m, F], before any observation: [m]."""
        _, bend, slope, curve = self._parts(self.theta)
        squares = ((x - CENTRE) ** 2).sum(axis=1)
        return np.asarray(bend + squares * (slope + curve * squares))

    def _parts(self, theta: Floats) -> tuple[Floats, float, float, float]:
        """Lengths, and the three variances; those of slope and curve are for points at the edge of
        every feature."""
        lengths = np.exp(theta[: self.features])
        bend, slope, curve = np.exp(2 * theta[self.features : self.features + 3]).tolist()
        edge = self.features * CENTRE**2
        return lengths, bend, self.trend * slope / edge, self.trend * curve / edge**2

    def _negative_log_posterior(
        self, theta: Floats, x: Floats, y: Floats, extra: Floats
    ) -> tuple[float, Floats]:
        """Value and gradient, up to a constant. Rasmussen and Williams, "Gaussian processes for
        machine learning", 2006, equations 5.8 and 5.9."""
        lengths, bend, slope, curve = self._parts(theta)
        count = len(y)
        z = x / lengths
        r = np.sqrt(_squared_distances(z, z))
        decay = np.exp(-ROOT5 * r)
        matern = bend * (1 + ROOT5 * r + 5 / 3 * r * r) * decay
        dots = (x - CENTRE) @ (x - CENTRE).T
        linear, quadratic = slope * dots, curve * dots * dots
        covariance = matern + linear + quadratic
        covariance[np.diag_indices(count)] += np.exp(theta[-1]) + NOISE_FLOOR + extra + JITTER
        try:
            lower = cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        weights = cho_solve((lower, True), y)
        inner = cho_solve((lower, True), np.eye(count)) - np.outer(weights, weights)
        # The derivative by the logarithm of length i is `pull` times the squared distance along i,
        # and its sum over all pairs needs no matrix of its own for each feature.
        pull = inner * (bend * 5 / 3 * (1 + ROOT5 * r) * decay)
        gradient = np.empty_like(theta)
        gradient[: self.features] = (z * z * pull.sum(axis=1)[:, None]).sum(axis=0)
        gradient[: self.features] -= (z * (pull @ z)).sum(axis=0)
        gradient[self.features] = (inner * matern).sum()
        gradient[self.features + 1] = (inner * linear).sum()
        gradient[self.features + 2] = (inner * quadratic).sum()
        gradient[self.features + 3] = 0.5 * np.trace(inner) * np.exp(theta[-1])
        away = (theta - self.mean) / self.spread
        value = 0.5 * y @ weights + np.log(np.diag(lower)).sum() + 0.5 * (away * away).sum()
        return float(value), gradient + away / self.spread


class Posterior:
    """A process that has seen observations."""

    def __init__(self, process: GaussianProcess, x: Floats, y: Floats, lower: Floats) -> None:
        self.process, self.x, self.y, self.lower = process, x, y, lower
        self.weights = cho_solve((lower, True), y)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function at points [m, F]: [m] and [m]."""
        covariance = self.process.covariance(x, self.x)
        mean = covariance @ self.weights
        solved = solve_triangular(self.lower, covariance.T, lower=True, check_finite=False)
        variance = self.process.variance(x) - (solved * solved).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def mean(self, x: Floats) -> Floats:
        """Of the function at points [m, F]: [m]."""
        return np.asarray(self.process.covariance(x, self.x) @ self.weights)

    def left_out(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation [n] of each observation as the others let expect it
        (Rasmussen and Williams, equation 5.12)."""
        inverse = cho_solve((self.lower, True), np.eye(len(self.y)))
        variance = 1 / np.diag(inverse)
        return self.y - self.weights * variance, np.sqrt(variance)


def _squared_distances(a: Floats, b: Floats) -> Floats:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.maximum(squares, 0.0, out=squares)
