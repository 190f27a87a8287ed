"""A Gaussian process for few, dear observations.

The covariance of two points is a Matérn 5/2 with a length for each feature plus a linear part,
which carries what simply adds up: in spaces of architectures most of a loss does. Hyperparameters
are the mode of their posterior (a log-normal prior on each keeps fits to a handful of points sane),
found by L-BFGS with analytic gradients. scikit-learn's regressor has no priors and no noise per
observation, and forms a matrix for each length and step.

n observations, m points, F features
"""

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from nas.pareto import Floats

ROOT5 = 5**0.5
JITTER = 1e-8
LENGTH_SPREAD = 1.0
"""Standard deviation of the logarithm of a length. Its mean grows with the root of F, as distances
do (Hvarfner et al., "Vanilla Bayesian optimization performs great in high dimensions", 2024)."""
PRIORS = {"bend": (0.0, 1.0), "slope": (np.log(0.5), 1.0), "noise": (np.log(1e-3), 2.0)}
"""Mean and deviation of the logarithms of the two amplitudes and of the variance of the noise,
for observations scaled to mean 0 and deviation 1."""
NOISE_FLOOR = 1e-6
BOUNDS = {"length": (-4.0, 6.0), "bend": (-4.0, 3.0), "slope": (-5.0, 3.0), "noise": (-13.8, 1.0)}


class GaussianProcess:
    """Hyperparameters stand in one vector: F lengths, bend, slope, noise; all as logarithms."""

    def __init__(self, features: int, *, linear: bool = True) -> None:
        """Without `linear`, there is a Matérn alone."""
        self.features = features
        self.linear = float(linear)
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
        lengths, bend, slope = self._parts(self.theta)
        r = np.sqrt(_squared_distances(a / lengths, b / lengths))
        matern = bend * (1 + ROOT5 * r + 5 / 3 * r * r) * np.exp(-ROOT5 * r)
        return np.asarray(matern + slope * (a @ b.T))

    def variance(self, x: Floats) -> Floats:
        """Of the function at points [m, F], before any observation: [m]."""
        _, bend, slope = self._parts(self.theta)
        return np.asarray(bend + slope * (x * x).sum(axis=1))

    def _parts(self, theta: Floats) -> tuple[Floats, float, float]:
        lengths = np.exp(theta[: self.features])
        bend, slope = np.exp(2 * theta[self.features : self.features + 2])
        return lengths, float(bend), float(slope) * self.linear / self.features

    def _negative_log_posterior(
        self, theta: Floats, x: Floats, y: Floats, extra: Floats
    ) -> tuple[float, Floats]:
        """Value and gradient, up to a constant. Rasmussen and Williams, "Gaussian processes for
        machine learning", 2006, equations 5.8 and 5.9."""
        lengths, bend, slope = self._parts(theta)
        count = len(y)
        z = x / lengths
        r = np.sqrt(_squared_distances(z, z))
        decay = np.exp(-ROOT5 * r)
        matern = bend * (1 + ROOT5 * r + 5 / 3 * r * r) * decay
        linear = slope * (x @ x.T)
        covariance = matern + linear
        covariance[np.diag_indices(count)] += np.exp(theta[-1]) + NOISE_FLOOR + extra + JITTER
        inverse, log_root = _inverted(covariance)
        if inverse is None:
            return 1e10, np.zeros_like(theta)
        weights = inverse @ y
        inner = inverse - np.outer(weights, weights)
        # The derivative by the logarithm of length i is `pull` times the squared distance along i,
        # and its sum over all pairs needs no matrix of its own for each feature.
        pull = inner * (bend * 5 / 3 * (1 + ROOT5 * r) * decay)
        gradient = np.empty_like(theta)
        gradient[: self.features] = (z * z * pull.sum(axis=1)[:, None]).sum(axis=0)
        gradient[: self.features] -= (z * (pull @ z)).sum(axis=0)
        gradient[self.features] = (inner * matern).sum()
        gradient[self.features + 1] = (inner * linear).sum()
        gradient[self.features + 2] = 0.5 * np.trace(inner) * np.exp(theta[-1])
        away = (theta - self.mean) / self.spread
        value = 0.5 * y @ weights + log_root + 0.5 * (away * away).sum()
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


def _inverted(matrix: Floats) -> tuple[Floats | None, float]:
    """The inverse of a symmetric matrix [n, n] and the logarithm of the root of its determinant;
    None where the matrix is not positive definite. Of the few ways to it this calls LAPACK most
    directly: a fit does it hundreds of times, and for small matrices checks would take longer."""
    lower, failed = dpotrf(matrix, lower=True, clean=True, overwrite_a=True)
    if failed:
        return None, 0.0
    log_root = float(np.log(lower.diagonal()).sum())
    half, _ = dpotri(lower, lower=True, overwrite_c=True)
    inverse = half + half.T
    inverse[np.diag_indices(len(half))] *= 0.5
    return inverse, log_root


def _squared_distances(a: Floats, b: Floats) -> Floats:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.maximum(squares, 0.0, out=squares)
