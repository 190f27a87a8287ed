"""Sizes of the benchmark, and other implementations of the gated delta rule."""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec

from torch import Tensor

from nas.kernels.delta_rule.benchmark import LOG_DECAY, cases, fla_form
from nas.kernels.gated_delta_rule import cost
from nas.kernels.gated_delta_rule.api import gated_delta_rule
from nas.kernels.runtime.benchmark import Benchmark, Call


def _peers() -> Mapping[str, Call]:
    peers: dict[str, Call] = {}
    if find_spec("fla") is not None:
        peers["flash-linear-attention"] = fla_form("gated_delta_rule", "chunk_gated_delta_rule")
    if find_spec("transformers") is not None:
        peers["transformers (torch)"] = _qwen
    return peers


def _qwen(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor) -> list[Tensor]:
    """The torch form of Qwen3-Next: time before heads, queries scaled inside."""
    model = importlib.import_module("transformers.models.qwen3_next.modeling_qwen3_next")
    given = (x.transpose(1, 2) for x in (q * q.shape[-1] ** 0.5, k, v, log_decay, beta))
    o, state = model.torch_chunk_gated_delta_rule(*given, output_final_state=True)
    return [o.transpose(1, 2), state]


BENCHMARK = Benchmark(
    op="gated_delta_rule",
    call=gated_delta_rule,
    cases=cases(cost.forward_flops_per_token, channel=False),
    peers=_peers,
    wide=(LOG_DECAY,),
)
