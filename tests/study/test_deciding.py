"""Which rungs decide who goes on, and by what."""

import pytest
from pydantic import ValidationError

from nas.study import StudySpec
from tests.support.fake import small_study

TEXT = {"kind": "text", "context": 32}
RECALL = {"kind": "recall", "context": 32, "pairs": 4}
LATENCY = {"kind": "latency"}
SHORT, LONG = {"kind": "train", "tokens": 500}, {"kind": "train", "tokens": 4000}
BY_SCORE = {"kind": "scores", "decides": {"text.loss": "score.synflow"}}


def study(rungs, *, promotion=None, task=TEXT, objectives=None, **changes):
    given = small_study(**changes)
    given["budget"] = {"trials": 8}
    given["objectives"] = objectives or given["objectives"]
    promotion = {} if promotion is None else promotion
    return StudySpec.model_validate(
        {**given, "task": task, "rungs": rungs, "promotion": promotion or {"brackets": 1}}
    )


def test_a_shorter_training_speaks_for_its_objective_and_what_is_known_counts():
    spec = study([LATENCY, SHORT, LONG])
    (rung,) = spec.deciding
    assert (rung.stage, rung.stages) == ("train@500", ("latency", "train@500"))
    assert rung.metrics == ("text.loss@500tokens", "decode.latency_ms")
    assert rung.directions == ("minimize", "minimize")
    assert rung.proxies == {"text.loss": "text.loss@500tokens"}
    assert rung.comparable
    assert rung.values({"text.loss@500tokens": 3.0, "decode.latency_ms": 2.0}) == (3.0, 2.0)
    assert rung.values({"decode.latency_ms": 2.0}) == (None, None)


def test_what_nothing_speaks_for_yet_is_left_out():
    (rung,) = study([SHORT, LATENCY, LONG]).deciding
    assert rung.metrics == ("text.loss@500tokens", None)
    assert not rung.comparable
    assert rung.values({"text.loss@500tokens": 3.0}) == (3.0, None)


def test_a_rung_decides_by_what_it_says():
    objectives = [{"metric": "text.loss"}, {"metric": "params"}]
    spec = study([BY_SCORE, {**SHORT, "decides": {}}, LONG], objectives=objectives)
    (rung,) = spec.deciding
    assert (rung.stage, rung.metrics) == ("scores", ("score.synflow", "params"))
    assert rung.directions == ("maximize", "minimize")
    assert rung.proxies == {"text.loss": "score.synflow"}
    assert not rung.comparable, "a score is no loss that a sampler could be told"


def test_a_task_trained_to_its_end_decides_for_its_own_objective():
    objectives = [{"metric": "recall.accuracy", "direction": "maximize"}, {"metric": "text.loss"}]
    rungs = [{**SHORT, "task": "recall"}, {**SHORT, "task": "text"}, {**LONG, "task": "text"}]
    recall, text = study(rungs, task=[TEXT, RECALL], objectives=objectives).deciding
    assert recall.metrics == ("recall.accuracy", None)
    assert recall.directions == ("maximize", "minimize")
    assert not recall.proxies, "what the rung measures is the objective itself"
    assert text.metrics == ("recall.accuracy", "text.loss@500tokens")


def test_a_study_without_promotion_has_no_rung_that_decides():
    spec = StudySpec.model_validate({**small_study(), "budget": {"trials": 3}})
    assert spec.promotion is None
    assert spec.deciding == ()
    older = spec.model_dump(mode="json")
    del older["promotion"]
    assert StudySpec.model_validate(older) == spec


@pytest.mark.parametrize(
    ("rungs", "promotion", "says"),
    [
        ([LATENCY, LONG], {}, "promotion: no rung decides .* with N below 4000"),
        ([LATENCY, {**SHORT, "decides": {}}, LONG], {}, "promotion: no rung decides"),
        ([LATENCY, SHORT, LONG], {"keep": 1.0}, "less than 1"),
        ([LATENCY, SHORT, LONG], {"brackets": 3}, r"\(train@500\).*accepted: 1 to 2"),
        (
            [{"kind": "scores", "decides": {"text.los": "score.synflow"}}, LATENCY, LONG],
            {},
            "rungs.0.decides: 'text.los' is no objective .* text.loss, decode.latency_ms",
        ),
        (
            [{"kind": "scores", "decides": {"text.loss": "scores.synflow"}}, LATENCY, LONG],
            {},
            "'scores.synflow' is not measured at scores; there are: .*score.synflow",
        ),
        (
            [LATENCY, SHORT, {**LONG, "decides": {"text.loss": "text.loss"}}],
            {},
            "rungs.2.decides: nothing comes after the last rung",
        ),
    ],
)
def test_a_promotion_that_cannot_decide_is_refused(rungs, promotion, says):
    with pytest.raises(ValidationError, match=says):
        study(rungs, promotion=promotion)


def test_a_rung_cannot_decide_in_a_study_that_promotes_nobody():
    given = {**small_study(), "budget": {"trials": 3}, "rungs": [BY_SCORE, LATENCY, LONG]}
    with pytest.raises(ValidationError, match=r"rungs\.0\.decides: nothing is decided without"):
        StudySpec.model_validate(given)
