"""Sliding window attention (arXiv 2004.05150). Shapes as all scopes have them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, Weighted


class Window(nn.Module):
    """A token sees the last `window` tokens, itself included.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. Long inputs are cut into blocks of a
    window, each against itself and the block before, so that the work grows with T x window.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache(self.window)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        if new == seen and new > 2 * self.window:
            return in_blocks(q, k, v, self.window, after=0)
        mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
        mask = mask.triu(seen - new - self.window + 1)
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


class CentredWindow(nn.Module):
    """A token sees `window` tokens on each side, itself counted on both.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K], in blocks as in `Window`.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        time = q.shape[2]
        if time > 3 * self.window:
            return in_blocks(q, k, v, self.window, after=1)
        mask = torch.ones(time, time, dtype=torch.bool, device=q.device)
        mask = mask.triu(1 - self.window).tril(self.window - 1)
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


def in_blocks(q: Tensor, k: Tensor, v: Tensor, window: int, after: int) -> Tensor:
    """Each block of a window against itself, the block before and `after` (0 or 1) blocks after."""
    batch, heads, time, _ = q.shape
    blocks = -(-time // window)
    fill = blocks * window - time
    span = (2 + after) * window  # keys against which a block is held
    q = F.pad(q, (0, 0, 0, fill)).unflatten(2, (blocks, window))  # [B, H, N, W, K]
    k = F.pad(k, (0, 0, window, fill + after * window)).unfold(2, span, window).mT
    v = F.pad(v, (0, 0, window, fill + after * window)).unfold(2, span, window).mT
    row = torch.arange(window, device=q.device)[:, None] + window
    column = torch.arange(span, device=q.device)
    near = (column > row - window) & (column < row + after * window + (1 - after))  # [W, span]
    place = column + window * torch.arange(-1, blocks - 1, device=q.device)[:, None]
    real = (place >= 0) & (place < time)  # [N, span]
    # the filled-up end of the last block sees itself, so that no row is empty
    masks = near & (real[:, None] | (column == row))  # [N, W, span]
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2).flatten(0, 1),  # [B * N, H, W, K]
        k.transpose(1, 2).flatten(0, 1),
        v.transpose(1, 2).flatten(0, 1),
        attn_mask=masks.repeat(batch, 1, 1)[:, None],
        enable_gqa=heads != k.shape[1],
    )
    return y.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :time]


class WeightedWindow(Weighted):
    """Weights other than softmax over a window; all pairs are computed."""

    def __init__(self, *, window: int, visible: nn.Module, normaliser: nn.Module) -> None:
        super().__init__(visible=visible, normaliser=normaliser)
        self.window = window

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache(self.window)


class Recent(nn.Module):
    """Which keys are visible: the last `window` up to the query. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        behind = rows[:, None] - columns
        return (behind >= 0) & (behind < self.window)


class Near(nn.Module):
    """Which keys are visible: those less than `window` away. rows [T], columns [S] -> [T, S]"""

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return (rows[:, None] - columns).abs() < self.window
