"""The control arm: which trials are its own, what it proposes, and that a resumed study agrees."""

import itertools
import threading
from collections import Counter

import pytest

from nas.driver import Driver
from nas.driver.arm import PARAMS, RANDOM, ControlArm, van_der_corput
from nas.driver.proposing import GIVEN
from nas.samplers import make_sampler
from nas.search_spaces.axes import ReplayDraw
from nas.starting import completed
from nas.store.base import Asked, TrialQuery
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import FakeEvaluator, small_study
from tests.support.problems import TINY

UNIFORM = {"library": "uniform"}


def study(**changes):
    return StudySpec.model_validate(small_study(**{"driver": UNIFORM, **changes}))


def new_store(spec):
    store = MemoryStore()
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    return store


def drive(spec, store, on_event=lambda kind, data: None, stop=None):
    sampler = make_sampler(spec.driver, spec.space, spec.objectives, spec.seed, spec.budget.trials)
    stop = stop or threading.Event()
    driver = Driver(spec, sampler, FakeEvaluator(spec), store, stop=stop, on_event=on_event)
    return driver.run()


def proposals(store, spec):
    return [e.proposal for e in store.log(spec.name) if isinstance(e, Asked)]


def essence(store, spec):
    """What was asked, without times."""
    return [proposal.model_dump(exclude={"seconds"}) for proposal in proposals(store, spec)]


def test_a_tenth_of_the_evaluated_trials_is_the_arms_half_of_each_kind():
    spec = study(trials=60, control_arm=0.1)
    store = new_store(spec)
    assert drive(spec, store)[0] == "complete"
    records = store.trials(spec.name, TrialQuery())[0]
    evaluated = Counter(r.proposer for r in records if r.evaluated)
    assert evaluated == {"uniform": 54, RANDOM: 3, PARAMS: 3}
    assert all(r.state == "complete" for r in records if r.proposer in GIVEN)


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3])
def test_the_arms_trials_are_evenly_spaced_and_depend_on_the_seed(share):
    arms = [ControlArm(study(control_arm=share, seed=seed)) for seed in range(4)]
    owned = [[slot for slot in range(300) if arm.owns(slot)] for arm in arms]
    assert {len(slots) for slots in owned} <= {int(300 * share), int(300 * share) + 1}
    for slots in owned:
        gaps = {after - before for before, after in itertools.pairwise(slots)}
        assert max(gaps) - min(gaps) <= 1
    assert len({slots[0] for slots in owned}) > 1


def test_without_the_field_and_with_a_share_of_0_no_trial_is_the_arms():
    for changes in ({}, {"control_arm": 0.0}):
        spec = study(trials=25, **changes)
        store = new_store(spec)
        drive(spec, store)
        assert {p.proposer for p in proposals(store, spec)} == {"uniform"}


def test_a_new_study_of_20_trials_gets_an_arm_unless_it_says_otherwise():
    assert completed(study(trials=20), MemoryStore()).control_arm == 0.1
    assert completed(study(trials=19), MemoryStore()).control_arm == 0.0
    assert completed(study(trials=19, control_arm=0.3), MemoryStore()).control_arm == 0.3
    assert completed(study(trials=99, control_arm=0.0), MemoryStore()).control_arm == 0.0


def test_a_study_stored_before_there_was_an_arm_is_read_as_one_without():
    stored = study(trials=40).model_dump(mode="json")
    del stored["control_arm"]
    assert StudySpec.model_validate(stored).control_arm is None


def test_what_the_arm_proposes_is_new_within_the_limits_and_a_member():
    limits = [{"metric": "params", "max": 15_000}]
    spec = study(trials=12, control_arm=0.5, limits=limits)
    store = new_store(spec)
    drive(spec, store)
    records = [r for r in store.trials(spec.name, TrialQuery())[0] if r.proposer in GIVEN]
    assert len(records) >= 5
    assert {r.state for r in records} == {"complete"}
    assert all(r.value("params") <= 15_000 for r in records)
    for record in records:
        member = spec.space.decode(ReplayDraw(record.answers))
        assert member.id == record.architecture


def by_size(spec, count=16):
    """Parameters of what the arm proposes by size, and of what it draws uniformly, one by one."""
    arm, seen, sizes = ControlArm(spec), [], {RANDOM: [], PARAMS: []}
    while len(sizes[PARAMS]) < count:
        found = arm.propose(0, seen)
        if found is not None:
            sizes[found[0].proposer].append(found[1].cost(1).params)
        seen.append(found[1].id if found else f"the sampler's {len(seen)}")
    return sizes


def unevenness(sizes, members):
    """Mean distance of the sizes, as quantiles of the space, from quantiles evenly spaced."""
    quantiles = sorted(sum(m < size for m in members) / len(members) for size in sizes)
    even = [(i + 0.5) / len(sizes) for i in range(len(sizes))]
    return sum(abs(q - e) for q, e in zip(quantiles, even, strict=True)) / len(sizes)


def test_trials_by_size_cover_the_sizes_more_evenly_than_uniform_ones():
    apart = {RANDOM: 0.0, PARAMS: 0.0}
    for seed in range(2):
        spec = study(control_arm=0.5, seed=seed)
        members = [spec.space.example(other).cost(1).params for other in range(60)]
        for name, sizes in by_size(spec, count=8).items():
            apart[name] += unevenness(sizes[:8], members) / 2
    assert apart[PARAMS] < 0.7 * apart[RANDOM], apart


def test_where_quality_is_all_that_counts_the_arm_by_size_takes_the_largest():
    spec = study(control_arm=0.5, objectives=[{"metric": "text.loss"}])
    sizes = by_size(spec, count=6)
    members = sorted(spec.space.example(seed).cost(1).params for seed in range(80))
    assert min(sizes[PARAMS]) > members[60]
    spread = by_size(study(control_arm=0.5, objectives=[{"metric": "params"}]), count=6)
    assert min(spread[PARAMS]) < members[40]


def test_the_quantiles_fall_into_the_widest_gap():
    assert [van_der_corput(i) for i in range(7)] == [
        1 / 2,
        1 / 4,
        3 / 4,
        1 / 8,
        5 / 8,
        3 / 8,
        7 / 8,
    ]


@pytest.mark.parametrize("driver", [UNIFORM, {"sampler": "nsga2"}])
def test_a_study_with_an_arm_that_is_stopped_and_resumed_asks_the_same(driver):
    spec = study(trials=12, space={**TINY, "vocab": 256}, control_arm=0.3, driver=driver)
    whole = new_store(spec)
    drive(spec, whole)
    assert {RANDOM, PARAMS} <= {p.proposer for p in proposals(whole, spec)}
    store, runs = new_store(spec), 0
    state = "stopped"
    while state != "complete":
        stop, counted, runs = threading.Event(), Counter(), runs + 1

        def after_four(kind, data, stop=stop, counted=counted):
            counted[kind] += 1
            if counted["trial"] == 4:
                stop.set()

        state, _ = drive(spec, store, after_four, stop)
    assert runs > 2
    assert essence(store, spec) == essence(whole, spec)


def test_an_arm_that_finds_nothing_new_leaves_the_trial_to_the_sampler():
    six = {**TINY, "vocab": 256, "dim": 16, "depth": 1}
    spec = study(trials=100, space=six, control_arm=0.5)
    store = new_store(spec)
    state, reason = drive(spec, store)
    assert state == "exhausted"
    assert reason.startswith("6 of 100 trials evaluated")


def test_each_proposal_says_how_much_had_been_told_before_and_how_long_it_took():
    spec = study(trials=10, control_arm=0.2)
    store = new_store(spec)
    drive(spec, store)
    found = proposals(store, spec)
    assert [p.observations for p in found] == list(range(len(found)))
    assert all(p.seconds > 0 for p in found)
