"""PolyNorm: checks shapes and picks the implementation.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.poly_norm import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "poly_norm"
_IMPLS = {
    Impl.REFERENCE: reference.poly_norm,
    Impl.CHUNKED: chunked.poly_norm,
    Impl.TRITON: triton_form(_OP),
}


def poly_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``y = a_1 norm(x) + a_2 norm(x^2) + a_3 norm(x^3) + b`` with powers element by element and
    ``norm(p) = p / sqrt(mean(p^2) + eps)`` over the last axis (arXiv 2411.03884).

    Args:
        x: [..., D]. Its sixth power has to fit: |x| <= 1e6 in float32 and bfloat16.
        weight: a, lowest power first, [3].
        bias: b, [1].
        eps: added to the mean squares; above 0 where x may be 0.

    Returns:
        y, of x's shape and dtype; computed in float32, or float64 for float64.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "weight", weight.shape, "[3]", (3,))
    check_shape(_OP, "bias", bias.shape, "[1]", (1,))
    return pick(_OP, _IMPLS)(x, weight, bias, eps)
