"""Two studies at equal cost, against numbers worked out by hand."""

from datetime import UTC, datetime

import pytest

from nas.comparing import CUTS, compare
from nas.errors import BadInput, Conflict
from nas.record import Measurement, Proposal, TrialRecord
from nas.search_spaces.axes import Scalar
from nas.spending import Spending
from nas.store.memory import MemoryStore
from nas.study import StudySpec
from tests.support.fake import small_study


def spec_of(name, **changes):
    objectives = [{"metric": "text.loss"}, {"metric": "params"}]
    return StudySpec.model_validate(small_study(name, **{"objectives": objectives, **changes}))


def fill(store, spec, points, *, tokens=100, order=None):
    """A study whose trials found these (loss, params); None is a failure."""
    store.create_study(spec.name, spec.model_dump(mode="json"), None)
    for number in order or range(len(points)):
        architecture, answers = spec.space.example(number), dict[str, Scalar]()
        proposal = Proposal(number=number, answers=answers, proposer="test")
        store.ask(spec.name, proposal, architecture)
        point = points[number]
        found = (
            ()
            if point is None
            else (
                Measurement(metric="text.loss", value=point[0], unit="nats", stage="train"),
                Measurement(metric="params", value=point[1], unit="count", stage="static"),
            )
        )
        spending = Spending(
            number=number, stages=("train",), train_tokens=tokens, train_flops=10.0 * tokens
        )
        store.add_spending(spec.name, spending)
        store.finish(
            TrialRecord(
                study=spec.name,
                number=number,
                architecture=architecture.id,
                answers=answers,
                state="failed" if point is None else "complete",
                proposer="test",
                measurements=found,
                started=datetime(2026, 1, 1, tzinfo=UTC),
                seconds=2.0,
            ),
            {},
        )


@pytest.fixture
def store():
    return MemoryStore()


def cuts_of(found, resource):
    return [cut for cut in found.cuts if cut.resource == resource]


def test_hypervolumes_coverage_and_the_reference_are_those_worked_out_by_hand(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(1.0, 3.0), (3.0, 1.0)])
    fill(store, other, [(2.0, 2.0), (3.0, 2.0)])
    found = compare(store, one, other)
    # fronts {(1, 3), (3, 1)} and {(2, 2)}: ranges 1..3, so the reference is 3.2 in both
    assert found.reference == pytest.approx({"text.loss": 3.2, "params": 3.2})
    last = cuts_of(found, "trials")[-1]
    box = 2.2**2
    assert last.first == pytest.approx((2.2 * 0.2 + 0.2 * 2.2 - 0.2 * 0.2) / box)
    assert last.second == pytest.approx(1.2 * 1.2 / box)
    assert (last.first_trials, last.second_trials, last.leads) == (2, 2, "second")
    assert (found.first.covers, found.second.covers) == (0.0, 0.0)
    assert found.first.front == ((1.0, 3.0), (3.0, 1.0))


def test_a_study_that_dominates_covers_the_other(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(1.0, 1.0)])
    fill(store, other, [(2.0, 1.0), (3.0, 0.5)])
    found = compare(store, one, other)
    assert (found.first.covers, found.second.covers) == (0.5, 0.0)


def test_a_study_that_trains_twice_as_long_is_cut_at_equal_tokens(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(4.0, 4.0), (3.0, 3.0), (2.0, 2.0), (1.0, 1.0)], tokens=100)
    fill(store, other, [(3.5, 3.5), (2.5, 2.5), None, (1.5, 1.5)], tokens=200)
    found = compare(store, one, other)
    tokens, trials = cuts_of(found, "train_tokens"), cuts_of(found, "trials")
    assert len(tokens) == len(trials) == CUTS
    assert (tokens[-1].at, trials[-1].at) == (400, 4)
    assert (tokens[-1].first_trials, tokens[-1].second_trials) == (4, 2)
    assert (trials[-1].first_trials, trials[-1].second_trials) == (4, 4)
    assert (tokens[0].first_trials, tokens[0].first, tokens[0].leads) == (0, 0.0, None)
    assert [cut.first_trials for cut in cuts_of(found, "train_flops")] == [
        cut.first_trials for cut in tokens
    ]
    assert found.second.spent == {
        "train_tokens": 800,
        "train_flops": 8000,
        "trials": 4,
        "seconds": 8,
    }


def test_trials_count_in_the_order_in_which_they_ended(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(1.0, 1.0), (2.0, 2.0)], order=[1, 0])
    fill(store, other, [(2.0, 2.0), (1.0, 1.0)])
    assert [c.leads for c in cuts_of(compare(store, one, other), "trials")] == [None] * CUTS


def test_further_seeds_change_the_final_front_and_no_cut(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(2.0, 1.0)])
    fill(store, other, [(2.0, 1.0)])
    seeds = [
        Measurement(metric=metric, value=value, unit="nats", stage="train")
        for metric, value in (("text.loss", 1.5), ("text.loss@seed0", 2.0), ("text.loss@seed1", 1))
    ]
    params = Measurement(metric="params", value=1.0, unit="count", stage="static")
    store.amend("one", 0, [*seeds, params])
    repeat = {"number": 0, "repeat": 1, "stages": ("train",)}
    store.add_spending("one", Spending(**repeat, train_tokens=100, train_flops=1000.0))
    found = compare(store, one, other)
    assert {cut.leads for cut in found.cuts} == {None}
    assert found.first.front == ((1.5, 1.0),)
    assert found.first.spent["train_tokens"] == 100
    assert found.first.in_all["train_tokens"] == 200
    assert found.first.covers == 1.0


def test_what_differs_is_named(store):
    one = spec_of("one")
    other = spec_of(
        "other", task={"kind": "text", "context": 64}, target={"contexts": [64]}, seed=3
    )
    fill(store, one, [(1.0, 1.0)])
    fill(store, other, [(1.0, 1.0)])
    differs = {d.path: (d.first, d.second) for d in compare(store, one, other).differs}
    assert differs["task.context"] == (32, 64)
    assert differs["seed"] == (0, 3)
    assert differs["target.contexts"] == ([32, 64], [64])
    assert "name" not in differs


def test_studies_from_before_costs_were_kept_are_priced_by_their_stages(store, monkeypatch):
    one, other = spec_of("one"), spec_of("other")
    monkeypatch.setattr(store, "add_spending", lambda study, spending: None)
    fill(store, one, [(1.0, 1.0), None])
    fill(store, other, [(1.0, 1.0)])
    found = compare(store, one, other)
    assert found.first.spent["train_tokens"] == one.candidate_tokens == 1024  # two steps of 512
    assert found.first.spent["train_flops"] > 0


def test_other_objectives_need_metrics_that_both_have(store):
    one = spec_of("one")
    other = spec_of("other", objectives=[{"metric": "text.loss"}])
    fill(store, one, [(1.0, 1.0)])
    fill(store, other, [(2.0, 1.0)])
    with pytest.raises(Conflict, match=r"'one' has text.loss \(minimize\), params"):
        compare(store, one, other)
    assert compare(store, one, other, ["text.loss"]).first.covers == 1.0
    with pytest.raises(BadInput, match=r"metrics\.0"):
        compare(store, one, other, ["text.lost"])


def test_a_study_without_results_cannot_be_compared(store):
    one, other = spec_of("one"), spec_of("other")
    fill(store, one, [(1.0, 1.0)])
    fill(store, other, [None])
    with pytest.raises(Conflict, match="'other' has no complete trial"):
        compare(store, one, other)
