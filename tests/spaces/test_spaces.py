"""Whatever a space offers, what is drawn from it is a valid architecture."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RandomDraw, RecordingDraw, ReplayDraw
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset
from tests.spaces.samples import attention, space


def numbers(*options: int) -> st.SearchStrategy[Any]:
    """A value or a choice out of some numbers."""
    value = st.sampled_from(options)
    several = st.lists(value, min_size=1, max_size=3, unique=True)
    return value | several.map(lambda found: {"choice": found})


HEAD_DIM = numbers(8, 16) | st.just({"divide": "dim", "by": "heads"})
EVERYTHING: dict[str, Any] = {"kind": "everything"}
WINDOW: dict[str, Any] = {"kind": "window", "window": 4}
ATTENTION = st.fixed_dictionaries(
    {
        "kind": st.just("attention"),
        "heads": numbers(1, 2, 3, 4, 6, 8) | st.just({"divide": "dim", "by": "head_dim"}),
        "groups": numbers(1, 2, 3, 4) | st.just({"times": 1, "of": "heads"}),
        "head_dim": HEAD_DIM,
        "scope": st.sampled_from(
            [EVERYTHING, WINDOW, {"choice": [EVERYTHING, {**WINDOW, "window": 8}]}]
        ),
    }
)
HIDDEN = numbers(8, 24, 40) | st.sampled_from(
    [{"times": 2.5, "of": "dim"}, {"times": {"choice": [0.5, 2]}, "of": "dim", "round_to": 8}]
)
DENSE = st.fixed_dictionaries(
    {"kind": st.sampled_from(["swiglu", "gelu", "relu_squared"]), "hidden": HIDDEN}
)
EXPERTS = st.fixed_dictionaries(
    {
        "kind": st.just("experts"),
        "experts": numbers(1, 2, 4),
        "top_k": numbers(1, 2, 3),
        "shared": numbers(0, 1),
        "expert": DENSE,
    }
)
NESTED = st.fixed_dictionaries({"kind": st.just("nested"), "ffn": DENSE})


def slots(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A part, a choice, or a pattern."""
    several = st.lists(one, min_size=1, max_size=3)
    distinct = st.lists(
        one, min_size=1, max_size=3, unique_by=lambda found: json.dumps(found, sort_keys=True)
    )
    either = one | distinct.map(lambda found: {"choice": found})
    return (
        either
        | several.map(lambda found: {"kind": "repeat", "parts": found})
        | st.builds(lambda part: {"kind": "each", "part": part}, either)
        | st.builds(
            lambda a, b, ratio: {"kind": "ratio", "background": a, "placed": b, "ratio": ratio},
            either,
            either,
            st.sampled_from(["1:1", "0:1", {"choice": ["3:1", "1:0"]}]),
        )
    )


SPACES = st.fixed_dictionaries(
    {
        "dim": numbers(16, 24, 36, 48) | st.just({"range": [16, 48], "step": 8}),
        "depth": numbers(1, 2, 3) | st.just({"range": [1, 4]}),
        "mixer": slots(ATTENTION | st.just({"kind": "identity"})),
        "ffn": slots(DENSE | EXPERTS | NESTED),
        "tied": st.sampled_from([True, False, {"choice": [True, False]}]),
    }
)


REASONS = ("the space is empty", "no combination of these values", "in a circle")


def accepted(data: dict[str, Any]) -> SearchSpace | None:
    """The space, or None where it says itself that nothing fits."""
    try:
        return SearchSpace.model_validate(data)
    except ValidationError as error:
        if not any(reason in str(error) for reason in REASONS):
            raise
        return None


@settings(max_examples=80, deadline=None)
@given(data=SPACES, seed=st.integers(0, 2**31))
def test_every_draw_is_valid_and_can_be_replayed(data: dict[str, Any], seed: int) -> None:
    made = accepted(data)
    if made is None:
        return
    record = RecordingDraw(RandomDraw(random.Random(seed)))
    drawn = made.decode(record)
    again = Architecture.model_validate_json(drawn.model_dump_json())
    assert again == drawn
    assert drawn.cost(16).params > 0
    stored = json.loads(json.dumps(record.answers))
    assert made.decode(ReplayDraw(stored)).id == drawn.id


@settings(max_examples=40, deadline=None)
@given(data=SPACES, seed=st.integers(0, 2**31))
def test_an_architecture_and_its_explicit_spelling_are_one(data: dict[str, Any], seed: int) -> None:
    made = accepted(data)
    if made is None:
        return
    drawn = made.example(seed)
    plain = drawn.model_dump(mode="json")
    layers = plain.pop("layers")
    spelled = plain | {"depth": len(layers)}
    for slot in ("mixer", "ffn", "block"):
        spelled[slot] = {"kind": "explicit", "parts": [layer[slot] for layer in layers]}
    assert SearchSpace.model_validate(spelled).example().id == drawn.id


def test_the_id_ignores_what_equals_a_default() -> None:
    short = SearchSpace.model_validate(space()).example()
    long = SearchSpace.model_validate(
        space(mixer=attention(scope=EVERYTHING, bias=False, position={"kind": "rotary"}), tied=True)
    ).example()
    assert short.id == long.id
    assert short.id != SearchSpace.model_validate(space(tied=False)).example().id


def test_options_that_break_a_rule_are_never_offered() -> None:
    mixer = attention(heads={"choice": [2, 3, 4, 6]}, groups={"choice": [2, 3]})
    made = SearchSpace.model_validate(space(mixer=mixer))
    pairs = {(a.heads, a.groups) for a in (made.example(s).layers[0].mixer for s in range(200))}
    assert pairs == {(2, 2), (4, 2), (6, 2), (3, 3), (6, 3)}


@pytest.mark.parametrize(
    ("mixer", "says"),
    [
        (
            {"head_dim": {"range": [15, 33]}},
            "head_dim.range: it holds 15, which should be a multiple",
        ),
        (
            {"head_dim": {"range": [16, 33]}},
            "head_dim.range: it holds 17, which should be a multiple",
        ),
        (
            {"scope": {**WINDOW, "window": {"range": [0, 9]}}},
            "window.range: it holds 0, which should be greater than",
        ),
    ],
)
def test_a_range_that_holds_an_impossible_value_is_refused(mixer: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SearchSpace.model_validate(space(mixer=attention(**mixer)))


def test_a_range_with_a_step_over_impossible_values_is_fine() -> None:
    mixer = attention(head_dim={"range": [16, 33], "step": 2})
    made = SearchSpace.model_validate(space(mixer=mixer))
    assert all(made.example(seed).layers[0].mixer.head_dim % 2 == 0 for seed in range(30))


def test_a_shortened_list_is_an_axis_of_its_own() -> None:
    mixer = attention(heads={"choice": [2, 4]}, groups={"choice": [1, 2, 4]})
    axes = SearchSpace.model_validate(space(mixer=mixer)).axes
    assert {name: axis.options for name, axis in axes.items()} == {
        "mixer.heads": (2, 4),
        "mixer.groups[1,2]": (1, 2),
        "mixer.groups": (1, 2, 4),
    }


def test_the_name_of_a_long_shortened_list_stays_short() -> None:
    mixer = attention(heads=4, head_dim={"divide": "dim", "by": "heads"})
    made = SearchSpace.model_validate(space(dim={"range": [64, 1024]}, mixer=mixer))
    (name,) = made.axes
    assert name.startswith("dim[121 options, ")
    assert all(made.example(seed).dim % 8 == 0 for seed in range(20))


def test_survey_finds_every_axis_that_random_draws_meet() -> None:
    made = SearchSpace.model_validate(preset("experts_and_heads"))
    met: set[str] = set()
    for seed in range(400):
        record = RecordingDraw(RandomDraw(random.Random(seed)))
        made.decode(record)
        met |= set(record.answers)
    assert met <= set(made.axes)


# Matching parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", [300_000, 1_000_000, 3_000_000])
def test_match_params_comes_as_near_as_a_step_of_the_width_allows(target: int) -> None:
    matched = {"match_params": target, "step": 16}
    made = SearchSpace.model_validate({**preset("width_depth"), "dim": matched})
    for seed in range(12):
        drawn = made.example(seed)
        assert drawn.dim % 16 == 0
        params = drawn.cost(1).params
        for dim in (drawn.dim - 16, drawn.dim + 16):
            other = resized(drawn, dim)
            assert abs(params - target) <= abs(other.cost(1).params - target)
        assert abs(params - target) / target < 0.25


def resized(drawn: Architecture, dim: int) -> Architecture:
    """The same answers at another width, written out by hand."""
    layers = []
    for layer in drawn.model_dump()["layers"]:
        share = min((2, 8 / 3, 4), key=lambda s: abs(layer["ffn"]["hidden"] - s * drawn.dim))
        layer["ffn"]["hidden"] = max(1, round(share * dim / 16)) * 16
        layer["mixer"]["head_dim"] = dim // 4
        layers.append(layer)
    return Architecture.model_validate({**drawn.model_dump(), "dim": dim, "layers": layers})


def test_match_params_keeps_all_other_answers() -> None:
    matched = {"match_params": 500_000, "step": 16}
    made = SearchSpace.model_validate({**preset("width_depth"), "dim": matched})
    record = RecordingDraw(RandomDraw(random.Random(3)))
    drawn = made.decode(record)
    assert set(record.answers) == {"depth", "ffn.hidden.times"}
    assert made.decode(ReplayDraw(record.answers)).id == drawn.id


# Empty spaces ----------------------------------------------------------------------------------

DIVIDED = attention(head_dim={"divide": "dim", "by": "heads"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            space(dim=65, mixer=DIVIDED),
            "mixer.head_dim: the space is empty: dim / heads gives no accepted value at dim 65 "
            "and depth 4; accepted: for example dim 64",
        ),
        (
            space(dim={"choice": [66, 67]}, mixer={"kind": "each", "part": DIVIDED}),
            "mixer.part.head_dim: the space is empty: dim / heads gives no accepted value at dim "
            "66 and depth 4, nor anywhere else in the space; accepted: for example dim 64",
        ),
        (
            space(mixer={"kind": "explicit", "parts": [attention()] * 3}),
            "mixer.parts: the space is empty: 3 parts are listed, one for each layer, at dim 64 "
            "and depth 4; accepted: for example depth 3",
        ),
        (
            space(
                dim={"choice": [60, 64]},
                mixer=attention(head_dim={"divide": "dim", "by": 16}),
                ffn={"kind": "gelu", "hidden": {"divide": "dim", "by": 5}},
            ),
            "the space is empty: each slot can be filled at some dim and depth, but no dim and "
            "depth fit all slots; give the slots a width or depth in common",
        ),
    ],
)
def test_an_empty_space_names_the_slot_and_a_remedy(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SearchSpace.model_validate(data)
    assert caught.value.errors()[0]["msg"] == f"Value error, {says}"


def test_widths_that_fit_nothing_are_left_out() -> None:
    made = SearchSpace.model_validate(space(dim={"choice": [64, 65, 72]}, mixer=DIVIDED))
    assert {made.example(seed).dim for seed in range(20)} == {64, 72}
