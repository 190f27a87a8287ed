"""PolyNorm in plain torch.

Shapes: D width; any number of axes before it.
"""

import torch
from torch import Tensor


def poly_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``y = a_1 norm(x) + a_2 norm(x^2) + a_3 norm(x^3) + b``, norm(p) = p / sqrt(mean(p^2) + eps).

    x [..., D], weight a [3], bias b [1]. Computed in float32, or float64 for float64; y has x's
    shape and dtype.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = x.to(dtype)
    square = wide * wide
    cube = square * wide
    moments = torch.stack([(p * p).mean(dim=-1) for p in (wide, square, cube)], dim=-1)  # [..., 3]
    linear, quadratic, cubic = (weight.to(dtype) * (moments + eps).rsqrt())[..., None, :].unbind(-1)
    y = linear * wide + quadratic * square + cubic * cube + bias.to(dtype)
    return y.to(x.dtype)
