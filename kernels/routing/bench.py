"""Sizes of the benchmark, and other implementations of routing."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from nas.kernels.routing import cost
from nas.kernels.routing.api import combine, dispatch, route
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

EXPERTS, COPIES, WIDTH = 8, 2, 256


def _there_and_back(x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    where = route(chosen, EXPERTS)
    return combine(dispatch(x, where), weights, where)


def _draw(tokens: int) -> list[Tensor]:
    chosen = torch.rand(tokens, EXPERTS).argsort(dim=-1)[:, :COPIES]
    return [torch.randn(tokens, WIDTH), torch.rand(tokens, COPIES), chosen.contiguous()]


def _case(tokens: int) -> Case:
    return Case(
        label=f"N{tokens} E{EXPERTS} K{COPIES} D{WIDTH}",
        time=tokens,
        draw=partial(_draw, tokens),
        flops=tokens * cost.forward_flops_per_token(COPIES, WIDTH),
        # tokens are read and written once, their copies written and read once
        values_moved=2 * tokens * (1 + COPIES) * WIDTH + 4 * tokens * COPIES,
    )


def _torch(x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """Sorted by torch, and added up in whatever order the additions come."""
    order = chosen.flatten().argsort(stable=True)
    rows = x.index_select(0, order // COPIES)
    weighed = rows * weights.flatten().index_select(0, order).unsqueeze(1)
    return torch.zeros_like(x).index_add(0, order // COPIES, weighed)


def _peers() -> Mapping[str, Call]:
    # flash-linear-attention has no routing, and that of Liger-Kernel is inside its experts.
    return {"torch argsort and index_add": _torch}


BENCHMARK = Benchmark(
    op="routing",
    call=_there_and_back,
    cases=[_case(tokens) for tokens in (64, 256, 1024, 4096, 16384, 32768)],
    peers=_peers,
)
