"""Sizes of the benchmark, and other implementations of a grouped matrix product."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from nas.kernels.grouped_matmul import cost
from nas.kernels.grouped_matmul.api import grouped_matmul
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

GROUPS, INPUTS, OUTPUTS = 8, 256, 512
COPIES = 2
"""Rows of a token, as a router with two experts makes them."""


def _draw(tokens: int) -> list[Tensor]:
    """Rows of groups that differ in size, as a router makes them."""
    rows = tokens * COPIES
    groups = torch.randint(GROUPS, (rows,)).minimum(torch.randint(GROUPS, (rows,)))
    sizes = torch.bincount(groups, minlength=GROUPS)
    weight = torch.randn(GROUPS, INPUTS, OUTPUTS) * INPUTS**-0.5
    return [torch.randn(rows, INPUTS), weight, sizes]


def _case(tokens: int) -> Case:
    rows = tokens * COPIES
    return Case(
        label=f"N{rows} E{GROUPS} D{INPUTS} F{OUTPUTS}",
        time=tokens,
        draw=partial(_draw, tokens),
        flops=rows * cost.forward_flops_per_token(INPUTS, OUTPUTS),
        values_moved=rows * (INPUTS + OUTPUTS) + GROUPS * (INPUTS * OUTPUTS + 1),
    )


def _torch(x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    return torch.nn.functional.grouped_mm(x, weight, offs=sizes.cumsum(0).to(torch.int32))


def _peers() -> Mapping[str, Call]:
    # flash-linear-attention has no such op, and that of Liger-Kernel is one with the activation.
    if hasattr(torch.nn.functional, "grouped_mm"):  # from torch 2.10
        return {"torch grouped_mm": _torch}
    return {}


BENCHMARK = Benchmark(
    op="grouped_matmul",
    call=grouped_matmul,
    cases=[_case(tokens) for tokens in (64, 256, 1024, 4096, 16384, 32768)],
    peers=_peers,
)
