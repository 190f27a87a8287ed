"""A window and global tokens (arXiv 2004.05150). Shapes as all scopes have them."""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import softmax_where
from nas.search_spaces.scopes.streaming.module import CentredSinkWindow


class GlobalTokens(nn.Module):
    """The first `tokens` see everything and are seen by everything; `local` serves the others.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]
    """

    def __init__(self, *, tokens: int, window: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.local = CentredSinkWindow(sinks=tokens, window=window)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        wide = softmax_where(q[:, :, : self.tokens], k, v)
        if q.shape[2] <= self.tokens:
            return wide
        # `local` serves the global tokens too, whose outputs are not taken
        return torch.cat((wide, self.local(q, k, v)[:, :, self.tokens :]), dim=2)


class NearOrGlobal(nn.Module):
    """Which keys are visible: those less than `window` away, and to or from the first `tokens` all.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, tokens: int, window: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.window = window

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        near = (rows[:, None] - columns).abs() < self.window
        return near | (columns < self.tokens) | (rows[:, None] < self.tokens)
