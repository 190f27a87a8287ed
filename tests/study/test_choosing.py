"""What ``driver: auto`` chooses, why, and where that stands."""

import pytest
from pydantic import ValidationError

from nas.choosing import choose, with_driver
from nas.study import StudySpec
from tests.support.fake import small_study

WIDE = {"preset": "hybrid_ratio"}


def study(*, trials=40, space=WIDE, driver="auto", **changes):
    given = small_study(trials=trials, driver=driver, **changes)
    return StudySpec.model_validate({**given, "space": space})


def objectives(*metrics):
    return [{"metric": metric} for metric in metrics]


SEVERAL = ("text.loss", "params", "flops_per_token", "kv_cache_bytes", "state_bytes")
CASES = [
    ({}, "nas.surrogate", "40 trials are dear"),
    ({"objectives": objectives("text.loss")}, "nas.surrogate", "model of the objective proposes"),
    ({"objectives": objectives("params", "kv_cache_bytes")}, "optuna.nsga2", "closed form"),
    ({"objectives": objectives(*SEVERAL)}, "optuna.nsga2", "5 objectives are more than the 4"),
    ({"objectives": objectives(*SEVERAL[:4])}, "nas.surrogate", "the 4 objectives"),
    ({"trials": 7}, "optuna.qmc", "7 trials is too small"),
    ({"trials": 8}, "nas.surrogate", "8 trials"),
    ({"trials": 2000}, "nas.surrogate", "2000 trials"),
    ({"trials": 2001}, "optuna.nsga2", "2001 trials, more than 2000"),
]


@pytest.mark.parametrize(("changes", "expected", "reason"), CASES, ids=range(len(CASES)))
def test_the_choice_follows_from_objectives_and_budget_and_is_explained(changes, expected, reason):
    driver, why = choose(study(**changes))
    assert f"{driver.library}.{driver.sampler}" == expected
    assert reason in why
    assert driver.chosen_because == why


def test_a_space_that_the_budget_holds_whole_is_searched_at_random():
    tiny = {**WIDE, "dim": 64, "depth": {"choice": [2, 3]}, "mixer": {"kind": "identity"}}
    members = 8  # two depths and four sizes of the FFN
    driver, why = choose(study(space=tiny, trials=members))
    assert driver.library == "uniform"
    assert "about 8 members" in why
    assert choose(study(space=tiny, trials=members - 1))[0].library == "optuna"


def test_workers_stay_and_a_named_driver_is_left_alone():
    chosen = with_driver(study(driver={"library": "auto", "workers": 4}))
    assert (chosen.driver.library, chosen.driver.workers) == ("nas", 4)
    named = study(driver={"library": "nevergrad", "sampler": "de"})
    assert with_driver(named) is named


def test_the_same_study_gets_the_same_choice_and_a_stored_one_reads_back():
    first, second = with_driver(study()), with_driver(study())
    assert first.model_dump(mode="json") == second.model_dump(mode="json")
    read = StudySpec.model_validate_json(first.model_dump_json())
    assert read.driver == first.driver
    assert with_driver(read) is read


def test_auto_with_a_sampler_is_refused():
    with pytest.raises(ValidationError, match="library auto chooses one itself, and 'tpe'"):
        study(driver={"library": "auto", "sampler": "tpe"})


def test_a_study_without_a_reason_is_read_as_before():
    given = small_study()
    stored = StudySpec.model_validate(given).model_dump(mode="json")
    del stored["driver"]["chosen_because"]
    assert StudySpec.model_validate(stored) == StudySpec.model_validate(given)
