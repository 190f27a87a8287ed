"""Dropless mixture of experts (arXiv 1701.06538, 2211.15841, 2401.04088, 2401.06066).

B batch, T time, D width, N = B x T tokens, E experts, K experts per token
"""

from typing import Any

import torch
from torch import Tensor, nn


class RoutedExperts(nn.Module):
    """Sum over a token's K best experts of gate x expert(token); no token is dropped."""

    def __init__(
        self, *, dim: int, top_k: int, balance_weight: float, experts: tuple[nn.Module, ...]
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.balance_weight = balance_weight
        self.router = nn.Linear(dim, len(experts), bias=False)
        self.experts = nn.ModuleList(experts)
        self.balance_loss: Tensor | float = 0.0

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        tokens = x.flatten(0, -2)  # [N, D]
        logits = self.router(tokens).float()  # [N, E]
        best, chosen = logits.topk(self.top_k, dim=-1)  # [N, K]
        gates = self.gates(logits, best).to(x.dtype)
        load = torch.bincount(chosen.flatten(), minlength=len(self.experts))  # [E]
        self.balance_loss = self.balance_weight * imbalance(logits, load)
        passes = self.run_experts(tokens, chosen, load)  # [N, K, D]
        return (passes * gates[..., None]).sum(dim=1).view_as(x)

    def gates(self, logits: Tensor, best: Tensor) -> Tensor:
        """Softmax over the K chosen: logits [N, E], best [N, K] -> [N, K]."""
        return best.softmax(dim=-1)

    def run_experts(self, tokens: Tensor, chosen: Tensor, load: Tensor) -> Tensor:
        """Sorts the N x K passes by expert, runs each expert once, and puts them back in order."""
        order = chosen.flatten().argsort(stable=True)  # [N * K]
        sorted_tokens = tokens.index_select(0, order // self.top_k)
        groups = sorted_tokens.split(load.tolist())
        work = zip(self.experts, groups, strict=True)
        passes = [expert(group) for expert, group in work if len(group)]
        return torch.cat(passes).index_select(0, order.argsort()).unflatten(0, chosen.shape)


class ShareOfAllExperts(RoutedExperts):
    """Gates are softmax over all E experts and are not renormalised over the chosen
    (arXiv 2401.06066)."""

    def gates(self, logits: Tensor, best: Tensor) -> Tensor:
        """Softmax over all, of the K chosen: logits [N, E], best [N, K] -> [N, K]."""
        return (best - logits.logsumexp(dim=-1, keepdim=True)).exp()


class WithSharedExperts(nn.Module):
    """Experts that every token passes, added to those that it is routed to."""

    def __init__(self, *, routed: nn.Module, shared: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.routed = routed
        self.shared = nn.ModuleList(shared)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        y = self.routed(x)
        for expert in self.shared:
            y = y + expert(x)
        return y


def imbalance(logits: Tensor, load: Tensor) -> Tensor:
    """E x sum of (share of all passes) x (mean probability) per expert; 1 at an even load.

    logits [N, E], load [E] in passes. The gradient flows through the probabilities.
    """
    share = load / load.sum()
    return len(load) * (share * logits.softmax(dim=-1).mean(dim=0)).sum()
