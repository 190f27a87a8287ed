"""What every implementation of attention is held to."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nas.kernels.attention.api import NORMALISERS, attention, routed_attention
from nas.kernels.attention.routing import chosen_queries
from nas.kernels.runtime.checking import (
    DEVICE,
    check_budget,
    check_exact,
    error,
    with_gradients,
)
from nas.kernels.runtime.impl import Impl, use_impl

KEY, VALUE = 5, 7
SCOPES: dict[str, dict[str, Any]] = {
    "past": {},
    "window": {"window": 5},
    "sinks": {"window": 20, "sinks": 3},
    "all": {"causal": False},
    "both sides": {"causal": False, "window": 6, "sinks": 2},
    "sinks ahead": {"causal": False, "window": 4, "sinks": 30},
}
"""Which keys a query sees."""
ZETA = 1.125  # a number that is the same in float32


def options(scope: str, normaliser: str = "softmax") -> dict[str, Any]:
    stretch = {"alpha": 1.0, "zeta": ZETA} if normaliser == "clipped" else {}
    return {"normaliser": normaliser, **SCOPES[scope], **stretch}


def draw(
    time: int,
    keys: int,
    *,
    batch: int = 1,
    heads: int = 2,
    groups: int = 1,
    widths: tuple[int, int] = (KEY, VALUE),
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """q, k and v."""
    generator = torch.Generator().manual_seed(time)
    shapes = [
        (batch, heads, time, widths[0]),
        (batch, groups, keys, widths[0]),
        (batch, groups, keys, widths[1]),
    ]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(DEVICE)
        for shape in shapes
    ]


def chosen(batch: int, heads: int, time: int) -> Tensor:
    """Queries of each head as a router might choose them; the last head serves none."""
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(batch, heads, time, generator=generator) < 0.4
    mask[:, -1] = False
    return chosen_queries(mask.to(DEVICE), most=int(mask.sum(-1).max()) + 3)


def check_values(impl: Impl, scope: str, normaliser: str, time: int = 37, keys: int = 50) -> None:
    op: Callable[..., Tensor] = partial(attention, **options(scope, normaliser))
    check_exact(impl, op, draw(time, keys))


def check_widths(impl: Impl, time: int, widths: tuple[int, int], normaliser: str) -> None:
    inputs = draw(time, time, heads=1, widths=widths)
    check_exact(impl, partial(attention, **options("sinks", normaliser)), inputs)


def check_biases(impl: Impl) -> None:
    """A learned bias has a gradient; a number may stand in its place; so may another scale."""
    inputs = draw(21, 21)
    bias = torch.tensor([-0.7], dtype=torch.float64, device=DEVICE)
    op: Callable[..., Tensor] = partial(attention, normaliser="sigmoid", window=9, scale=0.75)
    check_exact(impl, op, [*inputs, bias])
    with use_impl(impl):
        learned, fixed = op(*inputs, bias), op(*inputs, -0.7)
    assert error(fixed, learned) < 1e-7  # a GPU takes numbers in float32


def check_low_precision(impl: Impl, dtype: torch.dtype, scope: str, normaliser: str) -> None:
    inputs = draw(18, 18, widths=(16, 16), dtype=dtype)
    check_budget(impl, partial(attention, **options(scope, normaliser)), inputs)


def check_routed(impl: Impl, scope: str, normaliser: str) -> None:
    q, k, v = draw(37, 50, heads=3)
    op: Callable[..., Tensor] = partial(routed_attention, **options(scope, normaliser))
    check_exact(impl, op, [q, k, v, chosen(1, 3, 37)])


def check_routed_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    q, k, v = draw(18, 18, widths=(16, 16), dtype=dtype)
    check_budget(impl, routed_attention, [q, k, v, chosen(1, 2, 18)])


def check_routed_order(impl: Impl) -> None:
    """In any order, and with a bias that is learned."""
    q, k, v = draw(21, 21, heads=2)
    bias = torch.tensor([-0.7], dtype=torch.float64, device=DEVICE)
    queries = chosen(1, 2, 21).flip(-1)
    op: Callable[..., Tensor] = partial(routed_attention, normaliser="sigmoid", window=8)
    check_exact(impl, op, [q, k, v, queries, bias])


def check_no_queries(impl: Impl) -> None:
    """Heads that serve nothing, and a list without a place."""
    q, k, v = draw(21, 21, heads=2)
    for most in (4, 0):
        none = torch.full((1, 2, most), -1, dtype=torch.int64, device=DEVICE)
        for result in with_gradients(impl, routed_attention, [q, k, v, none]):
            assert not result.any()


def check_batch(impl: Impl, normaliser: str) -> None:
    """A row of a batch is what it is alone, bit for bit, and is so again."""
    inputs = draw(17, 18, batch=2, heads=1, dtype=torch.float32)
    op: Callable[..., Tensor] = partial(attention, **options("sinks", normaliser))
    results, again = (with_gradients(impl, op, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))
    with use_impl(impl):
        alone = op(*(x[1:] for x in inputs))
    assert torch.equal(alone, results[0][1:])


def check_split(impl: Impl) -> None:
    """Queries may come in parts, each with the keys up to then."""
    q, k, v = draw(33, 33)
    for scope, normaliser in (("past", "softmax"), ("window", "sigmoid"), ("sinks", "clipped")):
        op: Callable[..., Tensor] = partial(attention, **options(scope, normaliser))
        with use_impl(impl):
            whole = op(q, k, v)
            parts = [
                op(q[:, :, a:b], k[:, :, :b], v[:, :, :b], start=a)
                for a, b in ((0, 20), (20, 32), (32, 33))
            ]
        assert error(torch.cat(parts, dim=2), whole) < 1e-12


def check_strides(impl: Impl) -> None:
    """Heads as they are split off, values of a row apart, and one key head for a whole batch."""
    q, k, v = draw(17, 17, batch=2, heads=4, groups=2)
    op: Callable[..., Tensor] = partial(attention, **options("sinks"))

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = q.transpose(1, 2).contiguous().transpose(1, 2)
        k = k.mT.contiguous().mT
        return op(q, k, v.expand(2, -1, -1, -1))

    check_exact(impl, call, [q, k, v[:1]])


def check_extremes(impl: Impl) -> None:
    """Scores as large as float32 has room for leave everything finite."""
    q, k, v = draw(17, 17, heads=1, dtype=torch.float32)
    for normaliser in NORMALISERS:
        op: Callable[..., Tensor] = partial(attention, **options("sinks", normaliser))
        results = with_gradients(impl, op, [1e4 * q, 1e4 * k, v])
        assert all(x.isfinite().all() for x in results)
