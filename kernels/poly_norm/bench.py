"""PolyNorm against other implementations."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from nas.kernels.poly_norm.api import poly_norm
from nas.kernels.poly_norm.cost import forward_flops_per_token
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

TIMES = (64, 256, 1024, 4096, 16384, 32768)
WIDTH = 4096
EPS = 1e-6


def _case(time: int) -> Case:
    return Case(
        label=f"B1 T{time} D{WIDTH}",
        time=time,
        draw=partial(_draw, time),
        flops=time * forward_flops_per_token(WIDTH),
        values_moved=2 * time * WIDTH + 4,
    )


def _draw(time: int) -> list[Tensor]:
    return [torch.randn(1, time, WIDTH), torch.rand(3), torch.randn(1)]


def _torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = bias
    for degree in (1, 2, 3):
        power = x**degree
        y = y + weight[degree - 1] * power * (power.pow(2).mean(-1, keepdim=True) + EPS).rsqrt()
    return y


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch": _torch}
    if torch.cuda.is_available():
        peers["torch compiled"] = torch.compile(_torch)
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_poly_norm

        # It takes the highest power first.
        peers["Liger-Kernel"] = lambda x, weight, bias: liger_poly_norm(
            x, weight.flip(0), bias, EPS, in_place=False
        )
    return peers


BENCHMARK = Benchmark(
    op="poly_norm",
    call=partial(poly_norm, eps=EPS),
    cases=[_case(time) for time in TIMES],
    peers=_peers,
)
