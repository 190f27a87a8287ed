"""Sizes of the benchmark, and other implementations of the K largest."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from nas.kernels.runtime.benchmark import Benchmark, Call, Case
from nas.kernels.top_k import cost
from nas.kernels.top_k.api import top_k

ENTRIES, K = 16, 2


def _values(scores: Tensor) -> Tensor:
    return top_k(scores, K)[0]


def _draw(tokens: int) -> list[Tensor]:
    return [torch.randn(tokens, ENTRIES)]


def _case(tokens: int) -> Case:
    return Case(
        label=f"N{tokens} E{ENTRIES} K{K}",
        time=tokens,
        draw=partial(_draw, tokens),
        flops=cost.forward_flops_per_token(ENTRIES, K) * tokens,
        values_moved=tokens * (ENTRIES + 2 * K),
    )


def _peers() -> Mapping[str, Call]:
    return {
        "torch.topk (order of ties open)": lambda scores: scores.topk(K, dim=-1)[0],
        "torch.sort": lambda scores: scores.sort(dim=-1, descending=True, stable=True)[0][:, :K],
    }


BENCHMARK = Benchmark(
    op="top_k",
    call=_values,
    cases=[_case(tokens) for tokens in (64, 256, 1024, 4096, 16384, 32768)],
    peers=_peers,
)
