"""Average pooling along the sequence (arXiv 2111.11418).

B batch, T time, D width
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.dilated_conv.module import after_past
from nas.search_spaces.pieces.carried.module import Carried


class TrailingMean(nn.Module):
    """Mean over a token and the `window` - 1 tokens before it, as far as there are any.

    [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        start, time = (0 if state is None else state.length), x.shape[1]
        if state is not None:
            state.length += time
        seen = after_past(x, self.window - 1, state, "inputs")
        mean = F.avg_pool1d(seen.mT, self.window, stride=1).mT  # zeros before the first token count
        tokens = torch.arange(start + 1, start + time + 1, device=x.device).clamp(max=self.window)
        return mean * fill_up(self.window, tokens, x)


class CentredMean(nn.Module):
    """Mean over a window around each token, as far as there are tokens: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, window: int) -> None:
        super().__init__()
        self.window = window
        self.sides = ((window - 1) // 2, window // 2)

    def forward(self, x: Tensor, state: None = None) -> Tensor:
        mean = F.avg_pool1d(F.pad(x.mT, self.sides), self.window, stride=1).mT
        place = torch.arange(x.shape[1], device=x.device)
        last = (place + self.sides[1]).clamp(max=x.shape[1] - 1)
        tokens = last - (place - self.sides[0]).clamp(min=0) + 1
        return mean * fill_up(self.window, tokens, x)


def fill_up(window: int, tokens: Tensor, x: Tensor) -> Tensor:
    """What a mean over `window` has to be multiplied by to be one over `tokens` [T]: [T, 1]"""
    exact = torch.promote_types(x.dtype, torch.float32)  # bfloat16 cannot count far
    return (window / tokens.to(exact))[:, None].to(x.dtype)


class MinusItself(nn.Module):
    """What pooling adds to a token: pool(x) - x, for x [B, T, D]."""

    def __init__(self, *, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        return self.pool(x, state) - x
