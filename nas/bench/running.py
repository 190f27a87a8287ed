"""One sampler with one seed on a table, as the driver of a study would run it.

Asking goes ahead of telling by as many evaluations as there are workers; evaluations end in the
order of random durations that follow from the seed. A repeat is told the recorded values at once
and costs nothing, unless repeats are counted. A sampler that makes ``STUCK_AFTER`` proposals in a
row without a new row is helped with a uniform new one, as the driver does.
"""

import heapq
import time
from dataclasses import dataclass

import numpy as np

from nas.bench.table import Row, Table
from nas.driver.fallback import STUCK_AFTER
from nas.record import Proposal
from nas.samplers.base import Sampler
from nas.samplers.uniform import generator_of


@dataclass(frozen=True, slots=True)
class Rules:
    """How every arm is run."""

    evaluations: int
    workers: int = 1
    """Evaluations at once."""
    count_repeats: bool = False
    """Whether a repeat costs an evaluation; there is no help for a stuck sampler then."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run did."""

    sampler: str
    seed: int
    rows: tuple[int, ...]
    """The row of each evaluation, in the order in which they ended."""
    asked: tuple[int, ...]
    """Proposals made when each evaluation ended."""
    repeats: int
    """Proposals of a row that was evaluated, or running, already."""
    helped: int
    """Proposals made by uniform search since the sampler was stuck."""
    seconds: float
    """Spent in asking and telling."""


def run(name: str, sampler: Sampler[Row], table: Table, rules: Rules, seed: int) -> Trace:
    """Takes a fresh sampler through the evaluations."""
    return _Run(sampler, table, rules, seed).trace(name)


class NeverSkips:
    """What the peers share with the samplers of a study, and have no use for."""

    def skip(self, number: int) -> None:
        """A table does not change, so that no number goes without a row."""
        raise AssertionError(f"number {number} of a table was skipped")


class _Run:
    def __init__(self, sampler: Sampler[Row], table: Table, rules: Rules, seed: int) -> None:
        self.sampler = sampler
        self.table = table
        self.rules = rules
        self.seed = seed
        self.clock = 0.0
        """Simulated; the mean evaluation takes 1."""
        self.running: list[tuple[float, int, int]] = []
        """A heap of (when it ends, number of the proposal, row)."""
        self.waiting: dict[int, list[int]] = {}
        """Numbers of the repeats of a running row."""
        self.seen = np.zeros(len(table), dtype=bool)
        self.done: list[int] = []
        self.asked: list[int] = []
        self.asks = self.repeats = self.helped = self.without_news = 0
        self.seconds = 0.0

    def trace(self, name: str) -> Trace:
        while self._start() or self.running:
            self._finish()
        return Trace(
            sampler=name,
            seed=self.seed,
            rows=tuple(self.done),
            asked=tuple(self.asked),
            repeats=self.repeats,
            helped=self.helped,
            seconds=self.seconds,
        )

    def _start(self) -> bool:
        """Keeps the workers busy; whether anything was started."""
        before = len(self.running)
        while len(self.running) < self.rules.workers and not self._spent():
            number, row = self._help() if self._stuck() else self._ask()
            self.asks += 1
            is_news = not self.seen[row]
            self.without_news = 0 if is_news else self.without_news + 1
            self.repeats += not is_news
            self.seen[row] = True
            if is_news or self.rules.count_repeats:
                self._evaluate(number, row)
            elif row in self.waiting:
                self.waiting[row].append(number)
            else:
                self._tell(number, row)
        return len(self.running) > before

    def _spent(self) -> bool:
        started = len(self.done) + len(self.running)
        exhausted = bool(self.seen.all()) and not self.rules.count_repeats
        return started >= self.rules.evaluations or exhausted

    def _stuck(self) -> bool:
        return self.without_news >= STUCK_AFTER and not self.rules.count_repeats

    def _ask(self) -> tuple[int, int]:
        started = time.perf_counter()
        proposal, row = self.sampler.ask()
        self.seconds += time.perf_counter() - started
        return proposal.number, row.index

    def _help(self) -> tuple[int, int]:
        left = np.flatnonzero(~self.seen)
        row = int(generator_of(self.seed, self.asks, "fallback").choice(left))
        proposal = Proposal(
            number=self.asks,
            answers=self.table.answers_of(Row(row)),
            proposer="uniform",
            fallback=f"{STUCK_AFTER} proposals in a row without a new row",
        )
        self.sampler.replay(proposal)
        self.helped += 1
        return proposal.number, row

    def _evaluate(self, number: int, row: int) -> None:
        duration = generator_of(self.seed, number, "duration").uniform(0.5, 1.5)
        heapq.heappush(self.running, (self.clock + duration, number, row))
        self.waiting.setdefault(row, [])

    def _finish(self) -> None:
        """Tells of the evaluation that ends first, and of the repeats that waited for it."""
        self.clock, number, row = heapq.heappop(self.running)
        self.done.append(row)
        self.asked.append(self.asks)
        for told in (number, *self.waiting.pop(row, ())):
            self._tell(told, row)

    def _tell(self, number: int, row: int) -> None:
        started = time.perf_counter()
        self.sampler.tell(number, self.table.values[row].tolist(), 0.0)
        self.seconds += time.perf_counter() - started
