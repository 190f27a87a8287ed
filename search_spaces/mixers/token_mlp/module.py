"""Spatial gating over a fixed length (arXiv 2105.08050).

B batch, T time, S tokens so far, D width, C hidden width, L longest input
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.long_conv.module import check_length
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried


class TokensSoFar(nn.Module):
    """A weight for each token and each token up to it: of [B, S, C] the last T -> [B, T, C]"""

    def __init__(self, *, max_tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_tokens, max_tokens) / max_tokens)
        self.bias = nn.Parameter(torch.ones(max_tokens))  # so that the gate starts out open

    def forward(self, x: Tensor, time: int) -> Tensor:
        seen = x.shape[1]
        rows = slice(seen - time, seen)
        return self.weight.tril()[rows, :seen] @ x + self.bias[rows, None]


class TokensBothWays(nn.Module):
    """A weight for each pair of tokens: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, max_tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_tokens, max_tokens) / max_tokens)
        self.bias = nn.Parameter(torch.ones(max_tokens))  # so that the gate starts out open

    def forward(self, x: Tensor, time: int) -> Tensor:
        return self.weight[:time, :time] @ x + self.bias[:time, None]


class TokenMLP(nn.Module):
    """Half of the hidden units, multiplied by what a matrix over the tokens makes of the others.

    [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, hidden: int, max_tokens: int, tokens: nn.Module) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.widen = nn.Linear(dim, 2 * hidden)
        self.norm = RMSNorm(dim=hidden)
        self.tokens = tokens
        self.out = nn.Linear(hidden, dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        kept, seen = F.gelu(self.widen(x)).chunk(2, dim=-1)  # [B, T, C]
        seen = self.norm(seen)
        past = None if state is None else state.get("seen")
        if past is not None:
            seen = torch.cat((past, seen), dim=1)  # [B, S, C]
        check_length(seen.shape[1], self.max_tokens)
        if state is not None:
            state.tensors["seen"] = seen
        return self.out(kept * self.tokens(seen, x.shape[1]))
