"""Samplers that are told of rungs."""

import pytest

from nas.record import Proposal
from nas.samplers import make_sampler
from nas.samplers.rungs import RungShift
from nas.search_spaces.axes import ReplayDraw
from nas.study import NEVERGRAD_SAMPLERS, OPTUNA_SAMPLERS, DriverSpec, Objective
from tests.support.problems import space, synthetic_values

SAMPLERS = [
    ("uniform", "uniform"),
    *(("optuna", name) for name in OPTUNA_SAMPLERS),
    *(("nevergrad", name) for name in NEVERGRAD_SAMPLERS),
]
OBJECTIVES = (Objective(metric="loss"), Objective(metric="speed", direction="maximize"))


@pytest.fixture(scope="module")
def conditional():
    return space()


def make(library, name, space):
    driver = DriverSpec(library=library, sampler=name)
    return make_sampler(driver, space, OBJECTIVES, 0, 12)


def tells(number, member):
    """What a study would tell of one trial: some stop, some go on, fail or break a limit."""
    loss, flops = synthetic_values(member, 2)
    early, late = (loss + 1.0, 1e3 / flops), (loss, 1e3 / flops)
    told = [(early, 0.0, 0)]
    if number % 2 == 0:
        told.append((late, 0.0, None))
    elif number % 5 == 1:
        told.append((None, 0.0, None))
    elif number % 5 == 3:
        told.append((None, 0.5, None))
    return told


def play(sampler, space, *, steps=9, log=()):
    """Each trial is told at the rung at once, and again one trial later."""
    made, later = [], []
    for number in range(steps):
        if number < len(log):
            proposal = Proposal.model_validate_json(log[number].model_dump_json())
            sampler.replay(proposal)
        else:
            proposal, _ = sampler.ask()
        made.append(proposal)
        first, *rest = tells(number, space.decode(ReplayDraw(proposal.answers)))
        sampler.tell(number, *first)
        for told in later:
            sampler.tell(*told)
        later = [(number, *told) for told in rest]
    return made


@pytest.mark.parametrize(("library", "name"), SAMPLERS)
def test_the_same_proposals_after_a_replay_with_rungs(library, name, conditional):
    whole = play(make(library, name, conditional), conditional)
    assert [p.number for p in whole] == list(range(9))
    again = play(make(library, name, conditional), conditional, log=whole[:6])
    assert again == whole


def optuna_trials(name, conditional):
    sampler = make("optuna", name, conditional)
    sampler.ask()
    sampler.tell(0, [3.0, 1.0], 0.0, 0)
    sampler.tell(0, [2.0, 1.5], 0.0)
    return sampler._study.get_trials()


@pytest.mark.parametrize("name", ["tpe", "gp", "qmc", "random"])
def test_optuna_keeps_what_is_told_again_as_a_further_trial(name, conditional):
    first, second = optuna_trials(name, conditional)
    assert first.params == second.params
    assert (first.values, second.values) == ([3.0, 1.0], [2.0, 1.5])


def test_a_generation_holds_a_trial_once(conditional):
    (only,) = optuna_trials("nsga2", conditional)
    assert only.values == [3.0, 1.0]


def test_a_trial_that_fails_later_keeps_what_it_reached_before(conditional):
    sampler = make("optuna", "tpe", conditional)
    sampler.ask()
    sampler.tell(0, [3.0, 1.0], 0.0, 0)
    sampler.tell(0, None, 0.0)
    (only,) = sampler._study.get_trials()
    assert only.values == [3.0, 1.0]
    sampler.ask()
    assert sampler._study.get_trials()[-1].number == 1


def test_nevergrad_learns_from_what_is_told_again(conditional):
    sampler = make("nevergrad", "ngopt", conditional)
    sampler.ask()
    sampler.tell(0, [3.0, 1.0], 0.0, 0)
    before = sampler._optimizer.num_tell
    sampler.tell(0, [2.0, 1.5], 0.0)
    assert sampler._optimizer.num_tell == before + 1


def test_values_are_shifted_by_the_median_of_what_went_all_the_way():
    shift = RungShift()
    assert shift(0, [5.0, 1.0], 0) == [5.0, 1.0], "nothing is known yet"
    for number, (early, late) in enumerate([(4.0, 3.0), (6.0, 3.0), (5.0, 1.0)], start=1):
        shift(number, [early, 1.0], 0)
        assert shift(number, [late, 2.0], None) == [late, 2.0]
    assert shift(9, [5.0, 1.0], 0) == [2.0, 2.0], "the median of -1, -3 and -4"
    assert shift(9, [4.0, 1.0], 1) == [4.0, 1.0], "at another rung nothing is known"
    assert shift(9, [3.0, 2.0], None) == [3.0, 2.0]
    assert shift(10, [5.0, 1.0], 1) == [4.0, 2.0], "a trial speaks for each rung it was told at"
