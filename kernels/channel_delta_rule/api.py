"""The delta rule with a decay per key channel: checks shapes and picks the implementation.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

from torch import Tensor

from nas.kernels.channel_delta_rule import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_attention, check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "channel_delta_rule"
_IMPLS = {
    Impl.REFERENCE: reference.channel_delta_rule,
    Impl.CHUNKED: chunked.channel_delta_rule,
    Impl.TRITON: triton_form(_OP),
}


def channel_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = (I - beta_t k_t k_t^T) diag(exp(g_t)) S_{t-1} + beta_t k_t v_t^T``, o_t = S_t^T q_t.

    This is Kimi Delta Attention (arXiv 2510.26692). Nothing is scaled or normalised here.

    Args:
        q: queries [B, H, T, K].
        k: keys [B, H, T, K], of length 1 at most: with beta * |k|^2 above 2 the state can grow
            without bound.
        v: values [B, H, T, V].
        log_decay: natural log of the decay per step and channel, g <= 0 and finite, broadcastable
            to [B, H, T, K]. The chunked form in float32 is good for g >= -10: any 16 steps in a
            row may sum to -160, and beyond that it overflows.
        beta: share of the old value that a write replaces, in [0, 2], broadcastable to [B, H, T].
        state: S before the first step, [B, H, K, V]; None is zeros.

    Returns:
        o [B, H, T, V] in v's dtype, and S after the last step in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_attention(_OP, q.shape, k.shape, v.shape, None if state is None else state.shape)
    check_shape(_OP, "log_decay", log_decay.shape, "[B, H, T, K]", q.shape, broadcast=True)
    check_shape(_OP, "beta", beta.shape, "[B, H, T]", q.shape[:3], broadcast=True)
    return pick(_OP, _IMPLS)(q, k, v, log_decay, beta, state)
