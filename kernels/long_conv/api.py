"""Long convolution: checks shapes and picks the implementation.

Shapes: B batch, C channels, T time, P past inputs, L filter taps.
"""

from torch import Tensor

from nas.kernels.long_conv import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape

_OP = "long_conv"
_IMPLS = {
    Impl.REFERENCE: reference.long_conv,
    Impl.CHUNKED: chunked.long_conv,
    Impl.TRITON: chunked.long_conv,  # Fourier transforms are torch's own on every device
}


def long_conv(x: Tensor, taps: Tensor, past: Tensor | None = None) -> Tensor:
    """``y_t = sum_{0 <= j < L} taps_j x_{t-j}`` for each channel; what is before the past is zero.

    Args:
        x: inputs [B, C, T] with T >= 1.
        taps: filters [C, L], taps[:, 0] for the present input; L may differ from T.
        past: the inputs just before x, [B, C, P], oldest first; None is zeros.

    Returns:
        y [B, C, T] in x's dtype. It is computed in float32, or in float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is one that this op lacks.
    """
    if x.ndim != 3 or x.shape[2] < 1:
        raise ValueError(f"{_OP}: x must be [B, C, T] with T >= 1 but is {list(x.shape)}")
    if taps.ndim != 2 or taps.shape[1] < 1:
        raise ValueError(f"{_OP}: taps must be [C, L] with L >= 1 but is {list(taps.shape)}")
    check_shape(_OP, "taps", taps.shape, "[C, L]", (x.shape[1], taps.shape[1]))
    if past is not None:
        wanted = (*x.shape[:2], past.shape[-1])
        check_shape(_OP, "past", past.shape, "[B, C, P]", wanted)
    return pick(_OP, _IMPLS)(x, taps, past)
