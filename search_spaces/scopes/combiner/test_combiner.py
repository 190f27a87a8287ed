"""The Combiner's factored probabilities, query by query."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.pieces.attend.module import repeat_heads
from tests.support.attention import Inputs, assert_same, build, cases


def tree_regions(block: int, low: int, high: int) -> Iterator[range]:
    """Blocks [low, high) without one of them, halved until only it is left."""
    if high - low == 1:
        return
    middle = (low + high) // 2
    left, right = (low, middle), (middle, high)
    here, other = (left, right) if block < middle else (right, left)
    yield range(*other)
    yield from tree_regions(block, *here)


def regions_of(kind: str, t: int, length: int, time: int, causal: bool) -> list[list[int]]:
    """Tokens of each region outside of the block of a query."""
    mine, blocks = t // length, -(-time // length)
    if kind == "axial":
        columns = [[r * length + c for r in range(blocks)] for c in range(length)]
        above = [[s for s in column if s // length < mine] for column in columns]
        below = [[s for s in column if s // length > mine] for column in columns]
        found = above if causal else above + below
    else:
        size = 1 << (blocks - 1).bit_length()
        groups = (
            list(tree_regions(mine, 0, size))
            if kind == "log_sparse"
            else [range(b, b + 1) for b in range(blocks) if b != mine]
        )
        kept = [group for group in groups if not causal or group[0] < mine]
        found = [[s for s in range(time) if s // length in group] for group in kept]
    return [region for tokens in found if (region := [s for s in tokens if s < time])]


def reference(inputs: Inputs, kind: str, pool: str, length: int, causal: bool) -> Tensor:
    """y_t = Σ p(Ω | t) Σ p(s | Ω) v_s + Σ p(s | t) v_s."""
    q, k, v = inputs
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    time, outputs = q.shape[2], []
    for t in range(time):
        regions = regions_of(kind, t, length, time, causal)
        own = [s for s in range(time) if s // length == t // length and (s <= t or not causal)]
        assert sorted(sum(regions, own)) == list(range(t + 1 if causal else time))
        keys, values = [k[:, :, own]], [v[:, :, own]]
        for region in regions:
            inside = k[:, :, region]
            pooled = inside.mean(2) if pool == "mean" else inside.max(2).values
            weights = torch.einsum("bhk,bhsk->bhs", pooled, inside) / q.shape[-1] ** 0.5
            value = torch.einsum("bhs,bhsv->bhv", weights.softmax(-1), v[:, :, region])
            keys.append(pooled[:, :, None])
            values.append(value[:, :, None])
        scores = torch.einsum("bhk,bhsk->bhs", q[:, :, t], torch.cat(keys, 2)) / q.shape[-1] ** 0.5
        outputs.append(torch.einsum("bhs,bhsv->bhv", scores.softmax(-1), torch.cat(values, 2)))
    return torch.stack(outputs, dim=2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("kind", ["fixed", "log_sparse", "axial"])
@pytest.mark.parametrize("length", [1, 4, 40])
def test_equals_the_factored_probabilities(length: int, kind: str, pool: str, causal: bool) -> None:
    spec = SCOPES["combiner"](block=length, regions=kind, pool=pool)
    for shape, inputs in cases((1, 2, 7, 22)):
        expected = reference(inputs, kind, pool, length, causal)
        assert_same(build(spec, shape, causal)(*inputs), expected, inputs)
