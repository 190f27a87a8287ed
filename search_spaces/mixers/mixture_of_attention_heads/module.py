"""Mixture of attention heads (arXiv 2210.05144, 2306.04640).

B batch, T time, N = B x T tokens, D width, S keys held, E experts, k experts of a token,
H heads of an expert, K head width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class MixtureOfAttentionHeads(nn.Module):
    """Experts with queries and outputs of their own attend to keys and values that they share;
    each token passes its k best: [B, T, D] -> [B, T, D]. Only those k are computed."""

    def __init__(
        self,
        *,
        dim: int,
        experts: int,
        heads: int,
        head_dim: int,
        position: nn.Module,
        scope: Any,
        router: nn.Module,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.router = router
        self.query = ExpertLinear(experts=experts, inputs=dim, outputs=heads * head_dim)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=False)
        self.out = ExpertLinear(experts=experts, inputs=heads * head_dim, outputs=dim)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        chosen, gates = self.router(x)  # [B, T, k]
        passes = x.unsqueeze(2).expand(-1, -1, chosen.shape[-1], -1)  # [B, T, k, D]
        q = self.query(passes, chosen).unflatten(-1, (self.heads, self.head_dim))
        # the k passes of a head stand in a row, as it is with the queries of a group
        q = self.position(q.permute(0, 3, 2, 1, 4).flatten(1, 2), start)  # [B, H * k, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)  # [B, H, T, K]
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, H, S, K]
        y = self.scope(q, k, v, start).unflatten(1, (self.heads, -1))  # [B, H, k, T, K]
        y = y.permute(0, 3, 2, 1, 4).flatten(-2)  # [B, T, k, H * K]
        return (self.out(y, chosen) * gates.to(y.dtype).unsqueeze(-1)).sum(dim=2)


class ExpertLinear(nn.Module):
    """A matrix for each expert: x [..., inputs] and the expert of each row [...] -> [..., outputs].

    The rows are sorted by expert, so that every matrix is multiplied once with its own rows.
    """

    def __init__(self, *, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, inputs, outputs))
        nn.init.uniform_(self.weight, -(inputs**-0.5), inputs**-0.5)  # as in a linear layer

    def forward(self, x: Tensor, expert: Tensor) -> Tensor:
        order = expert.flatten().argsort(stable=True)
        load = torch.bincount(expert.flatten(), minlength=len(self.weight))
        groups = x.flatten(0, -2).index_select(0, order).split(load.tolist())
        work = zip(groups, self.weight.unbind(), strict=True)
        y = torch.cat([group @ weight for group, weight in work if len(group)])
        return y.index_select(0, order.argsort()).unflatten(0, expert.shape)


class AttentionRouter(nn.Module):
    """Which k experts a token passes, and how much each counts: [B, T, D] -> [B, T, k] twice.

    `balance_loss` is what the last forward pass asks for, already weighted.
    """

    def __init__(
        self, *, top_k: int, balance_weight: float, logits: nn.Module, balance: nn.Module
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.balance_weight = balance_weight
        self.logits = logits
        self.balance = balance
        self.balance_loss: Tensor | float = 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # [B, T, E]
        gates, chosen = logits.softmax(-1).topk(self.top_k, dim=-1)  # [B, T, k]
        self.balance_loss = self.balance_weight * self.balance(
            logits.flatten(0, 1), chosen.flatten(0, 1)
        )
        # an undecided router has probabilities of 1 / E: its k experts count 1 together
        return chosen, gates * (logits.shape[-1] / self.top_k)


class LinearRouter(nn.Module):
    """One product: [B, T, D] -> [B, T, E]."""

    def __init__(self, *, dim: int, experts: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x)


class HiddenRouter(nn.Module):
    """Through a hidden layer: [B, T, D] -> [B, T, E]."""

    def __init__(self, *, dim: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.out = nn.Linear(hidden, experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.hidden(x)))


class MutualInformation(nn.Module):
    """H(E | x) - H(E), the less the more an expert says about its tokens: logits [N, E]."""

    def forward(self, logits: Tensor, chosen: Tensor) -> Tensor:
        log_probability = logits.log_softmax(-1)
        probability = log_probability.exp()
        mean = probability.mean(0)
        of_each = -(probability * log_probability).sum(-1).mean()
        of_all = -torch.xlogy(mean, mean).sum()
        return of_each - of_all


class SwitchAndZ(nn.Module):
    """E x sum of (share of the passes) x (mean probability), 1 at an even load, plus a tenth of
    the mean squared log-sum-exp of the logits: logits [N, E], chosen [N, k]."""

    def forward(self, logits: Tensor, chosen: Tensor) -> Tensor:
        experts = logits.shape[-1]
        share = torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()
        switch = experts * (share.to(logits.dtype) * logits.softmax(-1).mean(0)).sum()
        return switch + 0.1 * logits.logsumexp(-1).square().mean()
