"""Gated associative memory (arXiv 2509.00605).

B batch, T time, D width, M slots
"""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.carried.module import Carried


class MemoryBank(nn.Module):
    """softmax(x Mᵀ) M with a learned bank M [M, D]: the token picks, no other token has a say.

    [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, slots: int) -> None:
        super().__init__()
        self.bank = nn.Parameter(nn.init.xavier_uniform_(torch.empty(slots, dim)))

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        return (x @ self.bank.mT).softmax(dim=-1) @ self.bank


class GatedBranches(nn.Module):
    """The sum of branches, each weighted by a gate of its own for every channel.

    [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, branches: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.gate = nn.Linear(dim, len(branches) * dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        gates = self.gate(x).sigmoid().chunk(len(self.branches), dim=-1)
        y = torch.zeros_like(x)
        for gate, branch in zip(gates, self.branches, strict=True):
            y = y + gate * branch(x, state)
        return y
