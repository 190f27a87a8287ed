"""How sure a front is: against frequencies, against a slow count, and from recorded trials."""

from datetime import UTC, datetime
from math import inf, sqrt

import numpy as np
import pytest

from nas.doubt import (
    LEAST_DRAWS,
    Column,
    Error,
    columns_of,
    probabilities,
    run_deviation,
)
from nas.driver.confirm import with_repeat
from nas.fronts import doubt_of, front_of
from nas.pareto import front
from nas.record import Measurement, TrialRecord
from nas.service import Service
from nas.settings import Settings
from tests.study.test_confirm import Noisy, study
from tests.study.test_driver import drive, new_store

MIN2 = ("minimize", "minimize")


def column(deviations, freedom=inf, *, shared=False):
    return Column(tuple(Error(float(d), freedom, "seeds") for d in deviations), shared)


def exact(count):
    return column([0.0] * count)


# The count ---------------------------------------------------------------------------------------


def test_the_probabilities_are_the_frequencies_with_which_truly_best_points_were_reported():
    """Many studies with known true values: among the points that were reported with about the same
    probability, that share is truly on the front."""
    random = np.random.default_rng(3)
    reported, true = [], []
    for _ in range(80):
        truth = random.uniform(0, 1, (25, 2))
        deviation, freedom = 0.05, 8
        estimate = deviation * sqrt(random.chisquare(freedom) / freedom)
        runs = np.where(random.random(25) < 0.3, 3, 1)
        seen = truth.copy()
        seen[:, 0] += random.standard_normal(25) * deviation / np.sqrt(runs)
        columns = [column(estimate / np.sqrt(runs), freedom, shared=True), exact(25)]
        found, _ = probabilities(seen, columns, MIN2, seed=0, draws=400)
        reported.append(found)
        true.append(front(truth, MIN2))
    reported, true = np.array(reported).ravel(), np.array(true).ravel()
    for low, high in ((0.02, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.98)):
        inside = (reported >= low) & (reported < high)
        count, expected = int(inside.sum()), float(reported[inside].mean())
        # Three and a half standard errors of a binomial share; points of one study are not
        # independent, which the half allows for.
        bound = 3.5 * sqrt(expected * (1 - expected) / count)
        assert count >= 25
        assert abs(float(true[inside].mean()) - expected) < bound


def test_the_share_is_that_of_a_slow_count_in_any_number_of_objectives():
    for objectives in (1, 2, 3, 4):
        random = np.random.default_rng(objectives)
        values = random.uniform(0, 1, (30, objectives))
        columns = [column(random.uniform(0, 0.2, 30)) for _ in range(objectives)]
        directions = ("minimize", "maximize", "minimize", "maximize")[:objectives]
        found, draws = probabilities(values, columns, directions, seed=1)
        errors = np.array([[error.deviation for error in each.errors] for each in columns]).T
        other = np.random.default_rng(99)
        slow = np.mean(
            [
                front(values + errors * other.standard_normal(values.shape), directions)
                for _ in range(800)
            ],
            axis=0,
        )
        # both counts are random: the standard error of their difference is 0.021 at most
        assert draws == 2000
        assert np.abs(found - slow).max() < 4.5 * sqrt(0.25 / 2000 + 0.25 / 800)
        assert slow.max() > 0.3 > 0.1 > slow.min()


def test_what_is_exact_is_on_the_front_or_is_not_and_equal_points_both_are():
    values = [[1.0, 3.0], [1.0, 3.0], [2.0, 2.0], [2.0, 4.0], [1.0, 4.0]]
    found, _ = probabilities(np.array(values), [exact(5), exact(5)], MIN2, seed=0)
    assert found.tolist() == [1, 1, 1, 0, 0]


def test_two_equal_candidates_share_the_front():
    found, _ = probabilities(np.array([[1.0], [1.0]]), [column([0.1, 0.1])], ["minimize"], seed=0)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(0.5, abs=4 * sqrt(0.25 / 2000))


def test_a_deviation_that_rests_on_few_seeds_leaves_more_doubt():
    values, means = np.array([[1.0], [1.2]]), {}
    for freedom in (1, 1000):
        errors = column([0.1, 0.1], freedom, shared=True)
        means[freedom] = probabilities(values, [errors], ["minimize"], seed=0)[0][1]
    # P(t > 0.2 / (0.1 sqrt 2)) for Student's t
    assert means[1000] == pytest.approx(0.0787, abs=0.025)
    assert means[1] == pytest.approx(0.196, abs=0.036)


def test_the_same_seed_gives_the_same_shares_and_another_seed_others():
    values = np.random.default_rng(0).uniform(0, 1, (20, 2))
    columns = [column([0.1] * 20), exact(20)]
    first, again, other = (probabilities(values, columns, MIN2, seed=s)[0] for s in (4, 4, 5))
    assert (first == again).all()
    assert (first != other).any()
    assert np.abs(first - other).max() < 0.08


def test_a_large_front_of_many_points_gets_fewer_draws():
    values = np.random.default_rng(0).uniform(0, 1, (600, 6))
    found, draws = probabilities(values, [exact(600)] * 6, ["minimize"] * 6, seed=0)
    assert LEAST_DRAWS <= draws < 2000
    assert (found == front(values, ["minimize"] * 6)).all()


# What is known of the errors ---------------------------------------------------------------------


def record(number, *measurements):
    return TrialRecord(
        study="s",
        number=number,
        architecture=f"{number:012x}",
        answers={},
        state="complete",
        proposer="test",
        measurements=measurements,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=1.0,
    )


def loss(value):
    return Measurement(metric="text.loss", value=value, unit="nats", stage="train")


def seeded(number, *values):
    measured = (loss(values[0]),)
    for repeat, value in enumerate(values[1:], start=1):
        measured = with_repeat(measured, (loss(value),), repeat)
    return record(number, *measured)


def test_the_deviation_of_a_run_is_pooled_over_candidates_with_seeds():
    records = [seeded(0, 1.0, 3.0), seeded(1, 5.0), seeded(2, 2.0, 2.0, 5.0)]
    # squares about the means: 2 and 6, with 1 and 2 degrees of freedom
    assert run_deviation(records, "text.loss") == (pytest.approx(sqrt(8 / 3)), 3)
    (found,), unknown = columns_of(records, ["text.loss"])
    assert unknown == []
    assert found.shared
    deviations = [error.deviation for error in found.errors]
    assert deviations == pytest.approx([sqrt(8 / 3 / n) for n in (2, 1, 3)])
    assert [error.source for error in found.errors] == ["seeds", "other seeds", "seeds"]
    assert {error.freedom for error in found.errors} == {3}


def test_a_timing_has_the_standard_error_of_its_median():
    """Against medians of simulated runs."""
    random = np.random.default_rng(5)
    runs = random.normal(10.0, 0.5, (4000, 25))
    low, high = np.percentile(runs, [10, 90], axis=1).mean(axis=1)
    timed = Measurement(
        metric="decode.latency_ms",
        value=10,
        unit="ms",
        stage="latency",
        low=low,
        high=high,
        repeats=25,
    )
    (found,), _ = columns_of([record(0, timed)], ["decode.latency_ms"])
    real = np.median(runs, axis=1).std()
    assert found.errors[0].deviation == pytest.approx(real, rel=0.1)
    assert (found.errors[0].freedom, found.errors[0].source) == (24, "repeats")


def test_a_composed_time_has_its_own_interval_and_bytes_are_exact():
    ends = {"unit": "ms", "stage": "composed", "low": 8.0, "high": 12.0}
    composed = Measurement(metric="decode.latency_ms", value=10.0, **ends)
    size = Measurement(metric="prefill.peak_bytes", value=5, unit="bytes", stage="latency")
    names = ["decode.latency_ms", "prefill.peak_bytes"]
    (time, memory), _ = columns_of([record(0, composed, size)], names)
    assert time.errors[0] == Error(pytest.approx(2 / 1.6449, rel=1e-4), inf, "interval")
    assert memory.errors[0] == Error(0.0, inf, "exact")
    assert memory.errors[0].interval(5.0) == (5.0, 5.0)


def test_an_interval_holds_eight_of_ten():
    low, high = Error(1.0, inf, "seeds").interval(0.0)
    assert (low, high) == (pytest.approx(-1.2816, abs=1e-4), pytest.approx(1.2816, abs=1e-4))
    assert Error(1.0, 2, "seeds").interval(0.0)[1] == pytest.approx(1.8856, abs=1e-4)


def test_one_run_of_each_says_why_nothing_is_known():
    (unknown,) = columns_of([seeded(0, 1.0), seeded(1, 2.0)], ["text.loss"])[1]
    assert unknown.metric == "text.loss"
    assert "one seed" in unknown.reason
    assert "confirm" in unknown.reason


# In a study --------------------------------------------------------------------------------------


def front_view(spec, store, tmp_path):
    service = Service(store, Settings(home=tmp_path))
    return service.front(spec.name)


def test_a_front_without_seeds_has_no_probabilities_and_says_why(tmp_path):
    spec = study()
    store = new_store(spec)
    drive(spec, store, Noisy(spec))
    found = front_view(spec, store, tmp_path)
    assert "text.loss was trained with one seed" in found.doubt
    assert {point.probability for point in found.points} == {None}
    assert found.contenders == ()
    assert set(found.points[0].intervals) == {"decode.latency_ms"}
    assert found.points[0].intervals["decode.latency_ms"].source == "repeats"


def test_a_front_with_seeds_has_probabilities_intervals_and_contenders(tmp_path):
    spec = study(confirm={"seeds": 2, "candidates": 3})
    store = new_store(spec)
    drive(spec, store, Noisy(spec, deviation=0.2))
    found = front_view(spec, store, tmp_path)
    considered, chosen, knee = front_of(store, spec.name, spec.objectives, ())
    assert [point.trial for point in found.points] == chosen
    assert [point.trial for point in found.points if point.knee] == [knee]
    assert (found.doubt, found.draws, found.level) == (None, 2000, 0.8)
    doubt = doubt_of(store, spec.name, spec.objectives, (), seed=spec.seed)
    assert len(doubt.probabilities) == considered
    for point in (*found.points, *found.contenders):
        assert point.probability == doubt.probabilities[point.trial]
        spread = point.intervals["text.loss"]
        assert spread.low < point.values["text.loss"].value < spread.high
    assert {p.intervals["text.loss"].source for p in found.points} <= {"seeds", "other seeds"}
    shares = [point.probability for point in found.contenders]
    assert shares
    assert shares == sorted(shares, reverse=True)
    assert min(shares) > 0.2
    assert not {p.trial for p in found.contenders} & set(chosen)
    again = front_view(spec, store, tmp_path)
    assert again == found


def test_limits_leave_trials_out_of_the_count_too(tmp_path):
    spec = study(confirm={"seeds": 2, "candidates": 3})
    store = new_store(spec)
    drive(spec, store, Noisy(spec, deviation=0.2))
    found = front_view(spec, store, tmp_path)
    bound = np.median([p.values["text.loss"].value for p in found.points])
    limit = {"metric": "text.loss", "max": float(bound)}
    limits = type(spec).model_validate({**spec.model_dump(), "limits": [limit]}).limits
    doubt = doubt_of(store, spec.name, spec.objectives, limits, seed=0)
    assert 0 < len(doubt.probabilities) < found.considered
