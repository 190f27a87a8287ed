"""Hash buckets, token by token."""

import pytest
import torch
from torch import Tensor

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.pieces.attend.module import repeat_heads
from tests.support.attention import Inputs, assert_same, build, cases, dense


def buckets_of(x: Tensor, rotations: Tensor) -> list[int]:
    """Bucket of a vector [K] in each round, by its largest projection or the opposite of one."""
    found = []
    for rotation in rotations:
        turned = (x @ rotation).tolist()
        both = [*turned, *(-value for value in turned)]
        found.append(both.index(max(both)))
    return found


def visible(inputs: Inputs, rotations: Tensor, causal: bool) -> Tensor:
    """[B, H, T, T]"""
    q, k = inputs.q, repeat_heads(inputs.k, inputs.q.shape[1])
    mask = torch.zeros(*q.shape[:3], q.shape[2], dtype=q.dtype)
    for batch, head in torch.cartesian_prod(torch.arange(len(q)), torch.arange(q.shape[1])):
        mine = [buckets_of(x, rotations) for x in q[batch, head]]
        theirs = [buckets_of(x, rotations) for x in k[batch, head]]
        for t, one in enumerate(mine):
            others = range(t if causal else len(mine))
            hit = [
                s
                for s in others
                if s != t and any(a == b for a, b in zip(one, theirs[s], strict=True))
            ]
            mask[batch, head, t, hit or [t]] = 1
    return mask


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("rounds", "buckets", "unit"), [(1, 2, False), (2, 6, True), (3, 16, False)]
)
def test_equals_attention_to_the_bucket(
    rounds: int, buckets: int, unit: bool, causal: bool
) -> None:
    spec = SCOPES["lsh"](rounds=rounds, buckets=buckets, unit_keys=unit, seed=5)
    for shape, inputs in cases((1, 2, 19)):
        scope = build(spec, shape, causal)
        q, k, v = inputs
        seen = Inputs(q, k / k.norm(dim=-1, keepdim=True) if unit else k, v)
        (rotations,) = scope.buffers()
        mask = visible(seen, rotations, causal)
        assert_same(scope(*inputs), dense(seen, mask), inputs)


def test_the_seed_decides_the_rotations() -> None:
    shape = next(cases())[0]
    first, same, other = (
        next(build(SCOPES["lsh"](rounds=1, buckets=4, seed=seed), shape, True).buffers())
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
