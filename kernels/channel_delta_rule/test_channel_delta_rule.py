"""What only the delta rule with a decay per channel is held to; the rest is in
``delta_rule/test_delta_rule.py``."""

import pytest
import torch

from nas.kernels.delta_rule.checks import CHANNEL, check_compiled, check_rate, draw
from nas.kernels.gated_delta_rule.reference import gated_delta_rule
from nas.kernels.runtime.impl import Impl


@pytest.mark.parametrize("rate", [-1e-4, -1.0, -10.0])
def test_decays_up_to_the_end_of_the_range(rate: float) -> None:
    check_rate(Impl.CHUNKED, CHANNEL, rate, 70)


def test_one_decay_for_all_channels_is_the_gated_delta_rule() -> None:
    q, k, v, log_decay, beta, state = draw(CHANNEL, 2, 40)
    log_decay = log_decay[..., :1]
    ours = CHANNEL.op(q, k, v, log_decay, beta, state)
    theirs = gated_delta_rule(q, k, v, log_decay[..., 0], beta, state)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected)


def test_the_kernels_compile_for_compute_capability_9() -> None:
    check_compiled(CHANNEL, 90)
