"""Sizes of the benchmarks of the delta rules, which are those of the models that use them.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

import importlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from nas.kernels.runtime.benchmark import Call, Case

LOG_DECAY = 3
"""Its position among the inputs; it stays in float32."""
_SIZES = [
    *((2, 4, time, 32) for time in (64, 256, 1024)),
    *((8, 16, time, 64) for time in (1024, 4096)),
    (8, 8, 4096, 128),
    *((1, 16, time, 64) for time in (16384, 32768)),
]


def cases(flops_per_token: Callable[[int, int, int], int], *, channel: bool) -> list[Case]:
    """From small ones for a CPU to 32k tokens for a GPU; `channel` is a decay per key channel."""
    return [_case(*size, flops_per_token, channel) for size in _SIZES]


def fla_form(op: str, name: str) -> Call:
    """A function of flash-linear-attention, which has time before heads and scales queries.

    It is imported when called, since without a GPU that fails.
    """

    def call(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor) -> list[Tensor]:
        chunk_rule = getattr(importlib.import_module(f"fla.ops.{op}"), name)
        given = (x.transpose(1, 2) for x in (q, k, v, log_decay, beta))
        o, state = chunk_rule(*given, scale=1.0, output_final_state=True)
        return [o.transpose(1, 2), state]

    return call


def _case(
    batch: int,
    heads: int,
    time: int,
    width: int,
    flops_per_token: Callable[[int, int, int], int],
    channel: bool,
) -> Case:
    decays = width if channel else 1
    tokens = batch * heads * time
    return Case(
        label=f"B{batch} H{heads} T{time} K{width} V{width}",
        time=time,
        draw=partial(_draw, batch, heads, time, width, channel),
        flops=tokens * flops_per_token(time, width, width),
        # q, k, v, o, decays and beta; and the last state
        values_moved=tokens * (4 * width + decays + 1) + batch * heads * width * width,
    )


def _draw(batch: int, heads: int, time: int, width: int, channel: bool) -> list[Tensor]:
    """q, k, v, log_decay and beta as models make them: in memory [B, T, H, ...], k of length 1."""

    def normal(*widths: int) -> Tensor:
        return torch.randn(batch, time, heads, *widths).transpose(1, 2)

    q, k = (normalize(normal(width), dim=-1) for _ in range(2))
    log_decay = -softplus(normal(width) if channel else normal()) / 8
    return [q * width**-0.5, k, normal(width), log_decay, normal().sigmoid()]
