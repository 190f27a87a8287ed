"""The report on a search: who proposed what, and whether the sampler was worth it."""

import threading

import numpy as np
import pytest

from nas.driver import Driver
from nas.driver.arm import PARAMS, RANDOM
from nas.ledger.versus import LARGER, LEAST, versus
from nas.pareto import hypervolume
from nas.report import report_of
from nas.samplers import make_sampler
from nas.search_spaces.architecture import Architecture
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import FakeEvaluator, small_study
from tests.support.problems import TINY

CORNER = np.array([1.0, 1.0])


def driven(**changes):
    spec = StudySpec.model_validate(small_study(**changes))
    store = MemoryStore()
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    sampler = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, spec.budget.trials)
    Driver(spec, sampler, FakeEvaluator(spec), store, stop=threading.Event()).run()
    return store, spec, report_of(store, spec)


def points(seed, count, best):
    return best + (1 - best) * np.random.default_rng(seed).random((count, 2))


# The comparison ----------------------------------------------------------------------------------


def test_an_arm_that_is_better_trial_for_trial_beats_the_other():
    found = versus(points(0, 90, 0.0), points(1, 10, 0.6), CORNER, seed=0)
    assert found.verdict == "beat"
    assert found.share >= 0.95
    assert found.volume > found.other_volume
    assert found.trials == 10
    assert "10 of its trials" in found.text


def test_an_arm_that_is_worse_does_not_beat_the_other_however_many_trials_it_has():
    found = versus(points(0, 500, 0.5), points(1, 10, 0.0), CORNER, seed=0)
    assert found.verdict == "did not beat"
    assert found.share < 0.5


def test_arms_of_one_distribution_seldom_seem_to_differ():
    found = [versus(points(s, 60, 0), points(100 + s, 8, 0), CORNER, seed=s) for s in range(40)]
    assert sum(each.verdict == "beat" for each in found) <= 6
    assert {each.verdict for each in found} >= {"did not beat", "too few to say"}


def test_arms_of_like_size_are_both_cut_down():
    found = versus(points(0, 40, 0.0), points(1, 40, 0.0), CORNER, seed=0)
    assert found.trials == 10
    assert 0.0 < found.share < 1.0


@pytest.mark.parametrize("sizes", [(90, LEAST - 1), (LARGER * LEAST - 1, LEAST), (0, 20)])
def test_few_trials_tell_nothing(sizes):
    found = versus(points(0, sizes[0], 0.0), points(1, sizes[1], 0.9), CORNER, seed=0)
    assert (found.verdict, found.share) == ("too few to say", None)
    assert f"{sizes[0]} evaluated trials against {sizes[1]}" in found.text


def test_failed_trials_count_and_bring_nothing():
    good, failed = points(0, 10, 0.0), np.full((90, 2), np.nan)
    alone = versus(good[:8].repeat(10, axis=0), points(1, 8, 0.3), CORNER, seed=0)
    among = versus(np.concatenate([good, failed]), points(1, 8, 0.3), CORNER, seed=0)
    assert among.volume < alone.volume
    assert among.verdict == "did not beat"


def test_where_nothing_is_better_than_the_corner_nothing_is_said():
    flat = np.ones((30, 2))
    assert versus(flat, flat[:5], CORNER, seed=0).verdict == "too few to say"


def test_the_volume_is_the_hypervolume():
    good, bad = points(0, 60, 0.0), points(1, 8, 0.5)
    found = versus(good, bad, CORNER, seed=0)
    whole = hypervolume(np.concatenate([good, bad]), CORNER)
    assert found.other_volume == pytest.approx(hypervolume(bad, CORNER) / whole, abs=0.03)


def test_the_draws_follow_from_the_seed():
    arms = points(0, 60, 0.0), points(1, 10, 0.2)
    assert versus(*arms, CORNER, seed=3) == versus(*arms, CORNER, seed=3)
    assert versus(*arms, CORNER, seed=3) != versus(*arms, CORNER, seed=4)


# The report --------------------------------------------------------------------------------------


def test_every_proposer_has_its_line_and_they_add_up():
    store, _, report = driven(trials=24, control_arm=0.25, driver={"sampler": "nsga2"})
    arms = {arm.proposer: arm for arm in report.arms}
    assert set(arms) == {"optuna.nsga2", RANDOM, PARAMS}
    assert (
        sum(arm.proposals for arm in report.arms) == report.proposals == len(store.log("small")) / 2
    )
    assert sum(arm.evaluated for arm in report.arms) == report.evaluated == 24
    assert report.control_share == pytest.approx(0.25, abs=0.05)
    assert sum(arm.front for arm in report.arms) > 0
    for arm in report.arms:
        assert arm.seconds > 0
        assert arm.most_seconds >= arm.seconds
        assert 0 <= arm.observations[0] <= arm.observations[1] < report.proposals
    assert report.sampler == "optuna.nsga2"


def test_the_sampler_is_held_to_each_control_and_to_both():
    _, _, report = driven(trials=30, control_arm=0.34, driver={"library": "uniform"})
    names = {each.control: each for each in report.comparisons}
    assert set(names) == {"random search", "ranking by parameters", "both control arms"}
    both = names["both control arms"]
    assert both.proposers == (RANDOM, PARAMS)
    assert both.trials >= LEAST
    assert both.share is not None
    assert set(both.reference) == {"text.loss", "decode.latency_ms"}


def test_a_study_without_a_control_has_nothing_to_be_held_to():
    _, _, report = driven(trials=6, driver={"library": "uniform"})
    assert report.comparisons == ()
    assert report.control_share == 0.0
    assert [arm.proposer for arm in report.arms] == ["uniform"]


def test_repeats_and_fallbacks_are_counted_with_their_reasons():
    small = {**TINY, "vocab": 256, "depth": 1, "dim": 16}
    _, _, report = driven(trials=50, space=small, driver={"sampler": "nsga2"})
    arms = {arm.proposer: arm for arm in report.arms}
    repeats = sum(arm.states.get("repeat", 0) for arm in report.arms)
    assert repeats > 0
    assert report.repeat_share == repeats / report.proposals
    helped = arms.get("uniform")
    assert report.fallback_share == (helped.proposals if helped else 0) / report.proposals
    assert report.evaluated == 6


def test_a_fallback_says_why_once():
    store, spec, _ = driven(trials=2, driver={"library": "uniform"})
    proposal = store.log("small")[0].proposal
    for number in (90, 91):
        why = f"stuck; uniform draw {number} of at most 500"
        changed = {"number": number, "fallback": why, "proposer": "uniform"}
        store.ask("small", proposal.model_copy(update=changed), spec.space.example(number))
    (arm,) = report_of(store, spec).arms
    assert arm.fallbacks == {"stuck": 2}
    assert arm.proposals == 4


def test_a_study_of_an_older_version_has_no_times_and_no_observations():
    store, spec, _ = driven(trials=2, driver={"library": "uniform"})
    older = MemoryStore()
    older.create_study("small", spec.model_dump(mode="json"), None)
    old = store.log("small")[0].proposal.model_dump(exclude={"observations", "seconds", "outside"})
    architecture: Architecture = store.architecture(store.log("small")[0].architecture)
    older.ask("small", type(store.log("small")[0].proposal).model_validate(old), architecture)
    (arm,) = report_of(older, spec).arms
    assert (arm.observations, arm.seconds, arm.evaluated) == (None, None, 0)
