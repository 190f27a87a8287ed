"""What may stand where: families, bounded lengths, rules between a part and the parts inside."""

from typing import Any

import pytest
from pydantic import ValidationError

from nas.search_spaces.architecture import Architecture
from nas.search_spaces.base import FAMILIES
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.legality import illegal, longest_input
from nas.search_spaces.space import SearchSpace
from nas.validation import parse
from tests.spaces.samples import ATTENTION, attention, space

FNET = {"kind": "fnet"}
RECURRENCE = {"kind": "gated_linear", "heads": 2, "head_dim": 8}


def test_every_part_that_a_family_may_not_use_says_why() -> None:
    for slot, parts in SLOTS.items():
        for kind, part in parts.items():
            assert set(part.families) <= set(FAMILIES)
            assert part.families
            assert len(part.families) == len(FAMILIES) or part.family_reason, (slot, kind)


@pytest.mark.parametrize(
    ("family", "mixer", "path", "says"),
    [
        ("causal_lm", FNET, "mixer", "later tokens"),
        ("causal_lm", {"choice": [ATTENTION, FNET]}, "mixer.choice.1", "later tokens"),
        (
            "causal_lm",
            {"kind": "ratio", "background": ATTENTION, "placed": FNET, "ratio": "3:1"},
            "mixer.placed",
            "later tokens",
        ),
        (
            "causal_lm",
            attention(normaliser={"kind": "sinkhorn", "steps": 3}),
            "mixer.normaliser",
            "family encoder",
        ),
        ("causal_lm", {"kind": "sum", "branches": [ATTENTION, FNET]}, "mixer.branches.1", "later"),
        ("encoder", RECURRENCE, "mixer", "inside the mixer 'bidirectional'"),
        ("encoder", attention(normaliser={"kind": "stick_breaking"}), "mixer.normaliser", ""),
        (
            "encoder",
            {"kind": "bidirectional", "mixer": attention(scope={"kind": "segments", "count": 2})},
            "mixer.mixer.scope",
            "family encoder",
        ),
    ],
)
def test_an_illegal_part_is_refused_with_its_place(
    family: str, mixer: Any, path: str, says: str
) -> None:
    with pytest.raises(Exception, match=says) as caught:
        parse(SearchSpace, space(family=family, mixer=mixer))
    assert str(caught.value).startswith(f"{path}: ")


def test_an_architecture_is_held_to_it_too() -> None:
    layer = {"mixer": FNET, "ffn": {"kind": "none"}, "block": {"kind": "sequential"}}
    given = {"vocab": 8, "dim": 16, "layers": [layer]}
    assert Architecture.model_validate({**given, "family": "encoder"}).head.kind == "masked_token"
    with pytest.raises(ValidationError, match=r"layers\.0\.mixer: 'fnet' is not legal"):
        Architecture.model_validate(given)


def test_what_reads_one_way_is_legal_inside_bidirectional() -> None:
    made = SearchSpace.model_validate(
        space(family="encoder", mixer={"kind": "bidirectional", "mixer": RECURRENCE})
    )
    assert illegal(made.example(), "encoder", "") is None


def test_the_tightest_bound_on_the_length_is_found_anywhere() -> None:
    inner = {"kind": "linear", "heads": 2, "head_dim": 8}
    bounded = [
        {**inner, "feature_map": {"kind": "cosine", "max_tokens": tokens}} for tokens in (90, 70)
    ]
    made = SearchSpace.model_validate(
        space(
            embedding={"kind": "learned_position", "max_tokens": 80},
            mixer={"kind": "sum", "branches": bounded},
        )
    )
    assert longest_input(made) == (70, "mixer.branches.1.feature_map")
    assert made.max_tokens == 70
    assert SearchSpace.model_validate(space()).max_tokens is None


def test_a_rule_between_the_parts_inside_is_kept_while_drawing() -> None:
    scopes = [{"kind": "everything"}, {"kind": "top_k", "keys": 4}]
    normalisers = [{"kind": "softmax"}, {"kind": "sigmoid"}]
    mixer = attention(scope={"choice": scopes}, normaliser={"choice": normalisers})
    made = SearchSpace.model_validate(space(mixer=mixer))
    drawn = [made.example(seed).layers[0].mixer for seed in range(100)]
    assert {(m.scope.kind, m.normaliser.kind) for m in drawn} == {
        ("everything", "softmax"),
        ("everything", "sigmoid"),
        ("top_k", "softmax"),
    }


def test_a_rule_between_the_parts_inside_refuses_a_space_without_any_pair() -> None:
    mixer = attention(scope={"kind": "top_k", "keys": 4}, normaliser={"kind": "sigmoid"})
    with pytest.raises(ValidationError, match="softmax only"):
        SearchSpace.model_validate(space(mixer=mixer))
    with pytest.raises(ValidationError, match=r"normaliser=sigmoid"):
        Architecture.model_validate(
            {
                "vocab": 8,
                "dim": 64,
                "layers": [
                    {"mixer": mixer, "ffn": {"kind": "none"}, "block": {"kind": "sequential"}}
                ],
            }
        )
