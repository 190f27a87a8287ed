"""Gated SiLU against other implementations."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from nas.kernels.gated_activation.api import gated_activation
from nas.kernels.gated_activation.cost import forward_flops_per_token
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

TIMES = (64, 256, 1024, 4096, 16384, 32768)
WIDTH = 2816


def _case(time: int) -> Case:
    return Case(
        label=f"B1 T{time} D{WIDTH}",
        time=time,
        draw=partial(_draw, time),
        flops=time * forward_flops_per_token(WIDTH),
        values_moved=3 * time * WIDTH,
    )


def _draw(time: int) -> list[Tensor]:
    gate, up = torch.randn(2, 1, time, WIDTH)
    return [gate, up]


def _torch(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate) * up


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch": _torch}
    if torch.cuda.is_available():
        peers["torch compiled"] = torch.compile(_torch)
    if find_spec("fla"):
        from fla.modules.activations import swiglu

        peers["flash-linear-attention"] = swiglu
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_swiglu

        peers["Liger-Kernel"] = liger_swiglu
    return peers


BENCHMARK = Benchmark(
    op="gated_activation",
    call=partial(gated_activation, activation="silu"),
    cases=[_case(time) for time in TIMES],
    peers=_peers,
)
