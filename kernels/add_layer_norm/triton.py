"""Layer normalisation of a sum by the Triton kernels in ``row_norm``.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.row_norm.triton import add_row_norm


def add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and its layer norm."""
    return add_row_norm(x, residual, weight, bias, eps, centred=True)
