"""What a study may spend, and what it has spent: the one place that decides."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nas.spending import Cost, Spending
from nas.study import Budget, StudySpec


class Needs(NamedTuple):
    """Training tokens that are known before anything runs."""

    candidate: int = 0
    """Of one candidate that goes all the way."""
    confirm: int = 0
    """Of all further seeds that are asked for; kept back for them."""


def needs_of(spec: StudySpec) -> Needs:
    """The needs of a study."""
    return Needs(spec.candidate_tokens, spec.confirm_tokens)


class BudgetKeeper:
    """Counts evaluated trials, seconds, and tokens and operations of training over all runs of a
    study.

    What is running is counted as if it went all the way, so several workers spend no more than one.
    A candidate starts only if its tokens, which are the same for all, are left; operations differ
    between candidates, and one starts while any are left.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        trials: int,
        seconds: float,
        needs: Needs = Needs(),  # noqa: B008 - immutable
        spendings: Sequence[Spending] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.trials = trials
        """Evaluations begun, whatever became of them; repeats and rejected proposals are free."""
        self._needs = needs
        self._trained = Cost()
        self._of_trials = Cost()
        self._trials_that_trained = 0
        self._held: dict[str, Cost] = {}
        for spending in spendings:
            self.book(spending)
        self._clock = clock
        self._seconds = seconds
        self._since = clock()
        self._saved = self._since

    @property
    def seconds(self) -> float:
        """Time running, this run included."""
        return self._seconds + self._clock() - self._since

    @property
    def trials_text(self) -> str:
        """How many trials, of how many."""
        of = "" if self.budget.trials is None else f" of {self.budget.trials}"
        return f"{self.trials}{of} trials"

    def begin(self) -> None:
        """An evaluation starts."""
        self.trials += 1

    def give_back(self) -> None:
        """An evaluation was abandoned; it will be made again."""
        self.trials -= 1

    def hold(self, key: str, cost: Cost) -> None:
        """Keeps back what something that starts now may spend on training."""
        self._held[key] = cost

    def release(self, key: str) -> None:
        """It has ended; what it spent is booked."""
        self._held.pop(key, None)

    def book(self, spending: Spending) -> None:
        """What an evaluation spent."""
        self._trained = _plus(self._trained, spending)
        if spending.number >= 0 and spending.repeat == 0:
            self._of_trials = _plus(self._of_trials, spending)
            self._trials_that_trained += 1

    def spent(self) -> str | None:
        """Why no further evaluation may start, or None while one may."""
        if self.budget.trials is not None and self.trials >= self.budget.trials:
            return f"all {self.budget.trials} trials are evaluated"
        if self.is_out_of_time:
            done = self.trials_text
            return f"{self.budget.minutes:g} minutes are over, with {done} evaluated"
        return self._tokens_spent() or self._flops_spent()

    def has_room(self, cost: Cost) -> bool:
        """Whether something beside the trials, of this cost, may start; nothing is kept back for
        others."""
        tokens, flops = self._committed
        most_tokens, most_flops = self.budget.total_train_tokens, self.budget.total_train_flops
        return (most_tokens is None or tokens + cost.tokens <= most_tokens) and (
            most_flops is None or flops + cost.flops <= most_flops
        )

    @property
    def is_out_of_time(self) -> bool:
        """Whether the wall clock of the study is over."""
        minutes = self.budget.minutes
        return minutes is not None and self.seconds >= 60 * minutes

    def take_unsaved(self, at_least: float = 0.0) -> float:
        """Seconds since the last call, to be added to the store; 0 where they are too few yet."""
        now = self._clock()
        passed = now - self._saved
        if passed < at_least:
            return 0.0
        self._saved = now
        return passed

    @property
    def _committed(self) -> Cost:
        """What is spent, and what is running may spend."""
        held = self._held.values()
        return Cost(
            self._trained.tokens + sum(cost.tokens for cost in held),
            self._trained.flops + sum(cost.flops for cost in held),
        )

    def _tokens_spent(self) -> str | None:
        most, needs = self.budget.total_train_tokens, self._needs
        if most is None or self._committed.tokens + needs.candidate + needs.confirm <= most:
            return None
        done = f"{self._trained.tokens:,} of {most:,} training tokens are spent"
        return f"{done} in {self.trials_text}, and a candidate takes {needs.candidate:,}"

    def _flops_spent(self) -> str | None:
        most = self.budget.total_train_flops
        if most is None or self._committed.flops + self._kept_flops < most:
            return None
        done = f"{self._trained.flops:.3g} of {most:.3g} training FLOPs are spent"
        return f"{done} in {self.trials_text}"

    @property
    def _kept_flops(self) -> float:
        """For further seeds, if they cost what trials cost so far; half of the budget at most, so
        that a search is left."""
        if not self._trials_that_trained:
            return 0.0
        usual = self._of_trials.flops / self._trials_that_trained
        wanted = usual * self._needs.confirm / self._needs.candidate
        return min(wanted, (self.budget.total_train_flops or 0.0) / 2)


def _plus(cost: Cost, spending: Spending) -> Cost:
    return Cost(cost.tokens + spending.train_tokens, cost.flops + spending.train_flops)
