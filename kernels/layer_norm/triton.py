"""Layer normalisation by the Triton kernels in ``row_norm``.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.row_norm.triton import row_norm


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """``y = weight * (x - mean(x)) / sqrt(variance(x) + eps) + bias``."""
    return row_norm(x, weight, bias, eps, centred=True)
