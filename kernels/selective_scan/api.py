"""The selective scan of Mamba: checks shapes and picks the implementation.

Shapes: B batch, T time, E channels, N states of each channel.
"""

from torch import Tensor

from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form
from nas.kernels.selective_scan import chunked, reference

_OP = "selective_scan"
_IMPLS = {
    Impl.REFERENCE: reference.selective_scan,
    Impl.CHUNKED: chunked.selective_scan,
    Impl.TRITON: triton_form(_OP),
}


def selective_scan(
    x: Tensor,
    step: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``h_t = exp(step_t rates) h_{t-1} + step_t write_t x_t`` and ``y_t = sum_n read_t h_t``.

    The recurrence of Mamba (arXiv 2312.00752) without its skip: A is ``rates``, B is ``write``, C
    is ``read``, the step size is Delta.

    Args:
        x: inputs [B, T, E].
        step: step sizes, at least 0, broadcastable to [B, T, E].
        rates: [N, E], at most 0.
        write: how a channel enters its states, broadcastable to [B, T, N, E].
        read: how a channel's states are read, broadcastable to [B, T, N, E]; a last axis of 1,
            one reading for all channels, is read by a matrix product.
        state: h before the first step, [B, N, E]; None is zeros.

    Returns:
        y [B, T, E] in x's dtype, and h after the last step in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if x.ndim != 3 or x.shape[1] < 1:
        raise ValueError(f"{_OP}: x must be [B, T, E] with T >= 1 but is {list(x.shape)}")
    if rates.ndim != 2:
        raise ValueError(f"{_OP}: rates must be [N, E] but is {list(rates.shape)}")
    batch, time, channels = x.shape
    states = rates.shape[0]
    full = (batch, time, states, channels)
    check_shape(_OP, "step", step.shape, "[B, T, E]", x.shape, broadcast=True)
    check_shape(_OP, "rates", rates.shape, "[N, E]", (states, channels))
    for name, gain in (("write", write), ("read", read)):
        check_shape(_OP, name, gain.shape, "[B, T, N, E]", full, broadcast=True)
    if state is not None:
        check_shape(_OP, "state", state.shape, "[B, N, E]", (batch, states, channels))
    return pick(_OP, _IMPLS)(x, step, rates, write, read, state)
