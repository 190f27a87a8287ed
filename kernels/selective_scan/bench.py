"""Sizes of the benchmark, and other implementations of the selective scan."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nas.kernels.runtime.benchmark import Benchmark, Call, Case
from nas.kernels.selective_scan import cost
from nas.kernels.selective_scan.api import selective_scan

STATES = 16


def _call(x: Tensor, step: Tensor, rates: Tensor, write: Tensor, read: Tensor) -> Tensor:
    return selective_scan(x, step, rates, write, read)[0]


def _draw(batch: int, time: int, channels: int) -> list[Tensor]:
    step = softplus(torch.randn(batch, time, channels) - 4.0)
    rates = -torch.arange(1.0, STATES + 1.0)[:, None].repeat(1, channels)
    write, read = (torch.randn(batch, time, STATES, 1) for _ in range(2))
    return [torch.randn(batch, time, channels), step, rates, write, read]


def _case(batch: int, time: int, channels: int) -> Case:
    per_token = cost.selective_scan_flops(STATES, channels, shared_read=True)
    return Case(
        label=f"B{batch} T{time} E{channels} N{STATES}",
        time=time,
        draw=partial(_draw, batch, time, channels),
        flops=per_token * batch * time,
        values_moved=batch * time * (3 * channels + 2 * STATES) + STATES * channels,
    )


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {}
    if find_spec("mamba_ssm") is not None:
        from mamba_ssm.ops.selective_scan_interface import (  # type: ignore[import-not-found]
            selective_scan_fn,
        )

        def mamba(x: Tensor, step: Tensor, rates: Tensor, write: Tensor, read: Tensor) -> Tensor:
            gains = (gain.squeeze(3).mT for gain in (write, read))
            y: Tensor = selective_scan_fn(x.mT, step.to(x.dtype).mT, rates.mT, *gains)
            return y.mT

        peers["mamba_ssm"] = mamba
    return peers


BENCHMARK = Benchmark(
    op="selective_scan",
    call=_call,
    cases=[
        *(_case(2, time, 256) for time in (64, 256, 1024)),
        *(_case(8, time, 1024) for time in (1024, 4096)),
        *(_case(1, time, 1024) for time in (16384, 32768)),
    ],
    peers=_peers,
    wide=(1, 2),
)
