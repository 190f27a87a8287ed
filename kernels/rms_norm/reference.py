"""RMS normalisation by its definition.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``y = weight * x / sqrt(mean(x^2) + eps)`` over the last axis; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = x.to(dtype)
    mean_square = (wide * wide).sum(dim=-1, keepdim=True) / x.shape[-1]
    return (weight.to(dtype) * wide / torch.sqrt(mean_square + eps)).to(x.dtype)
