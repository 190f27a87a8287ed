"""relu features weighted by the cosine of the distance (arXiv 2202.08791)."""

import math

import torch
from torch import Tensor, nn


class CosineFeatures(nn.Module):
    """relu(x) times cos and sin of pi/2 x position / max_tokens, for q and k [B, H, T, K].

    The product of two features is relu(q)·relu(k) cos(pi/2 (i - j) / max_tokens): [B, H, T, 2K]
    """

    def __init__(self, *, max_tokens: int) -> None:
        super().__init__()
        self.max_tokens = max_tokens

    def forward(self, q: Tensor, k: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """`offset` is the position of the first token; past `max_tokens` is a ValueError."""
        end = offset + q.shape[-2]
        if end > self.max_tokens:
            raise ValueError(f"{end} tokens, but the cosine weights end at {self.max_tokens}")
        # in float32 at least: bfloat16 cannot tell neighbouring positions apart
        dtype = torch.promote_types(q.dtype, torch.float32)
        position = torch.arange(offset, end, device=q.device, dtype=dtype)
        angle = (math.pi / 2 / self.max_tokens * position)[:, None]  # [T, 1]
        cos, sin = angle.cos().to(q.dtype), angle.sin().to(q.dtype)
        q, k = q.relu(), k.relu()
        return torch.cat((q * cos, q * sin), dim=-1), torch.cat((k * cos, k * sin), dim=-1)
