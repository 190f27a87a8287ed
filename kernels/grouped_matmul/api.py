"""A matrix product for each group of rows: checks shapes and picks the implementation.

Shapes: N rows, E groups, D inputs, F outputs.
"""

from torch import Tensor

from nas.kernels.grouped_matmul import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "grouped_matmul"
_IMPLS = {
    Impl.REFERENCE: reference.grouped_matmul,
    Impl.CHUNKED: chunked.grouped_matmul,
    Impl.TRITON: triton_form(_OP),
}


def grouped_matmul(x: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    """``y_n = x_n W_e`` for each row n of group e; the rows of a group stand together.

    The first ``sizes[0]`` rows belong to group 0, the next ``sizes[1]`` to group 1, and so on; a
    group may be empty. Rows after the last group belong to none: there y is 0, and so is the
    gradient.

    Args:
        x: rows [N, D].
        weight: a matrix for each group [E, D, F], in x's dtype. One that is stored transposed, as
            ``.mT`` of a contiguous [E, F, D], is not copied.
        sizes: rows of each group [E], int64, at least 0 and at most N together. The Triton form
            leaves them on the device and cannot check them.

    Returns:
        y [N, F] in x's dtype; sums are in float32, or float64 for float64.

    Raises:
        ValueError: a shape or a dtype does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if x.dim() != 2 or weight.dim() != 3 or weight.shape[0] < 1:
        raise ValueError(
            f"{_OP}: x must be [N, D] and weight [E, D, F] with E >= 1 but they are "
            f"{list(x.shape)} and {list(weight.shape)}"
        )
    check_shape(_OP, "x", x.shape, "[N, D]", (x.shape[0], weight.shape[1]))
    check_shape(_OP, "sizes", sizes.shape, "[E]", weight.shape[:1])
    if weight.dtype != x.dtype or sizes.is_floating_point():
        raise ValueError(
            f"{_OP}: weight must have x's dtype {x.dtype}, and sizes integers, but they have "
            f"{weight.dtype} and {sizes.dtype}"
        )
    return pick(_OP, _IMPLS)(x, weight, sizes)
