"""RMS normalisation by the Triton kernels in ``row_norm``.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.row_norm.triton import row_norm


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``y = weight * x / sqrt(mean(x^2) + eps)`` over the last axis."""
    return row_norm(x, weight, None, eps, centred=False)
