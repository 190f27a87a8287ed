"""Mixture-of-head attention (arXiv 2410.11842).

B batch, T time, D width, S keys held, H query heads, G key and value heads, K head width,
R routed heads
"""

from typing import Any

import torch
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads


class MixtureOfHeads(nn.Module):
    """Softmax attention whose heads are weighed for each token: [B, T, D] -> [B, T, D].

    All heads are computed; those that a token does not use weigh nothing.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        groups: int,
        head_dim: int,
        position: nn.Module,
        scope: Any,
        router: nn.Module,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.position = position
        self.scope: Any = scope
        self.router = router
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, groups * head_dim, bias=False)
        self.value = nn.Linear(dim, groups * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        q = self.position(split_heads(self.query(x), self.head_dim), start)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)  # [B, G, T, K]
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, G, S, K]
        y = self.scope(q, k, v, start).transpose(1, 2)  # [B, T, H, K]
        return self.out((y * self.router(x).unsqueeze(-1)).flatten(2))


class HeadRouter(nn.Module):
    """Weights of the heads, the shared ones first: [B, T, D] -> [B, T, H].

    An undecided router weighs every head that is used by one, as plain attention does.
    `balance_loss` is what the last forward pass asks for, already weighted; `balance_weight` when
    all routed heads are used alike.
    """

    def __init__(
        self,
        *,
        dim: int,
        shared: "SharedHeads | OneHead | NoSharedHeads",
        routed: int,
        active: int,
        balance_weight: float,
    ) -> None:
        super().__init__()
        self.active = active
        self.balance_weight = balance_weight
        self.shared = shared
        self.routed = nn.Linear(dim, routed, bias=False)
        self.balance_loss: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        probability = self.routed(x).softmax(-1)  # [B, T, R]
        best = probability.topk(self.active, dim=-1).indices
        chosen = torch.zeros_like(probability).scatter(-1, best, 1.0)
        self.balance_loss = self.balance(probability, chosen)
        routed = probability.shape[-1] * probability * chosen
        return self.join(self.shared(x), routed, x)

    def join(self, shared: Tensor, routed: Tensor, x: Tensor) -> Tensor:
        """Shared and routed heads count alike."""
        return torch.cat((shared, routed), dim=-1)

    def balance(self, probability: Tensor, chosen: Tensor) -> Tensor:
        """Grows when the heads that are chosen often are also those given much probability."""
        share = chosen.mean((0, 1)) / self.active  # [R]
        balance = probability.shape[-1] * (share * probability.mean((0, 1))).sum()
        return self.balance_weight * balance


class SidedHeadRouter(HeadRouter):
    """A router that also weighs the shared heads against the routed ones, with two numbers whose
    sum is two."""

    def __init__(
        self,
        *,
        dim: int,
        shared: "SharedHeads | OneHead | NoSharedHeads",
        routed: int,
        active: int,
        balance_weight: float,
    ) -> None:
        super().__init__(
            dim=dim, shared=shared, routed=routed, active=active, balance_weight=balance_weight
        )
        self.sides = nn.Linear(dim, 2, bias=False)

    def join(self, shared: Tensor, routed: Tensor, x: Tensor) -> Tensor:
        to_shared, to_routed = (2 * self.sides(x).softmax(-1)).split(1, dim=-1)  # [B, T, 1]
        return torch.cat((to_shared * shared, to_routed * routed), dim=-1)


class SharedHeads(nn.Module):
    """Weights of the heads that every token uses: [B, T, D] -> [B, T, heads]."""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.logits = nn.Linear(dim, heads, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.logits(x)
        return logits.shape[-1] * logits.softmax(-1)


class OneHead(nn.Module):
    """A single shared head has nothing to be weighed against: ones [B, T, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x[..., :1])


class NoSharedHeads(nn.Module):
    """All heads are routed: no weights, [B, T, 0]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :0]
