"""Rotary positions in plain torch.

Shapes: B batch, H query heads, G key heads, T time, K head width, R rotary width.
"""

import torch
from torch import Tensor


def rotary(
    q: Tensor, k: Tensor, frequencies: Tensor, position: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Channels i and i + R/2 of q [B, H, T, K] and k [B, G, T, K] turned by position x frequency i.

    frequencies [R/2], a constant; position: of the first token, or of all, as [B, T].
    Computed in float32, or float64 for float64; both results keep shape and dtype.
    """
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.float32)
    if isinstance(position, int):
        position = torch.arange(position, position + q.shape[2], device=q.device)[None]
    angle = position.to(dtype)[:, None, :, None] * frequencies.detach().to(dtype)
    cos, sin = angle.cos(), angle.sin()  # [B, 1, T, R/2]
    return turn_pairs(q, cos, sin), turn_pairs(k, cos, sin)


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Channels i and i + R/2 of x [B, H, T, K], for cos and sin [B, 1, T, R/2]."""
    half = cos.shape[-1]
    left, right, rest = x.to(cos.dtype).tensor_split((half, 2 * half), dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin, rest), dim=-1).to(x.dtype)
