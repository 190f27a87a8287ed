"""RMS normalisation of a sum against other implementations."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from nas.kernels.add_rms_norm.api import add_rms_norm
from nas.kernels.add_rms_norm.cost import forward_flops_per_token
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

TIMES = (64, 256, 1024, 4096, 16384, 32768)
WIDTH = 1024
EPS = 1e-6


def _case(time: int) -> Case:
    return Case(
        label=f"B1 T{time} D{WIDTH}",
        time=time,
        draw=partial(_draw, time),
        flops=time * forward_flops_per_token(WIDTH),
        values_moved=4 * time * WIDTH + WIDTH,
    )


def _draw(time: int) -> list[Tensor]:
    x, residual = torch.randn(2, 1, time, WIDTH)
    return [x, residual, torch.randn(WIDTH)]


def _torch(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = residual + x
    return functional.rms_norm(total, weight.shape, weight, EPS), total


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch": _torch}
    if torch.cuda.is_available():
        peers["torch compiled"] = torch.compile(_torch)
    if find_spec("fla"):
        from fla.modules.layernorm import rms_norm as fla_rms_norm

        peers["flash-linear-attention"] = lambda x, residual, weight: fla_rms_norm(
            x, weight, None, residual, eps=EPS, prenorm=True
        )
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_add_rms_norm

        peers["Liger-Kernel"] = lambda x, residual, weight: liger_fused_add_rms_norm(
            x, residual, weight, EPS, in_place=False
        )
    return peers


BENCHMARK = Benchmark(
    op="add_rms_norm",
    call=partial(add_rms_norm, eps=EPS),
    cases=[_case(time) for time in TIMES],
    peers=_peers,
)
