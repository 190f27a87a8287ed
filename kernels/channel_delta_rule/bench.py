"""Sizes of the benchmark, and other implementations of the delta rule with a decay per channel."""

from collections.abc import Mapping
from importlib.util import find_spec

from nas.kernels.channel_delta_rule import cost
from nas.kernels.channel_delta_rule.api import channel_delta_rule
from nas.kernels.delta_rule.benchmark import LOG_DECAY, cases, fla_form
from nas.kernels.runtime.benchmark import Benchmark, Call


def _peers() -> Mapping[str, Call]:
    if find_spec("fla") is None:
        return {}
    return {"flash-linear-attention": fla_form("kda", "chunk_kda")}


BENCHMARK = Benchmark(
    op="channel_delta_rule",
    call=channel_delta_rule,
    cases=cases(cost.forward_flops_per_token, channel=True),
    peers=_peers,
    wide=(LOG_DECAY,),
)
