"""Attention to the best-scored keys (arXiv 2106.06899).

Shapes as all scopes have them.
"""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, positions, repeat_heads


class BestKeys(nn.Module):
    """Softmax over the `keys` visible keys with the largest scores.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. All scores are computed; `visible` says
    which of them count.
    """

    def __init__(self, *, keys: int, visible: nn.Module) -> None:
        super().__init__()
        self.keys = keys
        self.visible = visible

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        visible = self.visible(*positions(q, k, start))  # [T, S]
        k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
        scores = q @ k.mT * q.shape[-1] ** -0.5  # [B, H, T, S]
        scores = scores.masked_fill(~visible, -torch.inf)
        best = scores.detach().topk(min(self.keys, k.shape[2]), dim=-1).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)
        return scores.masked_fill(~chosen, -torch.inf).softmax(-1).to(v.dtype) @ v
