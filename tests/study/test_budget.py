"""Budgets in tokens and operations of training: counted, kept to, and restored."""

import threading

import pytest
from pydantic import ValidationError

from nas.choosing import USUAL_TRIALS, expected_trials
from nas.driver.budget import BudgetKeeper, Needs
from nas.spending import Cost, Spending, cost_of, tokens_of, total
from nas.study import Budget, StudySpec
from tests.study.test_confirm import Noisy
from tests.study.test_driver import Evaluator, drive, new_store, records
from tests.support.fake import small_study

ONE = 1024
"""Tokens of a candidate of the small study: 1,000, in two whole steps of 512."""


def study(budget, **changes):
    given = {**small_study(), "driver": {"library": "uniform"}, **changes}
    return StudySpec.model_validate({**given, "budget": {"train_tokens": 1000, **budget}})


def spending(number, tokens, flops=0.0, repeat=0):
    return Spending(
        number=number, repeat=repeat, stages=("train",), train_tokens=tokens, train_flops=flops
    )


def test_operations_are_three_forward_passes_over_the_tokens_of_whole_steps():
    spec = study({"trials": 1})
    architecture = spec.space.example(1)
    assert tokens_of(spec.trainings, spec.tasks) == spec.candidate_tokens == ONE
    found = cost_of(architecture, spec.trainings, spec.tasks)
    assert found == Cost(ONE, 3.0 * architecture.cost(32).flops * ONE)
    assert cost_of(architecture, spec.trainings, spec.tasks, ("latency",)) == Cost()


def test_a_study_without_any_bound_is_refused_and_one_bound_is_enough():
    with pytest.raises(ValidationError, match="at least one of trials, total_train_tokens"):
        Budget(train_tokens=5)
    for bound in ("trials", "total_train_tokens", "total_train_flops", "minutes"):
        Budget.model_validate({bound: 7})


def test_too_few_tokens_for_one_candidate_are_refused_with_what_would_do():
    with pytest.raises(ValidationError, match=f"accepted: {ONE * 4} or more"):
        study(
            {"total_train_tokens": 4 * ONE - 1},
            control=True,
            confirm={"seeds": 1, "candidates": 2},
        )
    study({"total_train_tokens": 4 * ONE}, control=True, confirm={"seeds": 1, "candidates": 2})


@pytest.mark.parametrize("workers", [1, 4])
def test_tokens_are_never_exceeded_by_any_number_of_workers(workers):
    spec = study(
        {"total_train_tokens": 7 * ONE + 500}, driver={"library": "uniform", "workers": workers}
    )
    store = new_store(spec)
    state, reason = drive(spec, store, Evaluator(spec, seconds=0.002))
    assert state == "complete"
    assert (
        reason
        == "7,168 of 7,668 training tokens are spent in 7 trials, and a candidate takes 1,024"
    )
    assert total(store.spendings(spec.name)).tokens == 7 * ONE
    assert sum(r.evaluated for r in records(store, spec)) == 7


@pytest.mark.parametrize("workers", [1, 4])
def test_operations_are_exceeded_by_less_than_the_last_candidate_takes(workers):
    driver = {"library": "uniform", "workers": workers}
    free = study({"trials": 6})
    trained = new_store(free)
    drive(free, trained)
    each = [s.train_flops for s in trained.spendings(free.name)]
    most = sum(each[:4]) + 1.0
    spec = study({"total_train_flops": most}, driver=driver)
    store = new_store(spec)
    state, reason = drive(spec, store, Evaluator(spec, seconds=0.002))
    assert state == "complete"
    assert "training FLOPs are spent" in reason
    found = [s.train_flops for s in store.spendings(spec.name)]
    assert sum(found) >= most
    assert sum(found) - max(found) < most


def test_what_trains_not_costs_nothing_and_what_fails_costs_its_training():
    spec = study({"trials": 3}, limits=[{"metric": "decode.latency_ms", "max": 1e-9}])
    store = new_store(spec)
    drive(spec, store)
    assert store.spendings(spec.name) == []
    failing = study({"trials": 3})
    store = new_store(failing)
    drive(failing, store, Evaluator(failing, fails=lambda architecture: True))
    assert [s.train_tokens for s in store.spendings(failing.name)] == [ONE] * 3


def test_the_control_and_further_seeds_are_counted_and_kept_for():
    spec = study(
        {"total_train_tokens": 12 * ONE}, control=True, confirm={"seeds": 2, "candidates": 2}
    )
    store = new_store(spec)
    drive(spec, store, Noisy(spec))
    found = store.spendings(spec.name)
    assert total(found).tokens == 12 * ONE
    assert sum(s.number < 0 for s in found) == 1
    assert sum(s.repeat > 0 for s in found) == 4
    assert sum(r.evaluated for r in records(store, spec)) == 7


def test_further_seeds_for_which_no_operations_are_left_are_not_run():
    spec = study({"trials": 4}, confirm={"seeds": 2, "candidates": 2})
    keeper = BudgetKeeper(
        Budget(total_train_flops=100), trials=0, seconds=0, spendings=[spending(0, 1, 60.0)]
    )
    assert keeper.has_room(Cost(1, 40.0))
    assert not keeper.has_room(Cost(1, 40.1))
    keeper.hold("other", Cost(1, 30.0))
    assert not keeper.has_room(Cost(1, 20.0))
    keeper.release("other")
    assert keeper.has_room(Cost(1, 20.0))
    needs = Needs(candidate=10, confirm=20)
    keeper = BudgetKeeper(
        Budget(total_train_flops=100),
        trials=0,
        seconds=0,
        needs=needs,
        spendings=[spending(0, 10, 49.0), spending(-1, 10, 1.0)],
    )  # two further seeds, of 49 each, are kept for, but half of the budget at most
    assert keeper.spent() is not None
    assert spec.confirm_tokens == 4 * ONE


@pytest.mark.parametrize("bound", ["tokens", "flops"])
def test_a_stopped_study_goes_on_with_what_was_spent(bound):
    free = study({"trials": 6})
    trained = new_store(free)
    drive(free, trained)
    each = [s.train_flops for s in trained.spendings(free.name)]
    budget = (
        {"total_train_tokens": 5 * ONE}
        if bound == "tokens"
        else {"total_train_flops": sum(each[:4]) + 1}
    )
    spec = study(budget)
    whole, store, stop = new_store(spec), new_store(spec), threading.Event()
    drive(spec, whole)
    drive(spec, store, stop=stop, on_event=lambda kind, data: stop.set())
    assert len(records(store, spec)) < len(records(whole, spec))
    assert drive(spec, store)[0] == "complete"
    assert store.spendings(spec.name) == whole.spendings(spec.name)
    assert [r.architecture for r in records(store, spec)] == [
        r.architecture for r in records(whole, spec)
    ]


def test_further_seeds_keep_to_the_operations_and_those_without_room_are_noted():
    free = study({"trials": 3})
    trained = new_store(free)
    drive(free, trained)
    most = total(trained.spendings(free.name)).flops
    spec = study({"trials": 3, "total_train_flops": most}, confirm={"seeds": 5, "candidates": 12})
    store = new_store(spec)
    assert drive(spec, store, Noisy(spec))[0] == "complete"
    assert total(store.spendings(spec.name)).flops <= most
    notes = [e.data["text"] for e in store.events(spec.name) if e.kind == "note"]
    assert notes
    assert all("the budget has no room" in note for note in notes)
    assert len(notes) == len(set(notes))


def test_samplers_prepare_for_the_trials_that_the_budget_allows():
    assert expected_trials(study({"trials": 9, "minutes": 1})) == 9
    assert expected_trials(study({"total_train_tokens": 10 * ONE + 5}, control=True)) == 9
    assert expected_trials(study({"minutes": 1})) == USUAL_TRIALS
    spec = study({"trials": 1})
    usual = sorted(
        cost_of(spec.space.example(seed), spec.trainings, spec.tasks).flops for seed in range(33)
    )[16]
    assert expected_trials(study({"total_train_flops": 5.5 * usual})) == 5
