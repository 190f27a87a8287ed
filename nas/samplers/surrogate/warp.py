"""Scales on which a cost may be more even than in its own units.

Losses pile up near the best and run far out on the other side; a process with one covariance for
all of the space then sees either the many or the few. A logarithm above the best brings both into
sight. Whether it does is decided by the observations (Snelson et al., "Warped Gaussian processes",
2003), see ``model.Surface``.
"""

from typing import NamedTuple

import numpy as np

from nas.pareto import Floats

BEND = 0.5
"""Distance from the best at which the scale bends, relative to that of the median."""


class Warp(NamedTuple):
    """z = log(1 + (y - best) / bend) above the best, and straight on below, where a logarithm would
    rule out that anything is much better. Straight throughout where `bend` is infinite."""

    best: float
    bend: float

    def __call__(self, y: Floats) -> Floats:
        if not np.isfinite(self.bend):
            return y
        u = (y - self.best) / self.bend
        return np.where(u > 0, np.log1p(np.maximum(u, 0.0)), u)

    def back(self, z: Floats) -> Floats:
        """The opposite."""
        if not np.isfinite(self.bend):
            return z
        return np.asarray(self.best + self.bend * np.where(z > 0, np.expm1(np.maximum(z, 0.0)), z))

    def log_slope(self, y: Floats) -> Floats:
        """The logarithm of dz/dy."""
        if not np.isfinite(self.bend):
            return np.zeros_like(y)
        above = np.maximum((y - self.best) / self.bend, 0.0)
        return np.asarray(-np.log(self.bend) - np.log1p(above))


STRAIGHT = Warp(0.0, np.inf)


def warps_for(y: Floats) -> list[Warp]:
    """Those that are worth trying on observations [n]."""
    best, middle = float(y.min()), float(np.median(y))
    if middle <= best:
        return [STRAIGHT]
    return [STRAIGHT, Warp(best, BEND * (middle - best))]
