"""What the ledger says about one proxy. Torch-free and numpy-free: it is also the wire format.

In every coefficient +1 is perfect: the proxy puts the trials in the order of the reference.
"""

from typing import Literal, TypeAlias

from nas.search_spaces.base import Model

Verdict: TypeAlias = Literal["promote", "demoted", "unknown"]
Outcome: TypeAlias = Literal["beat", "did not beat", "too few to say"]


class Interval(Model):
    """A coefficient, and where it lies with 95 % confidence over other draws of as many trials."""

    value: float
    low: float | None = None
    """None where there are too few trials for an interval."""
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f}..{self.high:.2f})"


class Agreement(Model):
    """How far a proxy orders trials as the reference does."""

    trials: int
    """Trials that have both."""
    kendall: Interval | None
    """Kendall's tau-b over all of the trials."""
    spearman: Interval | None
    """Spearman's rho over all of the trials."""
    top: Interval | None
    """Spearman's rho among the best fifth by the reference."""
    top_trials: int
    """Trials in the best fifth."""
    at_equal_params: Interval | None
    """Partial Spearman correlation: what is left of the two rankings after a quadratic in the rank
    of the parameter count is taken from each."""
    over_params: Interval | None
    """Kendall's tau-b less that of the parameter count on the same trials."""
    absent: dict[str, str] = {}
    """Why a coefficient is absent, or is given without an interval, by its name."""


class Judgement(Model):
    """Whether a proxy may decide which candidates go on to a dearer stage."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """In words, the decisive one first."""
    alarms: tuple[str, ...] = ()
    """Orders that turn round."""
