"""RMS normalisation of a sum: checks shapes and picks the implementation.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.add_rms_norm import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "add_rms_norm"
_IMPLS = {
    Impl.REFERENCE: reference.add_rms_norm,
    Impl.CHUNKED: chunked.add_rms_norm,
    Impl.TRITON: triton_form(_OP),
}


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and ``y = weight * h / sqrt(mean(h^2) + eps)`` over the last axis.

    Args:
        x: what a sublayer gives, [..., D].
        residual: the stream that it is added to, [..., D]; it may be wider than x.
        weight: [D].
        eps: added to the mean square, so in the unit of h squared; above 0 where h may be 0.

    Returns:
        y in x's dtype, and h in the residual's; y is the norm of h as rounded to its dtype.
        Computed in float32, or float64 where either is float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "residual", residual.shape, "[..., D]", x.shape)
    check_shape(_OP, "weight", weight.shape, "[D]", x.shape[-1:])
    return pick(_OP, _IMPLS)(x, residual, weight, eps)
