"""Parts of a given architecture kept in a space."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.errors import BadInput
from nas.inputs import read_file, space_in, what_is
from nas.search_spaces.architecture import Architecture
from nas.search_spaces.frozen import SLOTS
from nas.study import StudySpec
from nas.validation import parse
from tests.support.fake import small_study

ATTENTION = {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16}
MINE: dict[str, Any] = {
    "vocab": 300,
    "dim": 64,
    "embedding": {"kind": "token"},
    "layers": [
        {"mixer": mixer, "ffn": {"kind": "gelu", "hidden": 128}, "block": {"kind": "sequential"}}
        for mixer in (ATTENTION, {"kind": "identity"}, {"kind": "identity"})
    ],
    "norm": {"kind": "layer"},
    "tied": False,
}


def keeping(*slots: str, **fields: Any) -> dict[str, Any]:
    return {"preset": "hybrid_ratio", "keep": {"from": MINE, "slots": list(slots)}, **fields}


def test_tokenizer_width_and_norm_are_kept_and_the_mixers_searched() -> None:
    space = space_in(keeping("embedding", "dim", "norm", "tied", "vocab"))
    assert (space.vocab, space.dim, space.tied, space.norm.kind) == (300, 64, False, "layer")
    mine = Architecture.model_validate(MINE)
    for seed in range(5):
        member = space.example(seed)
        assert (member.norm, member.embedding) == (mine.norm, mine.embedding)
    assert any(name.startswith("mixer") for name in space.axes)
    assert not {"dim", "tied"} & set(space.axes)


def test_layers_that_differ_are_kept_with_their_depth() -> None:
    space = space_in(keeping("mixer", "depth", "dim"))
    assert space.depth == 3
    mixers = [layer.mixer for layer in space.example().layers]
    assert mixers == [layer.mixer for layer in Architecture.model_validate(MINE).layers]
    assert set(space.axes) == {"ffn.hidden.times"}
    assert space_in(keeping("mixer", "dim", depth=3)) == space
    with pytest.raises(BadInput, match=r"mixer differs.*keep depth too, or set depth to 3"):
        space_in(keeping("mixer", "dim"))


def test_layers_that_are_alike_are_kept_at_any_depth() -> None:
    space = space_in(keeping("ffn", "block"))
    assert {layer.ffn.hidden for layer in space.example(1).layers} == {128}
    assert "depth" in space.axes


def test_everything_kept_is_the_architecture_itself() -> None:
    space = space_in(keeping(*SLOTS))
    assert space.axes == {}
    assert space.example() == Architecture.model_validate(MINE)


def test_a_study_stores_the_plain_space() -> None:
    spec = StudySpec.model_validate(small_study(space=keeping("dim", "norm")))
    stored = spec.model_dump(mode="json")["space"]
    assert not {"keep", "preset"} & set(stored)
    assert stored["dim"] == 64
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("keep", "path", "says"),
    [
        ({"from": MINE, "slots": ["dim", "width"]}, "space.keep.slots.1", "vocab, dim, depth"),
        ({"from": MINE, "slots": []}, "space.keep.slots", "at least one"),
        ({"from": MINE, "slots": "dim"}, "space.keep.slots", "a list"),
        ({"from": MINE, "slots": ["depth"]}, "space.keep.slots", "depth is kept and also given"),
        ({"slots": ["dim"]}, "space.keep", "from"),
        ({"from": "mine.json", "slots": ["dim"]}, "space.keep.from", "command line"),
        ({"from": {**MINE, "dim": "wide"}, "slots": ["dim"]}, "space.keep.from.dim", "whole"),
        ({"from": {**MINE, "family": "encoder"}, "slots": ["dim"]}, "space.keep.from", "family"),
    ],
)
def test_a_mistake_names_its_place_and_what_would_work(keep: Any, path: str, says: str) -> None:
    space = {"preset": "hybrid_ratio", "depth": 2, "keep": keep}
    with pytest.raises(BadInput) as caught:
        parse(StudySpec, small_study(space=space))
    (problem,) = caught.value.problems
    assert problem.path == path
    assert says in str(problem)


def test_a_file_names_the_architecture_by_its_path_or_by_the_folder_of_an_export(
    tmp_path: Path,
) -> None:
    export = tmp_path / "exported"
    export.mkdir()
    (export / "architecture.json").write_text(json.dumps(MINE))
    for place in ("exported", "exported/architecture.json"):
        space = {"preset": "hybrid_ratio", "keep": {"from": place, "slots": ["dim"]}}
        for data in (space, small_study(space=space)):
            file = tmp_path / "given.yaml"
            file.write_text(yaml.safe_dump(data))
            found = what_is(read_file(file))
            assert "dim" not in (found.axes or {})
    file.write_text(yaml.safe_dump({**space, "keep": {"from": "nowhere.json", "slots": ["dim"]}}))
    with pytest.raises(BadInput, match="there is no file"):
        read_file(file)
