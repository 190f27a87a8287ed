"""Sizes of the benchmark, and other implementations of a diagonal recurrence."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from nas.kernels.diagonal_scan import reference
from nas.kernels.diagonal_scan.api import diagonal_scan
from nas.kernels.runtime.benchmark import Benchmark, Call, Case


def _call(x: Tensor, decay: Tensor) -> Tensor:
    return diagonal_scan(x, decay)[0]


def _draw(batch: int, time: int, channels: int) -> list[Tensor]:
    decay = (2.0 + torch.randn(batch, time, channels)).sigmoid()
    return [torch.randn(batch, time, channels), decay]


def _case(batch: int, time: int, channels: int) -> Case:
    return Case(
        label=f"B{batch} T{time} C{channels}",
        time=time,
        draw=partial(_draw, batch, time, channels),
        flops=0,
        values_moved=3 * batch * time * channels,
    )


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {
        "torch, step by step": lambda x, decay: reference.diagonal_scan(x, decay)[0]
    }
    if find_spec("fla") is not None:
        from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn

        peers["flash-linear-attention, chunk"] = lambda x, decay: chunk_hgrn(x, decay.log())[0]
        peers["flash-linear-attention, recurrent"] = lambda x, decay: fused_recurrent_hgrn(
            x, decay.log()
        )[0]
    return peers


BENCHMARK = Benchmark(
    op="diagonal_scan",
    call=_call,
    cases=[
        *(_case(2, time, 256) for time in (64, 256, 1024)),
        *(_case(8, time, 1024) for time in (1024, 4096)),
        *(_case(1, time, 1024) for time in (16384, 32768)),
    ],
    peers=_peers,
    wide=(1,),
)
