"""RMS normalisation of a sum by its definition.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and ``weight * h / sqrt(mean(h^2) + eps)``; see ``api``."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, residual.dtype), torch.float32)
    total = (residual.to(dtype) + x.to(dtype)).to(residual.dtype)
    wide = total.to(dtype)
    mean_square = (wide * wide).sum(dim=-1, keepdim=True) / x.shape[-1]
    y = weight.to(dtype) * wide / torch.sqrt(mean_square + eps)
    return y.to(x.dtype), total
