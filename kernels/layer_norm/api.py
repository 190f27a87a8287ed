"""Layer normalisation: checks shapes and picks the implementation.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.layer_norm import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "layer_norm"
_IMPLS = {
    Impl.REFERENCE: reference.layer_norm,
    Impl.CHUNKED: chunked.layer_norm,
    Impl.TRITON: triton_form(_OP),
}


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """``y = weight * (x - mean(x)) / sqrt(variance(x) + eps) + bias`` over the last axis, with the
    variance as a mean over D (arXiv 1607.06450).

    Args:
        x: [..., D].
        weight: [D].
        bias: [D]; None is zeros.
        eps: added to the variance, so in the unit of x squared; above 0 where all of x may be
            equal.

    Returns:
        y, of x's shape and dtype; computed in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "weight", weight.shape, "[D]", x.shape[-1:])
    if bias is not None:
        check_shape(_OP, "bias", bias.shape, "[D]", x.shape[-1:])
    return pick(_OP, _IMPLS)(x, weight, bias, eps)
