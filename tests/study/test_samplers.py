"""One contract for all samplers."""

import warnings
from functools import cache

import numpy as np
import pytest

from nas.pareto import hypervolume
from nas.record import Proposal
from nas.samplers import make_sampler
from nas.samplers.uniform import generator_of
from nas.search_spaces.axes import RandomDraw, RecordingDraw, ReplayDraw
from nas.study import NAS_SAMPLERS, NEVERGRAD_SAMPLERS, OPTUNA_SAMPLERS, DriverSpec, Objective
from tests.support.problems import (
    LAYERWISE,
    TINY,
    Unknowing,
    layerwise_values,
    space,
    synthetic_values,
)

SAMPLERS = [
    ("uniform", "uniform"),
    *(("nas", name) for name in NAS_SAMPLERS),
    *(("optuna", name) for name in OPTUNA_SAMPLERS),
    *(("nevergrad", name) for name in NEVERGRAD_SAMPLERS),
]
LEARNING = [each for each in SAMPLERS if each[1] not in ("uniform", "random", "qmc")]
OBJECTIVES = (
    Objective(metric="loss"),
    Objective(metric="speed", direction="maximize"),
    Objective(metric="cache"),
)
BUDGET = 12
"""So small that samplers soon leave their random start, after four or six values told."""
STEPS = {"gp": 8, "surrogate": 16}
"""Asks in a schedule, where not 24; a Gaussian process takes its time. Ours is first asked at 10,
and a replay of all but nine calls restores it at 10 to 12."""


@pytest.fixture(scope="module")
def conditional():
    """A space with axes that depend on others, log ranges, steps and shortened lists."""
    return space()


def make(library, name, space, objectives, *, seed=0, budget=BUDGET, workers=1):
    driver = DriverSpec(library=library, sampler=name, workers=workers)
    knowledge = Unknowing(space, objectives)
    return make_sampler(driver, space, OBJECTIVES[:objectives], seed, budget, knowledge=knowledge)


def verdict(number, architecture, objectives):
    """What a study would tell: mostly values, sometimes a failure or a broken limit."""
    loss, flops, cache = synthetic_values(architecture, 3)
    values = [loss, 1e3 / flops, cache][:objectives]
    if number % 7 == 3:
        return None, 0.0  # failed
    if number % 5 == 2:
        return None, 0.5 + loss / 10  # rejected before it was evaluated
    return values, 0.25 if number % 9 == 5 else 0.0  # measured, and perhaps a limit broken


def schedule(steps, outstanding):
    """Ask and tell in turn, with several asks outstanding and tells out of order."""
    waiting = []
    for number in range(steps):
        yield "ask", number
        waiting.append(number)
        if len(waiting) >= outstanding:
            yield "tell", waiting.pop(len(waiting) // 2)
    for number in reversed(waiting):
        yield "tell", number


def play(sampler, space, objectives, *, outstanding=1, log=(), foreign=None):
    """Takes a sampler through the schedule. The first calls come from a log, by replay."""
    told, done = {}, []
    steps = STEPS.get(sampler.name.split(".")[-1], 24)
    for index, (action, number) in enumerate(schedule(steps, outstanding)):
        if action == "tell":
            sampler.tell(number, *verdict(number, told[number], objectives))
            done.append(("tell", number))
            continue
        if index < len(log):
            proposal = log[index][1]
            sampler.replay(Proposal.model_validate_json(proposal.model_dump_json()))
        elif number == foreign:
            record = RecordingDraw(RandomDraw(generator_of(99, number)))
            space.decode(record)
            proposal = Proposal(
                number=number, answers=record.answers, proposer="uniform", fallback="stuck"
            )
            sampler.replay(proposal)
        else:
            proposal, _ = sampler.ask()
        told[number] = space.decode(ReplayDraw(proposal.answers))
        done.append(("ask", proposal))
    return done


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_proposals_are_numbered_named_and_decode_again(library, name, conditional):
    sampler = make(library, name, conditional, 2)
    for number in range(3):
        proposal, architecture = sampler.ask()
        assert (proposal.number, proposal.proposer) == (number, sampler.name)
        assert proposal.fallback is None
        assert conditional.decode(ReplayDraw(proposal.answers)) == architecture
    assert sampler.name == ("uniform" if library == "uniform" else f"{library}.{name}")


@pytest.mark.parametrize("objectives", [1, 3])
@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_same_calls_same_proposals_also_when_replayed(library, name, objectives, conditional):
    """Uninterrupted, and replayed up to some point: the proposals after it are the same ones.

    With failures, broken limits, tells out of order and a foreign proposal in between.
    """
    settings = {"outstanding": 3, "foreign": 4}
    whole = play(make(library, name, conditional, objectives), conditional, objectives, **settings)
    for cut in (0, len(whole) - 9):
        sampler = make(library, name, conditional, objectives)
        resumed = play(sampler, conditional, objectives, log=whole[:cut], **settings)
        assert resumed == whole, f"after a replay of {cut} calls"


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_another_seed_another_sequence(library, name, conditional):
    first, second = (
        [p.answers for p in asked(make(library, name, conditional, 1, seed=seed), 6)]
        for seed in (0, 1)
    )
    assert first != second


def asked(sampler, count):
    return [sampler.ask()[0] for _ in range(count)]


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_replay_fits_no_model(name, conditional, monkeypatch):
    whole = play(make("optuna", name, conditional, 2), conditional, 2)
    sampler = make("optuna", name, conditional, 2)
    kind = type(sampler._fresh(0))
    monkeypatch.setattr(kind, "sample_relative", None)
    monkeypatch.setattr(kind, "sample_independent", None)
    assert play(sampler, conditional, 2, log=whole) == whole


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_all_trials_failed_or_rejected(library, name, conditional):
    sampler = make(library, name, conditional, 2)
    for number in range(14):
        sampler.ask()
        sampler.tell(number, None, 0.0 if number % 2 else 3.0)
    assert sampler.ask()[0].number == 14


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_a_space_of_one_member(library, name):
    single = {**TINY, "dim": 16, "depth": 1, "mixer": {"kind": "identity"}}
    only = space({**single, "ffn": {"kind": "gelu", "hidden": 16}})
    sampler = make(library, name, only, 1)
    for number in range(6):
        proposal, _ = sampler.ask()
        assert proposal.answers == {}
        sampler.tell(number, [1.0], 0.0)


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_no_noise(library, name, conditional, caplog, recwarn):
    warnings.simplefilter("always")
    play(make(library, name, conditional, 2), conditional, 2)
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize("name", NEVERGRAD_SAMPLERS)
def test_an_axis_that_the_survey_missed_is_answered_and_named(name, conditional):
    partial = space()
    del partial.axes["mixer.ratio"]
    proposal, _ = make("nevergrad", name, partial, 1).ask()
    assert "mixer.ratio" in proposal.fallback
    again, _ = make("nevergrad", name, partial, 1).ask()
    assert again.answers == proposal.answers


def test_nevergrad_goes_on_with_a_record_that_it_would_not_make_itself(conditional, caplog):
    sampler, other = (make("nevergrad", "de", conditional, 1, seed=seed) for seed in (0, 1))
    proposal, architecture = other.ask()
    sampler.replay(proposal)
    assert "another version of nevergrad" in caplog.text
    sampler.tell(0, synthetic_values(architecture, 1), 0.0)
    assert sampler.ask()[0].number == 1


SEEDS = 5
EVALUATIONS = {"gp": 15, "surrogate": 20}
"""Where not 50: what learns faster also takes longer."""
GP_OBJECTIVES = 1  # with two, a proposal of the Gaussian process takes a second


@pytest.fixture(scope="module")
def layerwise():
    """A space, and the values of a thousand uniform members: what random search finds."""
    members = space(LAYERWISE)
    values = [layerwise_values(members.example(seed)) for seed in range(1000)]
    return members, np.array(values)


def reached(values, random_values):
    """Hypervolume in units of the box that the random members span."""
    values, random_values = np.asarray(values), random_values[:, : len(values[0])]
    low, high = random_values.min(axis=0), random_values.max(axis=0)
    return hypervolume((values - low) / (high - low), np.ones(len(low)))


@pytest.fixture(scope="module")
def chance(layerwise):
    """What random search reaches on average, by evaluations and objectives."""
    values = layerwise[1]

    @cache
    def reached_by_chance(evaluations, objectives):
        generator = np.random.default_rng(0)
        draws = [generator.choice(values, evaluations, replace=False) for _ in range(200)]
        return np.mean([reached(draw[:, :objectives], values) for draw in draws])

    return reached_by_chance


@pytest.mark.parametrize(("library", "name"), LEARNING)
def test_beats_random_search_at_an_equal_number_of_evaluations(library, name, layerwise, chance):
    members, random_values = layerwise
    evaluations = EVALUATIONS.get(name, 50)
    objectives = GP_OBJECTIVES if name == "gp" else 2
    by_chance = chance(evaluations, objectives)
    found = []
    for seed in range(SEEDS):
        sampler = make(library, name, members, objectives, seed=seed, budget=evaluations)
        seen = {}
        while len(seen) < evaluations:
            proposal, architecture = sampler.ask()
            loss, flops = layerwise_values(architecture)
            seen[architecture.id] = [loss, flops][:objectives]
            sampler.tell(proposal.number, [loss, -flops][:objectives], 0.0)  # one is maximised
        found.append(reached(list(seen.values()), random_values))
    assert np.mean(found) > by_chance, f"{np.round(found, 3)} against {by_chance:.3f}"
