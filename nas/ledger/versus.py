"""Did one arm of a study reach more than another, trial for trial?

The larger arm is cut down to as many trials as the smaller one has, drawn without replacement, many
times over; each time the hypervolumes are compared. A volume is measured as the share of a fixed
set of random points that is dominated, so that the work grows only linearly with the number of
objectives. If both arms were drawn from one distribution, the share of draws that the first arm
wins would be as likely high as low, so that a share of 95 % comes by chance once in twenty times.
Where the arms are of like size, both are cut down to a quarter of the larger one: else the draws
would all be the same, and look like certainty.

N trials, M objectives
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas.ledger.results import Outcome
from nas.pareto import Floats

Bits: TypeAlias = NDArray[np.uint8]

RESAMPLES = 500
POINTS = 4096
"""Random points with which volume is measured: to about one part in a hundred."""
LEAST = 5
"""Trials in a draw, below which nothing is said."""
LARGER = 4
"""Times as many trials as in a draw that one of the arms must have."""
SURE = 0.95


class Versus(NamedTuple):
    """One arm against another at equal numbers of evaluated trials."""

    verdict: Outcome
    text: str
    """The verdict with its numbers."""
    trials: int
    """Of each arm in each draw."""
    volume: float | None = None
    """Mean hypervolume of the first arm, as a share of that of both arms together."""
    other_volume: float | None = None
    share: float | None = None
    """Of the draws in which the first arm reaches more; a tie counts as half."""


def versus(costs: Floats, others: Floats, reference: Floats, *, seed: int) -> Versus:
    """Compares `costs` [N, M] with `others` [N', M], both small is better, each a row for every
    evaluated trial; a row of NaN is a trial that failed or broke a limit. `reference` [M] is the
    corner up to which volume is counted."""
    sizes = (len(costs), len(others))
    trials = min(*sizes, max(sizes) // LARGER)
    if trials < LEAST:
        needed = f"{LEAST} are needed, and {LARGER * LEAST} of one of them"
        text = f"too few to say: {sizes[0]} evaluated trials against {sizes[1]}; {needed}"
        return Versus("too few to say", text, trials)
    random = np.random.default_rng(seed)
    dominated = _dominated(np.concatenate([costs, others]), reference, random)
    whole = _volume(dominated)
    if whole == 0:
        text = f"too few to say: no trial is better than {reference.tolist()} in every objective"
        return Versus("too few to say", text, trials)
    arms = (dominated[: sizes[0]], dominated[sizes[0] :])
    one, other = (_volumes(arm, trials, random) / whole for arm in arms)
    share = float((one > other).mean() + (one == other).mean() / 2)
    verdict = _verdict(share)
    text = (
        f"{verdict}: {trials} of its trials reach {one.mean():.1%} of all volume found, {trials} "
        f"of the control {other.mean():.1%}; it is ahead in {share:.0%} of the draws, and "
        f"{SURE:.0%} would be sure"
    )
    return Versus(verdict, text, trials, float(one.mean()), float(other.mean()), share)


def _verdict(share: float) -> Outcome:
    if share >= SURE:
        return "beat"
    return "did not beat" if share < 0.5 else "too few to say"


def _dominated(costs: Floats, reference: Floats, random: np.random.Generator) -> Bits:
    """[N, POINTS / 8] one bit for each random point between the best that was seen and the
    reference: whether a trial is better than it."""
    complete = costs[~np.isnan(costs).any(axis=1)]
    low = complete.min(axis=0) if len(complete) else reference
    points = low + (reference - low) * random.random((POINTS, len(reference)))
    rows = [np.packbits((cost < points).all(axis=1)) for cost in costs]
    return np.array(rows)


def _volumes(dominated: Bits, trials: int, random: np.random.Generator) -> Floats:
    if trials == len(dominated):
        return np.full(RESAMPLES, _volume(dominated))
    drawn = (random.choice(len(dominated), trials, replace=False) for _ in range(RESAMPLES))
    return np.array([_volume(dominated[rows]) for rows in drawn])


def _volume(dominated: Bits) -> float:
    """The share of the points that any of the trials is better than."""
    return float(np.unpackbits(np.bitwise_or.reduce(dominated, axis=0)).mean())
