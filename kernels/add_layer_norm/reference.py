"""Layer normalisation of a sum by its definition.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """``h = residual + x`` and its layer norm; see ``api``."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, residual.dtype), torch.float32)
    total = (residual.to(dtype) + x.to(dtype)).to(residual.dtype)
    wide = total.to(dtype)
    centred = wide - wide.sum(dim=-1, keepdim=True) / x.shape[-1]
    variance = (centred * centred).sum(dim=-1, keepdim=True) / x.shape[-1]
    y = weight.to(dtype) * centred / torch.sqrt(variance + eps)
    return (y if bias is None else y + bias.to(dtype)).to(x.dtype), total
