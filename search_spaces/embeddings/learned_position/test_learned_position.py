"""The embedding against its sum, token by token."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import EMBEDDINGS

TOKENS = torch.tensor([[8, 0, 3], [3, 3, 7]])
SEGMENT = torch.tensor([[0, 1, 1], [1, 0, 2]])


def embedding(**options: Any) -> Any:
    """An embedding of 9 tokens, 6 positions and 16 channels."""
    torch.manual_seed(0)
    numbers = {"kind": "learned_position", "max_tokens": 6, **options}
    spec = EMBEDDINGS["learned_position"].model_validate(numbers)
    return execute(spec.vocabulary_plan(Place(16, 1, 0), 9)).double()


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("segment", [None, SEGMENT])
def test_equals_the_sum(segment: torch.Tensor | None, norm: str) -> None:
    built = embedding(segments=3, norm={"kind": norm})
    tables = built if norm == "none" else built.embedding
    vectors = built(TOKENS, 2) if segment is None else built(TOKENS, 2, segment)
    expected = torch.empty_like(vectors)
    for row in range(2):
        for column in range(3):
            kind = 0 if segment is None else segment[row, column]
            expected[row, column] = (
                tables.token.weight[TOKENS[row, column]]
                + tables.position.weight[2 + column]
                + tables.segment.weight[kind]
            )
    if norm == "layer":
        expected = F.layer_norm(expected, (16,), built.norm.weight, built.norm.bias)
    torch.testing.assert_close(vectors, expected, rtol=1e-12, atol=1e-12)
    mix = torch.randn_like(vectors)
    of = list(built.parameters())
    got = torch.autograd.grad((vectors * mix).sum(), of, retain_graph=True)
    want = torch.autograd.grad((expected * mix).sum(), of)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_without_segments_there_is_no_table() -> None:
    plain = embedding()
    assert set(dict(plain.named_parameters())) == {"token.weight", "position.weight"}
    expected = plain.token.weight[TOKENS] + plain.position.weight[:3]
    torch.testing.assert_close(plain(TOKENS, 0), expected, rtol=0, atol=0)


@pytest.mark.parametrize("segments", [None, 2])
def test_past_the_last_position_is_an_error(segments: int | None) -> None:
    with pytest.raises(IndexError):
        embedding(segments=segments)(TOKENS, 4)


def test_a_tied_head_finds_the_table() -> None:
    normalised = embedding(segments=2, norm={"kind": "rms"})
    assert normalised.token is normalised.embedding.token
