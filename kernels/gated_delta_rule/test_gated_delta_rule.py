"""What only the gated delta rule is held to; the rest is in ``delta_rule/test_delta_rule.py``."""

from nas.kernels.delta_rule.checks import GATED, check_compiled, check_strongest
from nas.kernels.runtime.impl import Impl


def test_a_strong_decay_stays_finite() -> None:
    check_strongest(Impl.CHUNKED, GATED, 70)


def test_the_kernels_compile_for_compute_capability_8() -> None:
    check_compiled(GATED, 80)
