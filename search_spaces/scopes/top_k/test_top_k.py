"""The best-scored keys, found by sorting."""

import pytest
import torch

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.pieces.attend.module import repeat_heads
from tests.support.attention import assert_same, build, cases, dense


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("keys", [1, 3, 100])
def test_equals_attention_to_the_sorted_keys(keys: int, causal: bool) -> None:
    for shape, inputs in cases():
        q, k, _ = inputs
        time = q.shape[2]
        scores = torch.einsum("bhtk,bhsk->bhts", q, repeat_heads(k, q.shape[1]))
        mask = torch.zeros_like(scores)
        for row in torch.cartesian_prod(*map(torch.arange, scores.shape[:3])).view(-1, 3).tolist():
            seen = range(row[-1] + 1 if causal else time)
            best = sorted(seen, key=lambda s: scores[*row, s].item(), reverse=True)[:keys]
            mask[*row, best] = 1
        scope = build(SCOPES["top_k"](keys=keys), shape, causal)
        assert_same(scope(*inputs), dense(inputs, mask), inputs)
