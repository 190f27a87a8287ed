"""Rotary positions against other implementations."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from nas.kernels.rotary.api import rotary
from nas.kernels.rotary.cost import forward_flops_per_token
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

TIMES = (64, 256, 1024, 4096, 16384, 32768)
QUERY_HEADS, KEY_HEADS, HEAD_DIM = 16, 4, 64
HALF = HEAD_DIM // 2


def _case(time: int) -> Case:
    return Case(
        label=f"B1 H{QUERY_HEADS} G{KEY_HEADS} T{time} K{HEAD_DIM}",
        time=time,
        draw=partial(_draw, time),
        flops=time * forward_flops_per_token(QUERY_HEADS, KEY_HEADS, HEAD_DIM),
        values_moved=2 * time * (QUERY_HEADS + KEY_HEADS) * HEAD_DIM + HALF,
    )


def _draw(time: int) -> list[Tensor]:
    """Heads inside of tokens in memory, as a projection leaves them."""
    q, k = (torch.randn(1, time, heads, HEAD_DIM) for heads in (QUERY_HEADS, KEY_HEADS))
    frequencies = 10_000.0 ** (-torch.arange(HALF) / HALF)
    return [q.transpose(1, 2), k.transpose(1, 2), frequencies]


def _table(q: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, K/2] in q's dtype; models keep them, so the peers do."""
    key = (q.shape[2], q.dtype, q.device)
    if key not in _TABLES:
        position = torch.arange(q.shape[2], device=q.device, dtype=torch.float32)
        angle = torch.outer(position, frequencies.float())
        _TABLES[key] = angle.cos().to(q.dtype), angle.sin().to(q.dtype)
    return _TABLES[key]


_TABLES: dict[tuple[int, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}


def _torch(q: Tensor, k: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = _table(q, frequencies)
    turned = []
    for x in (q, k):
        left, right = x.chunk(2, dim=-1)
        turned.append(torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1))
    return turned[0], turned[1]


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch": _torch}
    if torch.cuda.is_available():
        peers["torch compiled"] = torch.compile(_torch)
    if find_spec("fla"):
        from fla.modules.rotary import rotary_embedding

        def turned(q: Tensor, k: Tensor, frequencies: Tensor) -> list[Tensor]:
            table = _table(q, frequencies)
            return [rotary_embedding(x.transpose(1, 2), *table).transpose(1, 2) for x in (q, k)]

        peers["flash-linear-attention"] = turned
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_rope

        def turned_by_liger(q: Tensor, k: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
            # It turns its inputs in place, and wants the angles once for each half.
            cos, sin = (torch.cat((x, x), dim=-1)[None] for x in _table(q, frequencies))
            return liger_rope(q, k, cos, sin)

        peers["Liger-Kernel"] = turned_by_liger
    return peers


BENCHMARK = Benchmark(
    op="rotary",
    call=rotary,
    cases=[_case(time) for time in TIMES],
    peers=_peers,
)
