"""Layer normalisation by its definition.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """``y = weight * (x - mean(x)) / sqrt(variance(x) + eps) + bias``; see ``api``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = x.to(dtype)
    centred = wide - wide.sum(dim=-1, keepdim=True) / x.shape[-1]
    variance = (centred * centred).sum(dim=-1, keepdim=True) / x.shape[-1]
    y = weight.to(dtype) * centred / torch.sqrt(variance + eps)
    return (y if bias is None else y + bias.to(dtype)).to(x.dtype)
