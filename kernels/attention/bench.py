"""Sizes of the benchmark, and other implementations of attention.

Softmax over all keys is torch's own function and not measured here.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from nas.kernels.attention import cost
from nas.kernels.attention.api import attention, routed_attention
from nas.kernels.attention.routing import chosen_queries
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

HEADS, GROUPS, WIDTH = 16, 4, 64
WINDOW, SINKS = 512, 4
ACTIVE = 4
"""Heads that a token uses of the routed ones."""
TIMES = (64, 256, 1024, 4096, 16384, 32768)


def _draw(time: int) -> list[Tensor]:
    sizes = (HEADS, GROUPS, GROUPS)
    return [torch.randn(1, heads, time, WIDTH) for heads in sizes]


def _draw_routed(time: int) -> list[Tensor]:
    """Each token uses `ACTIVE` heads; the list is as long as the fullest head needs."""
    best = torch.rand(1, HEADS, time).topk(ACTIVE, dim=1).indices
    mask = torch.zeros(1, HEADS, time, dtype=torch.bool).scatter(1, best, value=True)
    return [*_draw(time), chosen_queries(mask, most=int(mask.sum(-1).max()))]


def _case(time: int, *, window: int | None = None, sinks: int = 0) -> Case:
    scope = "" if window is None else f" W{window} A{sinks}"
    return Case(
        label=f"B1 H{HEADS} G{GROUPS} T{time} K{WIDTH} V{WIDTH}{scope}",
        time=time,
        draw=partial(_draw, time),
        flops=HEADS * cost.visible_flops(time, WIDTH, WIDTH, window=window, sinks=sinks),
        values_moved=2 * (HEADS + GROUPS) * time * WIDTH,
    )


def _routed_case(time: int) -> Case:
    """A token chooses its heads; on average a head has as many queries everywhere, so its share of
    the pairs is that of its queries."""
    return Case(
        label=f"B1 H{HEADS} G{GROUPS} T{time} K{WIDTH} V{WIDTH} {ACTIVE} heads of a token",
        time=time,
        draw=partial(_draw_routed, time),
        flops=ACTIVE * cost.visible_flops(time, WIDTH, WIDTH),
        values_moved=(ACTIVE + HEADS + 2 * GROUPS) * time * WIDTH,
    )


def _seen(time: int, window: int | None, sinks: int, device: torch.device) -> Tensor:
    place = torch.arange(time, device=device)
    behind = place[:, None] - place
    near = behind >= 0
    return near if window is None else near & ((behind < window) | (place < sinks))


def _dense(weigh: Callable[[Tensor, Tensor], Tensor]) -> Call:
    """All pairs in plain torch."""

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        shared = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
        seen = _seen(q.shape[2], None, 0, q.device)
        return weigh(q @ k.mT * q.shape[-1] ** -0.5, seen) @ v

    return call


def _sigmoid(scores: Tensor, seen: Tensor) -> Tensor:
    return (scores - seen.sum(-1, keepdim=True).log()).sigmoid() * seen


def _clipped(scores: Tensor, seen: Tensor) -> Tensor:
    gamma = -1.0 / seen.sum(-1, keepdim=True)
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return ((1.0 - gamma) * weights + gamma).clamp(0.0, 1.0) * seen


def _eager_and_compiled(weigh: Callable[[Tensor, Tensor], Tensor]) -> Mapping[str, Call]:
    # FlexAttention has no weights but softmax; flash-linear-attention and Liger-Kernel have no
    # sigmoid or clipped attention.
    return {"torch eager": _dense(weigh), "torch compiled": torch.compile(_dense(weigh))}


@cache
def _block_mask(time: int, device: torch.device) -> Any:
    """Made once, outside of what is timed."""
    from torch.nn.attention.flex_attention import create_block_mask

    def near(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return (column <= row) & ((row - column < WINDOW) | (column < SINKS))

    return create_block_mask(near, None, None, time, time, device=str(device))


def _window_peers() -> Mapping[str, Call]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled = torch.compile(flex_attention)

    def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen = _seen(q.shape[2], WINDOW, SINKS, q.device)
        return scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)

    def flex(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = _block_mask(q.shape[2], q.device)
        return compiled(q, k, v, block_mask=mask, enable_gqa=True)

    return {"torch SDPA with a mask": sdpa, "torch FlexAttention": flex}


def _routed_peers() -> Mapping[str, Call]:
    def sdpa(q: Tensor, k: Tensor, v: Tensor, queries: Tensor) -> Tensor:
        o = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        time = q.shape[2]
        kept = o.new_zeros(*q.shape[:2], time + 1, 1)
        index = torch.where(queries < 0, time, queries).unsqueeze(-1)
        return o * kept.scatter(2, index, 1.0)[:, :, :time]

    return {"torch SDPA of all heads, masked": sdpa}


BENCHMARKS = (
    Benchmark(
        op="attention, sigmoid",
        call=partial(attention, normaliser="sigmoid"),
        cases=[_case(time) for time in TIMES],
        peers=partial(_eager_and_compiled, _sigmoid),
    ),
    Benchmark(
        op="attention, clipped softmax",
        call=partial(attention, normaliser="clipped"),
        cases=[_case(time) for time in TIMES],
        peers=partial(_eager_and_compiled, _clipped),
    ),
    Benchmark(
        op="attention, softmax of a window and sinks",
        call=partial(attention, window=WINDOW, sinks=SINKS),
        cases=[_case(time, window=WINDOW, sinks=SINKS) for time in TIMES],
        peers=_window_peers,
    ),
    Benchmark(
        op="routed_attention",
        call=routed_attention,
        cases=[_routed_case(time) for time in TIMES],
        peers=_routed_peers,
    ),
)
BENCHMARK = BENCHMARKS[0]
