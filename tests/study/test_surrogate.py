"""The surrogate sampler: its process, its expected gain, and what it does with what it is told."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nas.bench.knowledge import TableKnowledge
from nas.bench.table import Row, Table
from nas.pareto import hypervolume
from nas.record import Proposal
from nas.samplers.base import Observation
from nas.samplers.surrogate.ensemble import OTHERS, UNTIL, equally_likely
from nas.samplers.surrogate.improvement import (
    QUANTILES,
    expected_improvement,
    normal_points,
    open_boxes,
)
from nas.samplers.surrogate.ingredients import ALL, WITHOUT, Ingredients
from nas.samplers.surrogate.model import Surface
from nas.samplers.surrogate.observations import Observations
from nas.samplers.surrogate.pool import Choice
from nas.samplers.surrogate.process import JITTER, ROOT5, GaussianProcess
from nas.samplers.surrogate.sampler import STARTUP, SurrogateSampler
from nas.samplers.surrogate.spread import SpreadDraw
from nas.samplers.surrogate.warp import STRAIGHT, Warp
from nas.samplers.uniform import UniformSampler
from nas.study import Objective

GOALS = (Objective(metric="loss"), Objective(metric="speed", direction="maximize"))


def process(seed: int = 0, *, count: int = 9, features: int = 3) -> tuple[Any, ...]:
    """A process off its prior mode, and observations with noise of their own."""
    random = np.random.default_rng(seed)
    made = GaussianProcess(features)
    made.theta = made.theta + random.normal(scale=0.3, size=len(made.theta))
    x = random.uniform(size=(count, features))
    return made, x, random.normal(size=count), random.uniform(0, 0.3, size=count)


def slow_covariance(made: GaussianProcess, a: Any, b: Any) -> float:
    """Of two points, by the formula, one number at a time."""
    lengths = np.exp(made.theta[: made.features])
    bend, slope = np.exp(2 * made.theta[made.features : made.features + 2])
    r = sum(((p - q) / length) ** 2 for p, q, length in zip(a, b, lengths, strict=True)) ** 0.5
    matern = bend * (1 + ROOT5 * r + 5 / 3 * r**2) * np.exp(-ROOT5 * r)
    return float(matern + slope * sum(p * q for p, q in zip(a, b, strict=True)) / made.features)


def test_the_gradient_of_the_fit_is_that_of_its_value() -> None:
    made, x, y, extra = process()
    _, gradient = made._negative_log_posterior(made.theta, x, y, extra)
    for place in range(len(made.theta)):
        step = np.zeros(len(made.theta))
        step[place] = 1e-5
        above, _ = made._negative_log_posterior(made.theta + step, x, y, extra)
        below, _ = made._negative_log_posterior(made.theta - step, x, y, extra)
        assert gradient[place] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-6)


def test_a_posterior_is_the_formula_of_the_book() -> None:
    made, x, y, extra = process()
    points = np.random.default_rng(1).uniform(size=(5, 3))
    mean, deviation = made.condition(x, y, extra).predict(points)
    among = np.array([[slow_covariance(made, a, b) for b in x] for a in x])
    inverse = np.linalg.inv(among + np.diag(made.noise + extra + JITTER))
    for place, point in enumerate(points):
        across = np.array([slow_covariance(made, point, b) for b in x])
        assert mean[place] == pytest.approx(across @ inverse @ y, rel=1e-9)
        variance = slow_covariance(made, point, point) - across @ inverse @ across
        assert deviation[place] == pytest.approx(variance**0.5, rel=1e-7)


def test_what_is_left_out_is_expected_as_if_it_had_never_been_seen() -> None:
    made, x, y, extra = process()
    expected, deviation = made.condition(x, y, extra).left_out()
    for place in range(len(y)):
        others = np.arange(len(y)) != place
        posterior = made.condition(x[others], y[others], extra[others])
        mean, spread = posterior.predict(x[place : place + 1])
        assert expected[place] == pytest.approx(mean[0], rel=1e-7, abs=1e-9)
        around = spread[0] ** 2 + made.noise + extra[place] + JITTER
        assert deviation[place] ** 2 == pytest.approx(around, rel=1e-7)


def test_a_fit_makes_the_observations_more_likely_and_finds_what_matters() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(size=(60, 4))
    y = np.sin(6 * x[:, 1])
    y = (y - y.mean()) / y.std()
    made = GaussianProcess(4)
    before, _ = made._negative_log_posterior(made.theta, x, y, np.zeros(60))
    made.fit(x, y, np.zeros(60))
    after, _ = made._negative_log_posterior(made.theta, x, y, np.zeros(60))
    assert after < before
    lengths = np.exp(made.theta[:4])
    assert lengths.argmin() == 1
    assert lengths[1] < min(lengths[[0, 2, 3]]) / 3


def test_an_ensemble_agrees_where_it_was_told_and_doubts_what_matters_elsewhere() -> None:
    """Observations along one feature say nothing of the other; the likeliest process alone takes
    its length for known."""
    told = np.column_stack([np.linspace(0, 1, 7), np.full(7, 0.5)])
    y = np.sin(4 * told[:, 0])
    made = Surface(2, bends=False, seed=(0, 0))
    made.fit(told, y, np.zeros(7))
    made.condition(told, y, np.zeros(7), np.zeros((0, 2)))
    assert len(made.posteriors) == 1 + OTHERS
    here, there = np.array([[0.5, 0.5]]), np.array([[0.5, 1.0]])

    def disagreement(x: Any) -> float:
        return float(np.std([mean for mean, _ in made.predict(x)]))

    assert disagreement(here) < 0.02
    assert disagreement(there) > 5 * disagreement(here)


def test_an_ensemble_is_asked_only_while_there_are_few_observations() -> None:
    random = np.random.default_rng(0)
    for count, processes in ((UNTIL, 1 + OTHERS), (UNTIL + 1, 1)):
        x = random.uniform(size=(count, 2))
        made = Surface(2, seed=(0, 0))
        made.fit(x, x[:, 0], np.zeros(count))
        made.condition(x, x[:, 0], np.zeros(count), np.zeros((0, 2)))
        assert len(made.posteriors) == processes


def test_what_is_expected_of_an_evaluation_has_its_noise_too() -> None:
    """Many noisy observations of a constant leave no doubt about it, and as much as ever about the
    next observation."""
    random = np.random.default_rng(0)
    x, y = random.uniform(size=(150, 1)), random.normal(size=150)
    made = Surface(1, bends=False)
    made.fit(x, y, np.zeros(150))
    made.condition(x, y, np.zeros(150), np.zeros((0, 1)))
    ((_, deviation),) = made.predict(np.array([[0.5]]))
    assert deviation[0] == pytest.approx(1.0, rel=0.2)


def test_equally_likely_values_have_mean_and_variance_of_the_mixture() -> None:
    means, deviations = np.array([0.0, 1.0, 5.0]), np.array([1.0, 0.1, 2.0])
    pairs = [(np.array([m]), np.array([d])) for m, d in zip(means, deviations, strict=True)]
    values = equally_likely(pairs)[0]
    assert len(values) == QUANTILES
    assert values.mean() == pytest.approx(means.mean(), rel=1e-12)
    assert values.var() == pytest.approx((deviations**2).mean() + means.var(), rel=1e-12)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_gain_of_a_known_point_is_what_it_adds_to_the_volume(objectives: int) -> None:
    random = np.random.default_rng(objectives)
    known = random.uniform(size=(12, objectives))
    known = np.concatenate([known, known[:2]])  # duplicates change nothing
    points = random.uniform(-0.2, 1.2, size=(40, objectives))
    reference = np.full(objectives, 1.05)
    found = expected_improvement(
        [column[:, None] for column in points.T], open_boxes(known, reference)
    )
    before = hypervolume(known, reference)
    added = [hypervolume([*known, point], reference) - before for point in points]
    assert max(added) > 0 or objectives == 1
    assert found == pytest.approx(added, abs=1e-12)


def test_an_expected_gain_is_the_mean_of_the_gains_that_may_come() -> None:
    random = np.random.default_rng(0)
    boxes = open_boxes(random.uniform(size=(6, 2)), np.ones(2))
    first, second = 0.3 + 0.2 * normal_points(24), 0.4 + 0.1 * normal_points(24)
    found = expected_improvement([first[None], second[None]], boxes)[0]
    pairs = [(a, b) for a in first for b in second]
    each = expected_improvement(
        [np.array(side)[:, None] for side in zip(*pairs, strict=True)], boxes
    )
    assert found == pytest.approx(each.mean(), rel=1e-9)


def test_without_a_front_everything_below_the_reference_is_open() -> None:
    boxes = open_boxes(np.zeros((0, 2)), np.array([1.0, 2.0]))
    found = expected_improvement([np.array([[0.25]]), np.array([[0.5]])], boxes)
    assert found.tolist() == [0.75 * 1.5]


# The sampler ------------------------------------------------------------------------------------


def landscape(side: int = 7) -> Table:
    """Three numbers and a kind; loss against speed, with an interaction."""
    rows = [
        (a, b, c, kind)
        for a in range(side)
        for b in range(side)
        for c in range(3)
        for kind in ("plain", "gated")
    ]
    columns = dict(zip(("a", "b", "c", "kind"), zip(*rows, strict=True), strict=True))
    values = [
        (
            (a - 4) ** 2 / 10
            + abs(b - 2) * 0.3
            + (0.4 if kind == "gated" and a < 3 else 0)
            - 0.2 * c,
            10 - a - 0.5 * b - c * c,
        )
        for a, b, c, kind in rows
    ]
    return Table("landscape", columns, GOALS, values)


def sampler(
    table: Table,
    *,
    seed: int = 0,
    cheap: Sequence[str] = (),
    ingredients: Ingredients = ALL,
) -> SurrogateSampler[Row]:
    known = TableKnowledge(table, cheap)
    return SurrogateSampler(
        table, objectives=GOALS, seed=seed, knowledge=known, ingredients=ingredients
    )


def search(
    made: Any,
    table: Table,
    evaluations: int,
    verdict: Callable[[int], tuple[Any, float]] | None = None,
) -> list[int]:
    """Rows in the order in which they were proposed."""
    rows = []
    for _ in range(evaluations):
        proposal, row = made.ask()
        rows.append(row.index)
        told = verdict(row.index) if verdict else (table.values[row.index].tolist(), 0.0)
        made.tell(proposal.number, *told)
    return rows


def share(table: Table, rows: Sequence[int]) -> float:
    costs = table.values * np.array([1, -1])
    scaled = (costs - costs.min(axis=0)) / np.ptp(costs, axis=0)
    return hypervolume(scaled[list(rows)], [1, 1]) / hypervolume(scaled, [1, 1])


def test_it_finds_more_of_the_front_than_chance_and_proposes_nothing_twice() -> None:
    table = landscape()
    ours, chance = [], []
    for seed in range(3):
        rows = search(sampler(table, seed=seed), table, 25)
        assert len(set(rows)) == len(rows)
        ours.append(share(table, rows))
        chance.append(share(table, search(UniformSampler(table, seed=seed), table, 25)))
    assert min(ours) > max(chance)
    assert np.mean(ours) > 0.97


def test_what_is_cheap_is_known_exactly() -> None:
    table = landscape()
    made = sampler(table, cheap=["speed"])
    search(made, table, STARTUP)
    proposal, row = made.ask()
    (_, loss_deviation), (speed, deviation) = proposal.sampler_state["expected"]
    assert (speed, deviation) == (table.values[row.index][1], 0.0)
    assert loss_deviation > 0


@pytest.mark.parametrize(("first", "last"), [(STARTUP, 12), (12, 30)])
def test_predictions_are_as_sure_as_they_say(first: int, last: int) -> None:
    """Of values that nobody has told, as many lie within the central 80 % as should, give or take
    what chance allows: three standard deviations of a binomial count of independent ones."""
    table = landscape()
    inside, total = 0, 0
    for seed in range(4):
        made = sampler(table, seed=seed)
        for number in range(last):
            proposal, row = made.ask()
            values = table.values[row.index].tolist()
            if number >= first:
                pairs = zip(values, proposal.sampler_state["expected"], strict=True)
                inside += sum(abs(v - m) <= 1.2816 * s for v, (m, s) in pairs)
                total += 2
            made.tell(proposal.number, values, 0.0)
    assert inside / total > 0.8 - 3 * (0.8 * 0.2 / total) ** 0.5


def test_a_measured_limit_is_learned_and_kept_away_from() -> None:
    table = landscape()

    size = [table.answers_of(Row(row))["a"] for row in range(len(table))]

    def broken(limit: int, seed: int) -> float:
        """Share of the later proposals that are larger than 2, where a limit on size is told."""
        rows = search(
            sampler(table, seed=seed),
            table,
            30,
            lambda row: (table.values[row].tolist(), max(0, size[row] - limit) / limit),
        )
        return float(np.mean([size[row] > 2 for row in rows[10:]]))

    limited, free = ([broken(limit, seed) for seed in range(3)] for limit in (2, 99))
    assert sum(limited) < sum(free) / 2


def test_what_failed_is_kept_away_from() -> None:
    table = landscape()
    gated = {row for row in range(len(table)) if table.answers_of(Row(row))["kind"] == "gated"}
    rows = search(
        sampler(table), table, 40, lambda r: (None if r in gated else table.values[r].tolist(), 0.0)
    )
    assert np.mean([row in gated for row in rows[10:25]]) < 0.25


def test_one_diverged_training_does_not_flatten_the_others() -> None:
    table = landscape()
    worst = int(table.values[:, 0].argmax())

    def verdict(row: int) -> tuple[Any, float]:
        loss, speed = table.values[row].tolist()
        return [1e9 if row == worst or speed < 2 else loss, speed], 0.0

    shares = [
        share(table, search(sampler(table, seed=seed), table, 30, verdict)) for seed in range(3)
    ]
    assert np.mean(shares) > 0.95  # 0.90 where costs are not clipped


def test_a_scale_has_an_inverse_and_the_slope_that_its_likelihood_is_corrected_by() -> None:
    y = np.array([-3.0, 1.9, 2.1, 2.5, 7.0, 90.0])
    for warp in (STRAIGHT, Warp(best=2.0, bend=0.5)):
        z = warp(y)
        assert (np.diff(z) > 0).all()
        assert warp.back(z) == pytest.approx(y, rel=1e-12)
        slope = (warp(y + 1e-6) - warp(y - 1e-6)) / 2e-6
        assert np.exp(warp.log_slope(y)) == pytest.approx(slope, rel=1e-6)


def test_a_cost_is_modelled_on_the_scale_on_which_it_is_even() -> None:
    x = np.linspace(0, 1, 25)[:, None]
    even = 3.0 * x[:, 0]
    for costs, bends in ((even, False), (np.expm1(2 * even), True)):
        surface = Surface(1)
        surface.fit(x, costs, np.zeros(25))
        assert np.isfinite(surface.warp.bend) == bends
        surface.condition(x, costs, np.zeros(25), np.zeros((0, 1)))
        middle = surface.medians(np.array([[0.52]]))
        assert middle == pytest.approx(np.interp(0.52, x[:, 0], costs), rel=0.02)


@pytest.mark.parametrize("name", WITHOUT)
def test_every_ingredient_changes_what_is_proposed(name: str) -> None:
    table = landscape(24)  # more rows than a pool holds
    rows = search(sampler(table), table, 16)
    assert search(sampler(table, ingredients=WITHOUT[name]), table, 16) != rows


def play(made: Any, table: Table, steps: int, *, log: Sequence[Proposal] = ()) -> list[Proposal]:
    """Asks three ahead, tells out of order and at a rung first, with the first proposals given."""
    waiting: list[tuple[int, int]] = []
    found = []
    for step in range(steps):
        if step < len(log):
            made.replay(log[step])
            proposal = log[step]
            row = made.observations._entries[proposal.number].choice.member
        else:
            proposal, row = made.ask()
        found.append(proposal)
        waiting.append((proposal.number, row.index))
        if len(waiting) > 3:
            number, index = waiting.pop(step % 3)
            values = table.values[index].tolist()
            made.tell(number, [values[0] + 1, values[1]], 0.0, 0)
            if number % 2:
                made.tell(number, values, 0.0)
    return found


@pytest.mark.parametrize("until", [3, 11, 19])
def test_a_replay_goes_on_as_if_nothing_had_happened(until: int) -> None:
    table = landscape()
    whole = play(sampler(table), table, 24)
    again = [Proposal.model_validate_json(p.model_dump_json()) for p in whole[:until]]
    assert play(sampler(table), table, 24, log=again) == whole


def test_hyperparameters_of_another_model_are_fitted_anew() -> None:
    """As after an update in the middle of a study."""
    table = landscape()
    whole = play(sampler(table), table, 14)
    old = [
        proposal.model_copy(
            update={"sampler_state": {"fitted": {"theta": [[0.0]], "fitted_on": 9}}}
        )
        for proposal in whole
    ]
    made = sampler(table)
    found = play(made, table, 18, log=old)
    assert "fitted" in found[14].sampler_state
    assert made._model is not None
    assert made._model.fitted_on > 0


def test_the_first_members_meet_every_option_and_every_part_of_a_range() -> None:
    draws = [SpreadDraw(3, number, STARTUP) for number in range(STARTUP)]
    options = tuple("abcde")
    assert sorted(str(draw.choice("kind", options)) for draw in draws) == list(options)
    assert {draw.choice("gate", (True, False)) for draw in draws} == {True, False}
    sizes = sorted(draw.integer("size", 10, 55, 5, False) for draw in draws)
    assert [(size - 10) // 10 for size in sizes] == list(range(STARTUP))
    shares = sorted(draw.real("share", -1.0, 1.0, False) for draw in draws)
    assert [int((share + 1) / 2 * STARTUP) for share in shares] == list(range(STARTUP))
    rates = sorted(draw.real("rate", 1e-5, 1.0, True) for draw in draws)
    assert [int(np.log10(rate * 1e5)) for rate in rates] == list(range(STARTUP))
    widths = {draw.integer("width", 16, 1024, 1, True) for draw in draws}
    assert min(widths) < 37
    assert max(widths) > 446
    orders = {tuple(str(d.choice(f"axis {i}", options)) for d in draws) for i in range(9)}
    assert len(orders) > 5


def test_several_workers_are_sent_to_different_members() -> None:
    table = landscape()
    made = sampler(table)
    search(made, table, 10)
    rows = [made.ask()[1].index for _ in range(8)]
    assert len(set(rows)) == 8


def test_a_space_that_is_used_up_repeats_itself_instead_of_failing() -> None:
    table = landscape(1)
    rows = search(sampler(table), table, len(table) + 3)
    assert set(rows) == set(range(len(table)))


def test_a_number_may_go_without_a_proposal() -> None:
    table = landscape()
    made = sampler(table)
    made.skip(0)
    assert made.ask()[0].number == 1


def choice(name: int) -> Choice[Row]:
    return Choice(Row(name), {"a": name}, np.array([float(name)]), np.full(2, np.nan), 0.0)


def test_what_was_reached_at_a_rung_is_corrected_by_those_that_went_on() -> None:
    made: Observations[Row] = Observations(["minimize", "minimize"])
    for number in range(8):
        made.add(choice(number))
        made.tell(number, [3.0 + number, 1.0], 0.0, 0)
    uncorrected = made.rows()
    assert (uncorrected.extra > 0).all()
    for number in range(4):
        made.tell(number, [1.0 + number, 1.0], 0.0, None)
    rows = made.rows()
    assert rows.costs[:, 0].tolist() == [1.0 + number for number in range(8)]
    assert (rows.extra == 0).all()


def test_other_studies_help_while_they_agree_and_are_ignored_when_they_do_not() -> None:
    table = landscape()
    members = [Row(row) for row in range(0, len(table), 3)]
    same = [Observation(m, (3 * table.values[m.index][0] + 7, np.nan), 0.0) for m in members]
    random = np.random.default_rng(2)
    noise = [Observation(m, (float(random.normal()), np.nan), 0.0) for m in members]
    for known, follows in ((same, True), (noise, False)):
        made = sampler(table, cheap=["speed"])
        made.learn(known)
        rows = search(made, table, 15)
        assert made._model is not None
        assert made._model.surfaces[0].follows is follows
        assert made._model.surfaces[1].hint is None
        if follows:
            alone = search(sampler(table, cheap=["speed"]), table, 15)
            assert share(table, rows) > share(table, alone)
