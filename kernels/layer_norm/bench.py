"""Layer normalisation against other implementations."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from nas.kernels.layer_norm.api import layer_norm
from nas.kernels.layer_norm.cost import forward_flops_per_token
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
        values_moved=2 * time * WIDTH + 2 * WIDTH,
    )


def _draw(time: int) -> list[Tensor]:
    return [torch.randn(1, time, WIDTH), torch.randn(WIDTH), torch.randn(WIDTH)]


def _torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.layer_norm(x, weight.shape, weight, bias, EPS)


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch": _torch}
    if torch.cuda.is_available():
        peers["torch compiled"] = torch.compile(_torch)
    if find_spec("fla"):
        from fla.modules.layernorm import layer_norm as fla_layer_norm

        peers["flash-linear-attention"] = partial(fla_layer_norm, eps=EPS)
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_layer_norm

        peers["Liger-Kernel"] = lambda x, weight, bias: liger_layer_norm(x, weight, bias, EPS)
    return peers


BENCHMARK = Benchmark(
    op="layer_norm",
    call=partial(layer_norm, eps=EPS),
    cases=[_case(time) for time in TIMES],
    peers=_peers,
)
