"""What costs an evaluation, who helps a stuck sampler, and what simulated workers see."""

from collections.abc import Iterable, Sequence

from nas.bench.arms import make_arm
from nas.bench.figures import curve, estimate, figures
from nas.bench.running import Rules, Trace, run
from nas.bench.table import Row, Table
from nas.driver.fallback import STUCK_AFTER
from nas.record import Proposal
from tests.support.benchtable import table, wide


class Scripted:
    """Proposes given rows, the last one for ever, and keeps a log."""

    name = "scripted"

    def __init__(self, space: Table, rows: Iterable[int]) -> None:
        self.space = space
        self.rows = list(rows)
        self.next = 0
        self.log: list[tuple[str, int]] = []
        """("ask" or "tell" or "replay", number)"""

    def ask(self) -> tuple[Proposal, Row]:
        row = Row(self.rows[min(self.next, len(self.rows) - 1)])
        answers = self.space.answers_of(row)
        proposal = Proposal(number=self.next, answers=answers, proposer=self.name)
        self.log.append(("ask", self.next))
        self.next += 1
        return proposal, row

    def tell(
        self, number: int, values: Sequence[float] | None, violation: float, rung: int | None = None
    ) -> None:
        self.log.append(("tell", number))

    def replay(self, proposal: Proposal) -> None:
        assert proposal.number == self.next
        self.log.append(("replay", self.next))
        self.next += 1


def trace(rows: Sequence[int], asked: Sequence[int] | None = None) -> Trace:
    numbers = tuple(asked or range(1, len(rows) + 1))
    return Trace("scripted", 0, tuple(rows), numbers, repeats=0, helped=0, seconds=0.0)


def test_a_repeat_is_told_at_once_and_costs_nothing() -> None:
    sampler = Scripted(table(), [3, 3, 5, 3, 7])
    done = run("scripted", sampler, table(), Rules(3), 0)
    assert done.rows == (3, 5, 7)
    assert done.asked == (1, 3, 5)
    assert done.repeats == 2
    assert [number for what, number in sampler.log if what == "tell"] == [0, 1, 2, 3, 4]


def test_a_repeat_costs_an_evaluation_where_repeats_are_counted() -> None:
    sampler = Scripted(table(), [3, 3, 5, 3, 7])
    done = run("scripted", sampler, table(), Rules(4, count_repeats=True), 0)
    assert done.rows == (3, 3, 5, 3)
    assert done.repeats == 2


def test_a_stuck_sampler_gets_uniform_new_rows_and_they_are_counted() -> None:
    sampler = Scripted(table(), [3])
    done = run("scripted", sampler, table(), Rules(3), 0)
    assert done.rows[0] == 3
    assert len(set(done.rows)) == 3
    assert done.helped == 2
    assert done.asked == (1, STUCK_AFTER + 2, 2 * STUCK_AFTER + 3)
    assert ("replay", STUCK_AFTER + 1) in sampler.log


def test_a_stuck_sampler_gets_no_help_where_repeats_are_counted() -> None:
    done = run("scripted", Scripted(table(), [3]), table(), Rules(50, count_repeats=True), 0)
    assert done.rows == (3,) * 50
    assert done.helped == 0


def test_the_whole_table_can_be_evaluated() -> None:
    grid = table()
    done = run("scripted", Scripted(grid, [3]), grid, Rules(len(grid)), 0)
    assert sorted(done.rows) == list(range(len(grid)))
    assert figures(grid, done, len(grid)).hypervolume == 1.0


def test_workers_are_asked_ahead_and_end_in_another_order() -> None:
    grid = wide()
    sampler = Scripted(grid, range(60))
    done = run("scripted", sampler, grid, Rules(40, workers=4), 1)
    assert [what for what, _ in sampler.log[:5]] == ["ask"] * 4 + ["tell"]
    waiting = 0
    for what, _ in sampler.log:
        waiting += 1 if what == "ask" else -1
        assert 0 <= waiting <= 4
    assert sorted(done.rows) == list(range(40))
    assert done.rows != tuple(range(40))
    assert done == run_again(grid, done)


def run_again(grid: Table, done: Trace) -> Trace:
    again = run("scripted", Scripted(grid, range(60)), grid, Rules(40, workers=4), 1)
    return Trace(**{**fields(again), "seconds": done.seconds})


def fields(done: Trace) -> dict[str, object]:
    return {name: getattr(done, name) for name in Trace.__slots__}


def test_a_repeat_of_a_running_row_is_told_when_that_ends() -> None:
    sampler = Scripted(table(), [3, 3, 3, 5, 7])
    done = run("scripted", sampler, table(), Rules(3, workers=2), 0)
    told = [number for what, number in sampler.log if what == "tell"]
    assert sorted(told) == [0, 1, 2, 3, 4]
    assert told.index(1) == told.index(0) + 1
    assert sampler.log[:4] == [("ask", 0), ("ask", 1), ("ask", 2), ("ask", 3)]
    assert done.repeats == 2


def test_figures_are_exact_on_a_grid() -> None:
    grid = table()
    slow, gated = (grid.row_of({"width": 1, "kind": k}).index for k in ("slow", "gated"))
    plain_8, gated_8 = (grid.row_of({"width": 8, "kind": k}).index for k in ("plain", "gated"))
    front = {tuple(grid.values[row].tolist()) for row in grid.front}
    assert front == {(1, 1), (2, 2), (3, 3), (4, 4), (6, 5), (8, 8), (12, 9)}
    seen = trace([slow, gated, plain_8, gated_8], asked=[1, 2, 5, 8])
    # a gated width of 1 is beaten by a plain one of 2, which was not seen
    half = figures(grid, seen, 3)
    assert (half.precision, half.recall, half.unique) == (1 / 2, 1 / 7, 3 / 5)
    whole = figures(grid, seen, 4)
    assert (whole.precision, whole.recall, whole.unique) == (2 / 3, 2 / 7, 4 / 8)


def test_a_curve_agrees_with_the_figures_and_never_falls() -> None:
    grid = wide()
    done = run("uniform", make_arm("uniform", grid, Rules(60), 3), grid, Rules(60), 3)
    shares = curve(grid, done, [5, 20, 60]).tolist()
    assert shares == [figures(grid, done, place).hypervolume for place in (5, 20, 60)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_an_estimate_holds_its_mean_and_is_the_same_each_time() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0])
    assert found.low is not None
    assert found.high is not None
    assert 1.0 <= found.low < found.mean == 2.5 < found.high <= 4.0
    assert found == estimate([1.0, 2.0, 3.0, 4.0])
    alone = estimate([2.0])
    assert (alone.mean, alone.low, alone.high) == (2.0, None, None)
