"""Named spaces: plain data, valid, diverse, and made of the whole catalogue."""

import json
import random

import pytest

from nas.errors import NotFound
from nas.search_spaces.axes import RandomDraw, RecordingDraw, ReplayDraw, survey
from nas.search_spaces.base import Model
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.space import SearchSpace
from nas.search_spaces.spaces import expand_preset, preset, preset_names
from nas.validation import parse

NAMES = (
    "attention_ratio",
    "everything",
    "experts_and_heads",
    "hybrid_ratio",
    "nested_ffn",
    "norm_placement",
    "width_depth",
)


def test_the_named_questions_are_there() -> None:
    assert set(NAMES) <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_plain_data(name: str) -> None:
    data = preset(name)
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize("name", preset_names())
def test_fifty_members_decode_at_proxy_size_and_can_be_replayed(name: str) -> None:
    made = parse(SearchSpace, json.loads(json.dumps(preset(name))))
    ids, sizes = set(), []
    for seed in range(50):
        record = RecordingDraw(RandomDraw(random.Random(seed)))
        drawn = made.decode(record)
        answers = json.loads(json.dumps(record.answers))
        assert made.decode(ReplayDraw(answers)).id == drawn.id
        assert 64 <= drawn.dim <= 256
        assert 2 <= drawn.depth <= 12
        sizes.append(drawn.cost(256).params)
        ids.add(drawn.id)
    assert len(ids) > 40
    # in a space of everything a few are larger: experts in both FFNs of a macaron block, say
    assert sorted(sizes)[-5] < 30_000_000


@pytest.mark.parametrize("name", preset_names())
def test_a_space_that_was_read_can_be_written_and_read_again(name: str) -> None:
    made = SearchSpace.model_validate(preset(name))
    again = SearchSpace.model_validate(json.loads(made.model_dump_json()))
    assert [again.example(seed).id for seed in range(5)] == [
        made.example(seed).id for seed in range(5)
    ]


EVERYTHING = {"causal_lm": "everything", "encoder": "everything_encoder"}


@pytest.mark.parametrize("family", EVERYTHING)
def test_everything_offers_every_part(family: str) -> None:
    made = SearchSpace.model_validate(preset(EVERYTHING[family]))
    offered = set(kinds(made.model_dump(mode="json")))
    for slot, parts in SLOTS.items():
        assert {kind for kind, part in parts.items() if family in part.families} <= offered, slot


@pytest.mark.parametrize("family", EVERYTHING)
def test_everything_reaches_every_part(family: str) -> None:
    """Every answer to every question is given once."""
    made = SearchSpace.model_validate(preset(EVERYTHING[family]))
    met: set[tuple[str, str]] = set()
    survey(lambda draw: met.update(parts_of(made.decode(draw))), extra=0)
    every = {
        (part.__name__, kind)
        for parts in SLOTS.values()
        for kind, part in parts.items()
        if family in part.families
    }
    assert met >= every


def kinds(data: object) -> list[str]:
    """Every ``kind`` anywhere in some data."""
    if isinstance(data, dict):
        own = [data["kind"]] if "kind" in data else []
        return own + [kind for value in data.values() for kind in kinds(value)]
    return [kind for value in data for kind in kinds(value)] if isinstance(data, list) else []


def parts_of(value: object) -> list[tuple[str, str]]:
    """(class, kind) of every part anywhere in a model."""
    if isinstance(value, Model):
        own = [(type(value).__name__, value.kind)] if hasattr(value, "kind") else []
        return own + [part for _, field in value for part in parts_of(field)]
    return [part for item in value for part in parts_of(item)] if isinstance(value, tuple) else []


def test_a_field_replaces_that_of_the_preset() -> None:
    data = expand_preset({"preset": "width_depth", "depth": 3, "dim": {"match_params": 200_000}})
    assert data["depth"] == 3
    assert "preset" not in data
    assert SearchSpace.model_validate(data).example().depth == 3


def test_an_unknown_preset_names_the_others() -> None:
    with pytest.raises(NotFound, match="did you mean 'hybrid_ratio'"):
        preset("hybrid_ration")


def test_width_depth_keeps_the_number_of_heads() -> None:
    made = SearchSpace.model_validate(preset("width_depth"))
    drawn = [made.example(seed) for seed in range(30)]
    assert {layer.mixer.heads for model in drawn for layer in model.layers} == {4}
    assert len({model.dim for model in drawn}) > 5
