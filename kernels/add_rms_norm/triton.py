"""RMS normalisation of a sum by the Triton kernels in ``row_norm``.

Shapes: D width; any number of axes before it.
"""

from torch import Tensor

from nas.kernels.row_norm.triton import add_row_norm


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and ``weight * h / sqrt(mean(h^2) + eps)``."""
    return add_row_norm(x, residual, weight, None, eps, centred=False)
