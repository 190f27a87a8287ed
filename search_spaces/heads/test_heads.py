"""Heads against their equations."""

from typing import Any

import torch
import torch.nn.functional as F

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import EMBEDDINGS, HEADS

AT = Place(16, 2, 0, causal=False)
X = torch.randn(2, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def built(kind: str, *, tied: bool = False, **fields: Any) -> Any:
    torch.manual_seed(0)
    head = HEADS[kind].model_validate({"kind": kind, **fields})
    return execute(head.output_plan(AT, 11, tied=tied)).double()


def test_masked_token_is_the_head_of_bert() -> None:
    torch.manual_seed(0)
    embedding = execute(EMBEDDINGS["token"](kind="token").vocabulary_plan(AT, 11)).double()
    head = built("masked_token", tied=True)
    torch.nn.init.normal_(head.head.bias)
    h = F.gelu(X @ head.dense.weight.T + head.dense.bias)
    h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (h * head.norm.weight + head.norm.bias) @ embedding.token.weight.T + head.head.bias
    torch.testing.assert_close(head(X, embedding), expected)


def test_classification_pools_and_transforms() -> None:
    head = built("classification", classes=3)
    pooled = torch.stack([sum(s) / len(s) for s in X])
    pooled = (pooled @ head.pool.dense.weight.T + head.pool.dense.bias).tanh()
    torch.testing.assert_close(head(X, None), pooled @ head.out.weight.T + head.out.bias)


def test_classification_may_read_the_first_token_alone() -> None:
    head = built("classification", classes=3, pool="first", transform=False)
    expected = X[:, 0] @ head.out.weight.T + head.out.bias
    torch.testing.assert_close(head(X, None), expected)
    assert torch.equal(head(X.clone().index_fill_(1, torch.tensor([3]), 0.0), None), head(X, None))
