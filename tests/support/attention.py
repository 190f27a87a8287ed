"""Scopes of attention against a dense reference in float64."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import HeadShape, Place, Scope
from nas.search_spaces.catalogue import NORMALISERS
from nas.search_spaces.ops import merge_costs
from nas.search_spaces.pieces.attend.module import repeat_heads
from tests.contracts.flops import counted_flops

LENGTHS = (1, 2, 7, 33)
HEADS = ((1, 1), (4, 2))
SEES = Callable[[int, int, int], bool]
"""Whether a query at t sees the key at s of a text of so many tokens."""


class Inputs(NamedTuple):
    """Queries [B, H, T, K], keys [B, G, T, K] and values [B, G, T, V]."""

    q: Tensor
    k: Tensor
    v: Tensor


def place(causal: bool) -> Place:
    """Surroundings of a family."""
    return Place(dim=16, depth=1, layer=0, causal=causal)


def cases(lengths: tuple[int, ...] = LENGTHS) -> Iterator[tuple[HeadShape, Inputs]]:
    """One head and several in groups, at odd lengths; keys are wider than values."""
    random = torch.Generator().manual_seed(0)
    for heads, groups in HEADS:
        shape = HeadShape(heads, groups, 6, 4)
        for time in lengths:
            sizes = ((heads, 6), (groups, 6), (groups, 4))
            drawn = (
                torch.randn(2, h, time, d, generator=random, dtype=torch.float64) for h, d in sizes
            )
            yield shape, Inputs(*(x.requires_grad_() for x in drawn))


def build(scope: Scope, shape: HeadShape, causal: bool, normaliser: str = "softmax") -> nn.Module:
    """The module of a scope, in evaluation mode."""
    torch.manual_seed(1)
    weights = NORMALISERS[normaliser].model_validate(NORMALISERS[normaliser].example)
    module: nn.Module = execute(scope.attend_plan(place(causal), shape, weights))
    return module.double().eval()


def mask_of(sees: SEES, time: int) -> Tensor:
    """[T, T]"""
    return torch.tensor([[sees(t, s, time) for s in range(time)] for t in range(time)])


def dense(inputs: Inputs, mask: Tensor) -> Tensor:
    """Softmax attention by its definition, over what the mask [..., T, T] lets through."""
    q, k, v = inputs
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    scores = torch.einsum("bhtk,bhsk->bhts", q, k) / q.shape[-1] ** 0.5
    weights = scores.exp() * mask
    return torch.einsum("bhts,bhsv->bhtv", weights / weights.sum(-1, keepdim=True), v)


def assert_same(actual: Tensor, expected: Tensor, wanted: Sequence[Tensor]) -> None:
    """Equal values, and equal gradients of what is wanted."""
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)
    upstream = torch.randn_like(expected)
    keep = {"retain_graph": True, "allow_unused": True}
    found = torch.autograd.grad((actual * upstream).sum(), wanted, **keep)
    right = torch.autograd.grad((expected * upstream).sum(), wanted, **keep)
    for one, other in zip(found, right, strict=True):
        if one is None or other is None:  # a single token's weight is one, whatever its score
            rest = one if other is None else other
            assert rest is None or rest.abs().max() < 1e-11
        else:
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def assert_masked(scope: Scope, causal: bool, sees: SEES) -> None:
    """The scope is softmax attention under a mask, and with other weights keeps to the same."""
    for shape, inputs in cases():
        mask = mask_of(sees, inputs.q.shape[2])
        assert_same(build(scope, shape, causal)(*inputs), dense(inputs, mask), inputs)
        weighted = build(scope, shape, causal, "relu")
        q, k, v = inputs
        k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
        expected = weighted.normaliser(q @ k.mT * q.shape[-1] ** -0.5, mask) @ v
        assert_same(weighted(*inputs), expected, inputs)
    assert_priced(scope, causal, "relu")
    if causal:
        assert_decodes(scope, "relu")
        assert_decodes(scope, "softmax")


@torch.no_grad()
def assert_priced(scope: Scope, causal: bool, normaliser: str) -> None:
    """FLOPs of a forward pass."""
    weights = NORMALISERS[normaliser].model_validate(NORMALISERS[normaliser].example)
    for shape, inputs in cases((64,)):
        module, detached = build(scope, shape, causal, normaliser), [x.detach() for x in inputs]
        _, _, flops, _ = merge_costs(scope.attend_ops(place(causal), shape, weights, 64))
        assert counted_flops(lambda: module(*detached)) == 2 * 64 * flops  # noqa: B023


@torch.no_grad()
def assert_decodes(scope: Scope, normaliser: str) -> None:
    """Decoding gives what the forward pass gives, for the FLOPs and the cache that it declares."""
    weights = NORMALISERS[normaliser].model_validate(NORMALISERS[normaliser].example)
    for shape, inputs in cases((33,)):
        q, k, v = (x.detach() for x in inputs)
        module = build(scope, shape, True, normaliser)
        whole, cache = module(q, k, v), module.empty_cache()
        for t in range(33):
            step = slice(t, t + 1)
            seen = cache.append(k[:, :, step], v[:, :, step])
            y = module(q[:, :, step], *seen, t)
            torch.testing.assert_close(y, whole[:, :, step], rtol=1e-9, atol=1e-11)
            held = min(t + 1, scope.cache_tokens or 33)
            assert cache.values_held() == held * shape.groups * (shape.key_dim + shape.value_dim)
        _, _, _, flops = merge_costs(scope.attend_ops(place(True), shape, weights, 33))
        assert counted_flops(lambda: module(q[:, :, 32:], *seen, 32)) == 2 * flops  # noqa: B023
