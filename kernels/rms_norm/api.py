"""RMS normalisation: checks shapes and picks the implementation.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.rms_norm import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "rms_norm"
_IMPLS = {
    Impl.REFERENCE: reference.rms_norm,
    Impl.CHUNKED: chunked.rms_norm,
    Impl.TRITON: triton_form(_OP),
}


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``y = weight * x / sqrt(mean(x^2) + eps)`` over the last axis (arXiv 1910.07467).

    Args:
        x: [..., D].
        weight: [D].
        eps: added to the mean square, so in the unit of x squared; above 0 where x may be 0.

    Returns:
        y, of x's shape and dtype; computed in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "weight", weight.shape, "[D]", x.shape[-1:])
    return pick(_OP, _IMPLS)(x, weight, eps)
