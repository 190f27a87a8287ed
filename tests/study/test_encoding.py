"""Architectures as numbers: what they say, and that they follow from the space alone."""

from unittest.mock import Mock

import numpy as np
import pytest

from nas.driver.knowledge import StudyKnowledge
from nas.evaluators.composed.model import Prediction
from nas.evaluators.static import peak_measurement, static_measurements
from nas.samplers.encoding import SAMPLE, ArchitectureEncoder
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset
from nas.study import StudySpec
from tests.support.fake import small_study

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
DELTA = {"kind": "gated_delta", "heads": 4, "head_dim": 16}
FFN = {"kind": "swiglu", "hidden": {"times": {"choice": [1, 2, 4]}, "of": "dim"}}
SPACE = {
    "dim": {"choice": [64, 128]},
    "depth": {"range": [3, 9]},
    "mixer": {"kind": "each", "part": {"choice": [ATTENTION, DELTA]}},
    "ffn": {"kind": "each", "part": FFN},
}


def space(**changes):
    return SearchSpace.model_validate({**SPACE, **changes})


@pytest.fixture(scope="module")
def encoder():
    return ArchitectureEncoder(space())


def model(mixers, hidden=(64,), dim=64):
    """A: attention, D: delta; hidden sizes in turn."""
    layers = [
        {
            "mixer": {"A": ATTENTION, "D": DELTA}[letter],
            "ffn": {"kind": "swiglu", "hidden": hidden[i % len(hidden)]},
            "block": {"kind": "sequential"},
        }
        for i, letter in enumerate(mixers)
    ]
    return Architecture.model_validate({"vocab": 256, "dim": dim, "layers": layers})


def named(encoder, architecture):
    return dict(zip(encoder.names, encoder.features(architecture), strict=True))


def test_shares_and_places_say_where_attention_stands(encoder):
    bottom, top = named(encoder, model("AADDDD")), named(encoder, model("DDDDAA"))
    assert bottom["mixer=attention share"] == top["mixer=attention share"]
    assert bottom["mixer~cache in the bottom"] == 1
    assert top["mixer~cache in the bottom"] == 0
    assert top["mixer~cache in the top"] == 1
    assert (bottom["mixer~cache first"], bottom["mixer~cache last"]) == pytest.approx((0, 0.2))
    assert (top["mixer~cache first"], top["mixer~cache last"]) == pytest.approx((0.8, 1))
    alternating = named(encoder, model("ADADAD"))
    assert alternating["changes of mixer"] > bottom["changes of mixer"]


def test_amounts_say_how_much_and_how_it_changes_with_depth(encoder):
    small, large = named(encoder, model("AAA")), named(encoder, model("AAA", [256]))
    growing = named(encoder, model("AAA", [64, 128, 256]))
    assert small["ffn.hidden mean"] < growing["ffn.hidden mean"] < large["ffn.hidden mean"]
    assert growing["ffn.hidden least"] == small["ffn.hidden least"]
    assert growing["ffn.hidden most"] == large["ffn.hidden most"]
    falling = named(encoder, model("AAA", [256, 128, 64]))
    assert falling["ffn.hidden trend"] < small["ffn.hidden trend"] < growing["ffn.hidden trend"]


def test_a_size_that_follows_the_width_is_taken_relative_to_it(encoder):
    narrow, wide = named(encoder, model("AAA", [128])), named(encoder, model("AAA", [256], dim=128))
    assert narrow["ffn.hidden mean"] == pytest.approx(wide["ffn.hidden mean"])
    assert narrow["dim"] < wide["dim"]


def test_what_never_changes_in_the_space_or_says_the_same_is_left_out(encoder):
    names = set(encoder.names)
    assert "tied" not in names
    assert not {"mixer.heads mean", "mixer.heads most"} & names  # always 4
    assert "mixer=attention share" in names
    assert "mixer=gated_delta share" not in names  # what is no attention
    deeper = ArchitectureEncoder(space(tied={"choice": [True, False]}))
    assert "tied" in deeper.names


@pytest.mark.parametrize("name", ["hybrid_ratio", "per_layer_mixers", "encoder_mixers"])
def test_features_of_a_space_are_finite_and_about_0_to_1(name):
    members = SearchSpace.model_validate(preset(name))
    encoder = ArchitectureEncoder(members)
    table = np.array([encoder.features(members.example(seed)) for seed in range(2 * SAMPLE)])
    assert table.shape == (2 * SAMPLE, len(encoder.names))
    assert len(set(encoder.names)) == len(encoder.names)
    seen = table[:SAMPLE]
    assert np.allclose((seen.min(axis=0), seen.max(axis=0)), ([[0], [1]]))
    assert -0.5 <= table.min() <= table.max() <= 1.5


def test_an_absent_amount_takes_a_neutral_value_and_its_share_says_so():
    mixed = ArchitectureEncoder(
        space(mixer={"kind": "each", "part": {"choice": [ATTENTION, {"kind": "identity"}]}})
    )
    table = np.array([mixed.features(space().example(seed)) for seed in range(20)])
    assert np.isfinite(table).all()


def test_the_features_follow_from_the_space_and_the_architecture_alone():
    first, second = ArchitectureEncoder(space()), ArchitectureEncoder(space())
    assert first.names == second.names
    member = space().example(500)
    for seed in range(300, 340):
        second.features(space().example(seed))
    again = Architecture.model_validate_json(member.model_dump_json())
    assert np.array_equal(first.features(member), second.features(again))


def study(**changes):
    return StudySpec.model_validate(small_study(**changes))


OBJECTIVES = [
    {"metric": "text.loss"},
    {"metric": "peak_activation_bytes"},
    {"metric": "decode.latency_ms"},
    {"metric": "kv_cache_bytes"},
]


def test_a_study_knows_objectives_and_limits_in_closed_form():
    limits = [{"metric": "params", "max": 5000}, {"metric": "text.loss", "max": 1}]
    spec = study(objectives=OBJECTIVES, limits=limits)
    member = spec.space.example()
    static = {m.metric: m.value for m in static_measurements(member, spec.target)}
    knowledge = StudyKnowledge(spec)
    peak = peak_measurement(member, spec.target).value
    expected = [np.nan, peak, np.nan, static["kv_cache_bytes"]]
    assert np.array_equal(knowledge.values(member), expected, equal_nan=True)
    assert static["params"] > 5000
    assert knowledge.violation(member) == pytest.approx((static["params"] - 5000) / 5000)
    assert StudyKnowledge(study()).violation(member) == 0
    assert knowledge.features(member).shape == (len(knowledge.encoder.names),)


def test_composed_times_fill_in_where_they_are_known():
    def foresees(low, high):
        times = Mock(edition=1)
        times.return_value = low and {"decode.latency_ms": Prediction(3.0, low, high, 0.9, 12)}
        return times

    limits = [{"metric": "decode.latency_ms", "max": 2}]
    spec = study(objectives=OBJECTIVES, limits=limits)
    member = spec.space.example()
    known = StudyKnowledge(spec, foresees(2.5, 3.5))
    assert known.values(member)[2] == 3
    assert known.violation(member) == 0.5
    assert known.edition == 1
    unknown = StudyKnowledge(spec, foresees(None, None))
    assert np.isnan(unknown.values(member)[2])
    assert unknown.violation(member) == 0
