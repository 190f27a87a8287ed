"""A query sees every key (arXiv 1706.03762). Shapes as all scopes have them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache


class Everything(nn.Module):
    """A token sees all tokens before it: the last T of S tokens attend to all S.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]
    """

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        grouped = q.shape[1] != k.shape[1]
        if new == seen:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        mask = None  # a single new token sees everything
        if new > 1:
            mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


class BothWays(nn.Module):
    """A token sees all tokens, later ones too.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1])


class UpToNow(nn.Module):
    """Which keys are visible: those at or before the query. rows [T], columns [S] -> [T, S]"""

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return columns <= rows[:, None]


class AllTokens(nn.Module):
    """Every key is visible. rows [T], columns [S] -> [T, S]"""

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.ones(len(rows), len(columns), dtype=torch.bool, device=rows.device)
