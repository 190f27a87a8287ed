"""Sizes of the benchmark, and other implementations of a short causal convolution with SiLU."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.kernels.runtime.benchmark import Benchmark, Call, Case
from nas.kernels.short_conv import cost
from nas.kernels.short_conv.api import short_conv

WIDTH = 4


def _call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return short_conv(x, weight, bias, None, "silu")[0]


def _draw(batch: int, time: int, channels: int) -> list[Tensor]:
    scale = WIDTH**-0.5
    weight = scale * torch.randn(channels, WIDTH)
    return [torch.randn(batch, time, channels), weight, scale * torch.randn(channels)]


def _case(batch: int, time: int, channels: int) -> Case:
    return Case(
        label=f"B{batch} T{time} C{channels} W{WIDTH}",
        time=time,
        draw=partial(_draw, batch, time, channels),
        flops=cost.short_conv_flops(channels, WIDTH) * batch * time,
        values_moved=cost.values_moved(batch, time, channels, WIDTH),
    )


def _torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padded = F.pad(x, (0, 0, weight.shape[1] - 1, 0)).mT
    return F.silu(F.conv1d(padded, weight[:, None], bias, groups=x.shape[2]).mT)


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch Conv1d": _torch}
    if find_spec("causal_conv1d") is not None:
        from causal_conv1d import causal_conv1d_fn  # type: ignore[import-not-found]

        def cuda(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            y: Tensor = causal_conv1d_fn(x.mT, weight, bias, activation="silu")
            return y.mT

        peers["causal_conv1d"] = cuda
    if find_spec("fla") is not None:
        from fla.modules.convolution import causal_conv1d

        def fla(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            y: Tensor = causal_conv1d(x, weight, bias, activation="silu")[0]
            return y

        peers["flash-linear-attention"] = fla
    return peers


BENCHMARK = Benchmark(
    op="short_conv",
    call=_call,
    cases=[
        *(_case(2, time, 384) for time in (64, 256, 1024)),
        *(_case(8, time, 1024) for time in (1024, 4096)),
        *(_case(1, time, 1024) for time in (16384, 32768)),
    ],
    peers=_peers,
)
