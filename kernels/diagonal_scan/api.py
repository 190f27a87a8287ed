"""A linear recurrence on each channel: checks shapes and picks the implementation.

Shapes: B batch, T time, C channels.
"""

from torch import Tensor

from nas.kernels.diagonal_scan import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "diagonal_scan"
_IMPLS = {
    Impl.REFERENCE: reference.diagonal_scan,
    Impl.CHUNKED: chunked.diagonal_scan,
    Impl.TRITON: triton_form(_OP),
}


def diagonal_scan(x: Tensor, decay: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``h_t = decay_t * h_{t-1} + x_t`` on each channel.

    Args:
        x: what is added at each step [B, T, C].
        decay: factors, broadcastable to [B, T, C]; those of magnitude up to 1 keep every
            intermediate value bounded, zero and negative ones included.
        state: h before the first step, [B, C]; None is zeros.

    Returns:
        h [B, T, C] in x's dtype, and h after the last step in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if x.ndim != 3 or x.shape[1] < 1:
        raise ValueError(f"{_OP}: x must be [B, T, C] with T >= 1 but is {list(x.shape)}")
    check_shape(_OP, "decay", decay.shape, "[B, T, C]", x.shape, broadcast=True)
    if state is not None:
        check_shape(_OP, "state", state.shape, "[B, C]", (x.shape[0], x.shape[2]))
    return pick(_OP, _IMPLS)(x, decay, state)
