"""Who may go on, from numbers alone."""

import random
from math import floor

import numpy as np
import pytest

from nas.driver.promotion import Halving, Step, best_of
from nas.driver.stopping import bracket_of
from nas.study import StudySpec
from tests.study.test_deciding import LATENCY, LONG, SHORT, study

LONGER = {"kind": "train", "tokens": 2000}
SPEC = study([LATENCY, SHORT, LONGER, LONG], objectives=[{"metric": "text.loss"}])


def halving(keep=1 / 3):
    return Halving(SPEC.deciding, keep)


def reach(table, number, value, rung=0, *, passes=False):
    table.reach(number, rung, (value,), passes=passes)


def test_a_third_of_those_at_a_rung_may_go_on_the_best_first():
    table = halving()
    for number, value in enumerate([3.0, 1.0]):
        reach(table, number, value)
        assert table.next() is None, "a third of two is nobody"
    reach(table, 2, 2.0)
    assert table.next() == Step(1, 0)
    table.go_on(1)
    assert table.next() is None
    for number, value in ((3, 9.0), (4, 8.0), (5, 7.0)):
        reach(table, number, value)
    assert table.next() == Step(2, 0), "the second best of six, stopped long ago"


def test_the_highest_rung_comes_first():
    table = halving(keep=0.5)
    for number in range(4):
        reach(table, number, float(number))
    for number in (0, 1):
        reach(table, number, float(number), rung=1)
    reach(table, 4, -1.0)
    assert table.next() == Step(0, 1)
    table.go_on(0)
    assert table.next() == Step(4, 0)


def test_who_passes_goes_on_whatever_it_reached_and_counts_among_the_others():
    table = halving()
    reach(table, 0, 9.0, passes=True)
    assert table.next() == Step(0, 0)
    table.go_on(0)
    for number in (1, 2):
        reach(table, number, float(number))
    assert table.next() == Step(1, 0), "one of three, of which one passed"


def test_a_trial_that_cannot_be_compared_is_not_counted():
    table = halving()
    table.reach(0, 0, (None,), passes=True)
    table.go_on(0)
    for number in (1, 2):
        reach(table, number, 1.0)
    assert table.next() is None


def test_at_the_end_one_of_each_rung_goes_on_however_few_there_are():
    table = halving()
    reach(table, 0, 5.0)
    reach(table, 1, 4.0)
    assert table.next() is None
    assert table.next(at_least=1) == Step(1, 0)
    table.go_on(1)
    assert table.next(at_least=1) is None
    reach(table, 1, 4.0, rung=1)
    assert table.next(at_least=1) == Step(1, 1)


@pytest.mark.parametrize("keep", [0.1, 1 / 3, 0.5, 0.9])
def test_the_share_is_exact_at_every_size(keep):
    for n in range(1, 31):
        table = halving(keep)
        for number in range(n):
            reach(table, number, float(number))
        gone = 0
        while step := table.next():
            table.go_on(step.number)
            gone += 1
        assert gone == floor(round(n * keep, 6))


def test_with_several_objectives_the_front_goes_first_and_its_gaps_before_its_crowd():
    values = [(0.0, 10.0), (10.0, 0.0), (5.0, 5.0), (4.9, 5.1), (1.0, 9.0), (11.0, 11.0)]
    numbers = [10, 11, 12, 13, 14, 15]
    chosen = best_of(numbers, values, ("minimize", "minimize"), 6)
    assert chosen[:2] == [10, 11]
    assert chosen[-1] == 15, "dominated by all"
    assert best_of(numbers, values, ("minimize", "minimize"), 3) == chosen[:3]
    flipped = [(-a, b) for a, b in values]
    assert best_of(numbers, flipped, ("maximize", "minimize"), 6) == chosen


def test_the_best_do_not_depend_on_the_order_in_which_trials_came():
    generator = random.Random(0)
    values = {number: (generator.random(), generator.choice([0.0, 1.0])) for number in range(30)}
    directions = ("minimize", "minimize")
    expected = best_of(list(values), list(values.values()), directions, 10)
    for _ in range(5):
        shuffled = list(values.items())
        generator.shuffle(shuffled)
        found = best_of([n for n, _ in shuffled], [v for _, v in shuffled], directions, 10)
        assert found == expected


def test_an_objective_that_nothing_speaks_for_is_left_out():
    values = [(1.0, None), (0.5, None), (2.0, None)]
    assert best_of([0, 1, 2], values, ("minimize", "minimize"), 2) == [1, 0]


def test_brackets_are_drawn_with_the_shares_of_hyperband_from_seed_and_number():
    spec = SPEC.model_copy(update={"promotion": SPEC.promotion.model_copy(update={"brackets": 3})})
    drawn = [bracket_of(spec, number) for number in range(3000)]
    assert drawn == [bracket_of(spec, number) for number in range(3000)]
    shares = np.bincount(drawn) / len(drawn)
    expected = np.array([9.0, 3 / 2 * 3.0, 3.0])
    assert shares == pytest.approx(expected / expected.sum(), abs=0.03)
    other = spec.model_copy(update={"seed": 1})
    assert [bracket_of(other, number) for number in range(3000)] != drawn
    assert isinstance(spec, StudySpec)
    assert {bracket_of(SPEC, number) for number in range(50)} == {0}
