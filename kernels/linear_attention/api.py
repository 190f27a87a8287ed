"""Linear attention with a decaying state: checks shapes and picks the implementation.

Shapes: B batch, H heads, T time, K key width, V value width.
"""

from torch import Tensor

from nas.kernels.linear_attention import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_attention, check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "linear_attention"
_IMPLS = {
    Impl.REFERENCE: reference.linear_attention,
    Impl.CHUNKED: chunked.linear_attention,
    Impl.TRITON: triton_form(_OP),
}


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T`` and ``o_t = S_t^T q_t``, with no scaling.

    One decay per head is retention (arXiv 2307.08621) and the Mamba-2 recurrence
    (arXiv 2405.21060), one per key channel is gated linear attention (arXiv 2312.06635).

    Args:
        q: queries [B, H, T, K].
        k: keys [B, H, T, K].
        v: values [B, H, T, V].
        log_decay: natural log of the decay per step, g <= 0 and finite, broadcastable to
            [B, H, T, K]; a last axis of 1 is one decay for the whole state and runs faster.
            With one decay per channel the chunked form in float32 is good for g >= -10: any 16
            steps in a row may sum to -160, and beyond that it overflows. The Triton form takes any.
        state: S before the first step, [B, H, K, V]; None is zeros.

    Returns:
        o [B, H, T, V] in v's dtype, and S after the last step in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_attention(_OP, q.shape, k.shape, v.shape, None if state is None else state.shape)
    check_shape(_OP, "log_decay", log_decay.shape, "[B, H, T, K]", q.shape, broadcast=True)
    return pick(_OP, _IMPLS)(q, k, v, log_decay, state)
