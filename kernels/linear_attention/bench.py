"""Sizes of the benchmark, and other implementations of linear attention."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from nas.kernels.linear_attention import cost
from nas.kernels.linear_attention.api import linear_attention
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

BATCH, HEADS, DIM = 1, 16, 64
TIMES = (64, 256, 1024, 4096, 16384, 32768)


def _draw(time: int, decays: int) -> list[Tensor]:
    """Queries, keys, values and decays; there are `decays` for each head and token."""
    lines = (BATCH, HEADS, time)
    q, k, v = (torch.randn(*lines, DIM) for _ in range(3))
    return [q * DIM**-0.5, k, v, torch.nn.functional.logsigmoid(torch.randn(*lines, decays) + 2)]


def _case(time: int, decays: int) -> Case:
    tokens, per_channel = BATCH * HEADS * time, decays > 1
    flops = cost.forward_flops_per_token(time, DIM, DIM, per_channel=per_channel)
    return Case(
        label=f"B{BATCH} H{HEADS} T{time} K{DIM} V{DIM}, decays {decays}",
        time=time,
        draw=partial(_draw, time, decays),
        flops=tokens * flops,
        values_moved=tokens * (4 * DIM + decays),
    )


def _fla(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    from fla.ops.gla import chunk_gla
    from fla.ops.simple_gla import chunk_simple_gla

    # Their layout is [B, T, H, D], and one decay per head has no last axis.
    q, k, v, g = (x.transpose(1, 2) for x in (q, k, v, log_decay))
    scalar = g.shape[-1] == 1
    call = chunk_simple_gla if scalar else chunk_gla
    o, last = call(q, k, v, g[..., 0] if scalar else g, scale=1.0, output_final_state=True)
    return o.transpose(1, 2), last


def _peers() -> Mapping[str, Call]:
    # Neither torch nor Liger-Kernel has such an op.
    return {"flash-linear-attention": _fla} if find_spec("fla") else {}


BENCHMARK = Benchmark(
    op="linear_attention",
    call=linear_attention,
    cases=[_case(time, decays) for decays in (1, DIM) for time in TIMES],
    peers=_peers,
    wide=(3,),
)
