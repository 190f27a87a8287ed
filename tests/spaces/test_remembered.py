"""What spaces and layers remember changes nothing but the time that it takes."""

import hashlib
import json
import random

import pytest

from nas.search_spaces.architecture import Architecture, Layer, canonical
from nas.search_spaces.axes import RandomDraw, RecordingDraw
from nas.search_spaces.base import Cost, Place
from nas.search_spaces.catalogue import MIXERS
from nas.search_spaces.ops import merge_costs
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import preset
from nas.search_spaces.watched import WatchedPlace

PRESETS = ("hybrid_ratio", "local_global", "encoder_mixers")


def drawn(space, seed):
    record = RecordingDraw(RandomDraw(random.Random(seed)))
    return space.decode(record), record


@pytest.mark.parametrize("name", PRESETS)
def test_a_space_that_remembers_asks_and_draws_what_a_new_one_does(name):
    used = SearchSpace.model_validate(preset(name))
    for seed in range(40):
        drawn(used, seed)
    for seed in (3, 17, 99):  # two that it has met, and one that it has not
        old, asked = drawn(used, seed)
        new, expected = drawn(SearchSpace.model_validate(preset(name)), seed)
        assert (old, asked.answers, asked.axes) == (new, expected.answers, expected.axes)
        assert list(asked.answers) == list(expected.answers)


def test_equal_layers_of_all_members_are_one_object():
    space = SearchSpace.model_validate({**preset("hybrid_ratio"), "dim": 128})
    layers = [layer for seed in range(60) for layer in space.example(seed).layers]
    assert len({id(layer) for layer in layers}) == len(set(layers))


def test_an_id_is_that_of_the_whole_canonical_form():
    space = SearchSpace.model_validate(preset("local_global"))
    for seed in range(10):
        member = space.example(seed)
        text = json.dumps(canonical(member), sort_keys=True, separators=(",", ":"))
        assert member.id == hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize("kind", sorted(MIXERS))
def test_the_cost_of_a_model_is_the_sum_over_its_operators_wherever_its_layers_stand(kind):
    for given in (MIXERS[kind].example, *MIXERS[kind].variants):
        check_costs(given, MIXERS[kind].families[0])


def check_costs(mixer, family):
    layer = Layer.model_validate(
        {
            "mixer": mixer,
            "ffn": {"kind": "swiglu", "hidden": 64},
            "block": {"kind": "sequential"},
        }
    )
    for depth in (1, 3):  # one layer object in all places, as in members of a space
        fields = {"family": family, "vocab": 64, "dim": 64, "layers": (layer,) * depth}
        model = Architecture.model_validate(fields)
        for context in (64, 256):
            sums = Cost(*merge_costs(model.ops(context)))
            found = model.cost(context)
            assert (found.params, found.active_params) == (sums.params, sums.active_params)
            assert (found.flops, found.decode_flops) == (sums.flops, sums.decode_flops)


def test_a_watched_place_notes_who_asks_for_the_layer():
    watched = WatchedPlace.of(Place(64, 8, 3))
    inner = watched._replace(causal=False)
    assert (inner.dim, inner.causal, watched.asked) == (64, False, [])
    assert (inner.layer, inner.depth) == (3, 8)
    assert watched.asked == ["layer", "depth"]


def test_a_changed_copy_works_everything_out_anew():
    member = SearchSpace.model_validate(preset("hybrid_ratio")).example()
    before = member.id, member.cost(64).params
    layer = member.layers[0]
    wider = layer.model_copy(update={"ffn": layer.ffn.model_copy(update={"hidden": 4096})})
    changed = member.model_copy(update={"layers": (wider, *member.layers[1:])})
    assert changed.id != member.id
    assert changed.cost(64).params > before[1]
    assert (member.id, member.cost(64).params) == before
