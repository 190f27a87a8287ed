"""Sizes of the benchmark, and other implementations of linear cross-entropy."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.kernels.linear_cross_entropy import cost
from nas.kernels.linear_cross_entropy.api import linear_cross_entropy
from nas.kernels.runtime.benchmark import Benchmark, Call, Case

SIZES = [
    # tokens, width, vocabulary
    (64, 64, 256),
    (256, 128, 8192),
    (512, 256, 256),
    (512, 256, 8192),
    (512, 256, 50257),
    (1024, 128, 8192),
    (4096, 256, 8192),
    (4096, 256, 50257),
    (16384, 256, 256),
    (16384, 512, 50257),
    (32768, 512, 50257),
]


def _draw(tokens: int, width: int, vocab: int) -> list[Tensor]:
    weight = torch.randn(vocab, width) * width**-0.5
    return [torch.randn(tokens, width), weight, torch.randint(0, vocab, (tokens,))]


def _case(tokens: int, width: int, vocab: int) -> Case:
    return Case(
        label=f"N{tokens} D{width} V{vocab}",
        time=tokens,
        draw=partial(_draw, tokens, width, vocab),
        flops=tokens * cost.forward_flops_per_token(width, vocab),
        values_moved=tokens * width + vocab * width,
    )


def _dense(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, weight).float(), targets)


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {"torch cross_entropy(linear)": _dense}
    if hasattr(F, "linear_cross_entropy"):  # torch 2.13
        peers["torch linear_cross_entropy"] = partial(
            F.linear_cross_entropy, options=torch.nn.LinearCrossEntropyOptions()
        )
    if find_spec("liger_kernel"):
        peers["Liger-Kernel"] = _liger
    if find_spec("fla"):
        peers["flash-linear-attention"] = _fla
    return peers


def _liger(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    loss: Tensor = liger_fused_linear_cross_entropy(x, weight, targets)
    return loss


def _fla(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from fla.modules.fused_linear_cross_entropy import fused_linear_cross_entropy_loss

    loss: Tensor = fused_linear_cross_entropy_loss(x, targets, weight)
    return loss


BENCHMARK = Benchmark(
    op="linear_cross_entropy",
    call=linear_cross_entropy,
    cases=[_case(*sizes) for sizes in SIZES],
    peers=_peers,
)
