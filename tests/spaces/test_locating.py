"""Every member of a space is found again; what is no member is not."""

import random

import pytest

from nas.locating import answers_of
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.axes import RandomDraw, RecordingDraw, ReplayDraw
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset, preset_names
from tests.spaces.samples import ATTENTION, SWIGLU
from tests.support.problems import SPACE, TINY

IDENTITY = {"kind": "identity"}
HEADS = {**ATTENTION, "heads": {"choice": [2, 4]}}


def members(space, count):
    return (space.example(seed) for seed in range(count))


@pytest.mark.parametrize("name", preset_names())
def test_random_members_of_every_preset_are_found(name):
    space = SearchSpace.model_validate(preset(name))
    for member in members(space, 10):
        reloaded = Architecture.model_validate_json(member.model_dump_json())
        answers = answers_of(space, reloaded)
        assert answers is not None
        assert space.decode(ReplayDraw(answers)).id == member.id


SPACES = {
    "conditional": SPACE,
    "log range of whole numbers": {**TINY, "ffn": {"kind": "gelu", "hidden": {"range": [8, 64]}}},
    "two options of one kind": {
        **TINY,
        "mixer": {"choice": [{**HEADS, "groups": 1}, {**HEADS, "groups": 2}, IDENTITY]},
    },
    "repeat": {**TINY, "depth": 5, "mixer": {"kind": "repeat", "parts": [HEADS, IDENTITY, HEADS]}},
    "repeat that is cut off": {
        **TINY,
        "depth": 1,
        "mixer": {"kind": "repeat", "parts": [HEADS, HEADS]},
    },
    "explicit": {**TINY, "depth": 2, "mixer": {"kind": "explicit", "parts": [IDENTITY, HEADS]}},
    "each": {**TINY, "depth": 3, "mixer": {"kind": "each", "part": {"choice": [HEADS, IDENTITY]}}},
    "count with both sides alike": {
        **TINY,
        "depth": {"choice": [2, 4]},
        "mixer": {
            "kind": "count",
            "background": {"choice": [HEADS, IDENTITY]},
            "placed": {"choice": [IDENTITY, HEADS]},
            "count": {"choice": [0, 1, 2, 4]},
            "placement": {"choice": ["interleaved", "top", "bottom", "middle"]},
        },
    },
    "a choice of patterns": {
        **TINY,
        "depth": 4,
        "mixer": {
            "choice": [
                HEADS,
                {"kind": "repeat", "parts": [HEADS, IDENTITY]},
                {
                    "kind": "ratio",
                    "background": IDENTITY,
                    "placed": HEADS,
                    "ratio": {"choice": ["1:1", "3:1"]},
                },
            ]
        },
    },
    "a width that follows": {
        **TINY,
        "dim": {"match_params": 30_000, "step": 16},
        "ffn": {"kind": "swiglu", "hidden": {"times": {"choice": [1, 2, 3]}, "of": "dim"}},
    },
}


@pytest.mark.parametrize("data", SPACES.values(), ids=SPACES)
def test_members_of_every_kind_of_pattern_are_found(data):
    space = SearchSpace.model_validate(data)
    for member in members(space, 12):
        answers = answers_of(space, member)
        assert answers is not None
        assert space.decode(ReplayDraw(answers)).id == member.id


def test_the_answers_are_those_of_the_draw_where_there_is_one_way_only():
    space = SearchSpace.model_validate(TINY)
    for seed in range(10):
        record = RecordingDraw(RandomDraw(random.Random(seed)))
        member = space.decode(record)
        assert answers_of(space, member) == record.answers


OUTSIDE = {
    "another width": {"dim": 48},
    "another depth": {"depth": 3},
    "another number in a part": {"ffn": {"kind": "gelu", "hidden": 24}},
    "another part": {"ffn": {"kind": "swiglu", "hidden": 16}},
    "another vocabulary": {"vocab": 65},
    "another norm at the end": {"norm": {"kind": "layer"}},
    "another block": {"block": {"kind": "parallel"}},
    "weights that are not shared": {"tied": False},
    "layers that differ": {"mixer": {"kind": "repeat", "parts": [IDENTITY, HEADS]}, "depth": 2},
}


@pytest.mark.parametrize("changes", OUTSIDE.values(), ids=OUTSIDE)
def test_what_is_no_member_is_not_found(changes):
    space = SearchSpace.model_validate(TINY)
    other = SearchSpace.model_validate({**TINY, **changes}).example()
    assert answers_of(space, other) is None


def test_a_model_with_other_rules_between_its_numbers_is_not_found():
    space = SearchSpace.model_validate(
        {
            "dim": 64,
            "depth": 2,
            "mixer": ATTENTION,
            "ffn": {**SWIGLU, "hidden": {"times": 2, "of": "dim"}},
        }
    )
    assert answers_of(space, space.example()) == {}
    other = SearchSpace.model_validate({"dim": 64, "depth": 2, "mixer": ATTENTION, "ffn": SWIGLU})
    assert answers_of(space, other.example()) is None
