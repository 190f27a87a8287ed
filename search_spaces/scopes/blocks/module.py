"""Attention inside blocks (arXiv 2210.10340). Shapes as all scopes have them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, positions, softmax_where


class OwnBlock(nn.Module):
    """A token sees itself and what comes before it in its own block of `block` tokens.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]; blocks start at multiples of `block`.
    """

    def __init__(self, *, block: int) -> None:
        super().__init__()
        self.block = block
        self.visible = EarlierInBlock(block=block)

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache(self.block)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        if new == seen and new > self.block:
            return block_by_block(q, k, v, self.block, causal=True)
        held = min(seen, start % self.block + new)  # from the start of the first query's block
        k, v = k[:, :, seen - held :], v[:, :, seen - held :]
        mask = None if new == 1 else self.visible(*positions(q, k, start))
        return softmax_where(q, k, v, mask)


class WholeBlock(nn.Module):
    """A token sees its own block of `block` tokens, later ones too.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        return block_by_block(q, k, v, self.block, causal=False)


def block_by_block(q: Tensor, k: Tensor, v: Tensor, block: int, *, causal: bool) -> Tensor:
    """Each block of a sequence against itself; the last one may be shorter."""
    whole = q.shape[2] - q.shape[2] % block
    grouped = q.shape[1] != k.shape[1]
    parts = []
    if whole:
        cut = (x[:, :, :whole].unflatten(2, (-1, block)).transpose(1, 2) for x in (q, k, v))
        a, b, c = (x.flatten(0, 1) for x in cut)  # [B * N, H, block, K]
        y = F.scaled_dot_product_attention(a, b, c, is_causal=causal, enable_gqa=grouped)
        parts.append(y.unflatten(0, (len(q), -1)).transpose(1, 2).flatten(2, 3))
    if whole < q.shape[2]:
        a, b, c = (x[:, :, whole:] for x in (q, k, v))
        parts.append(F.scaled_dot_product_attention(a, b, c, is_causal=causal, enable_gqa=grouped))
    return torch.cat(parts, dim=2)


class EarlierInBlock(nn.Module):
    """Which keys are visible: of its block, those up to a query. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        same = rows[:, None] // self.block == columns // self.block
        return same & (columns <= rows[:, None])


class SameBlock(nn.Module):
    """Which keys are visible: those in the query's block. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return rows[:, None] // self.block == columns // self.block
