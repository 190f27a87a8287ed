"""Flow attention: linear attention in which tokens compete for what flows (arXiv 2202.06258).

B batch, T time, D width, H heads, K key width, V value width. Flows run from each key (a source,
with the outgoing flow as its capacity) to each query (a sink, with the incoming flow).
"""

from typing import Any

import torch
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.pieces.carried.module import Carried

SMALLEST_FLOW = 1e-6  # added to a flow before it divides


class Flow(nn.Module):
    """Values compete by their conserved outgoing flow, and results are let in by their conserved
    incoming flow: [B, T, D] -> [B, T, D]. A token sees those before it; sums run up to it.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        value_dim: int,
        position: nn.Module,
        competition: Any,
        allocation: nn.Module,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.value_dim = value_dim
        self.position = position
        self.competition = competition
        self.allocation = allocation
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        start = 0 if state is None else state.length
        q, k, v = self.capacities(x, start)
        state = Carried() if state is None else state
        seen = torch.arange(start + 1, start + x.shape[1] + 1, device=x.device, dtype=q.dtype)
        incoming = (q * running_sum(k, state, "keys")).sum(-1) + SMALLEST_FLOW  # [B, H, T]
        outgoing = (k * running_sum(q, state, "queries")).sum(-1) + SMALLEST_FLOW
        # sums over different numbers of tokens are compared as averages
        per_source, per_sink = seen / outgoing, seen / incoming
        sources = running_sum(k * per_source[..., None], state, "sources")
        sinks = running_sum(q * per_sink[..., None], state, "sinks")
        let_in = (q * sources).sum(-1) / seen  # [B, H, T]
        let_out = (k * sinks).sum(-1) / seen
        v = v * self.competition.upto(let_out, seen, state)[..., None]
        o, after = linear_attention(
            q / incoming[..., None], k, v, q.new_zeros(1, 1, 1, 1), state.get("matrix")
        )
        state.tensors["matrix"] = after
        state.length += x.shape[1]
        return self.finish(self.allocation(o, let_in), x)

    def capacities(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys between 0 and 1, and values: [B, H, T, K], [B, H, T, K], [B, H, T, V]"""
        # in float32 at least, as sums over all tokens divide each other
        dtype = torch.promote_types(x.dtype, torch.float32)
        q = self.position(split_heads(self.query(x), self.head_dim), start).to(dtype).sigmoid()
        k = self.position(split_heads(self.key(x), self.head_dim), start).to(dtype).sigmoid()
        return q, k, split_heads(self.value(x), self.value_dim).to(dtype)

    def finish(self, o: Tensor, x: Tensor) -> Tensor:
        """[B, H, T, V] -> [B, T, D]"""
        return self.out(o.to(x.dtype).transpose(1, 2).flatten(2))


class TwoWayFlow(Flow):
    """The same, but a token sees all tokens, and sums run over all of them."""

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        q, k, v = self.capacities(x, 0)
        incoming = (q * k.sum(2, keepdim=True)).sum(
            -1, keepdim=True
        ) + SMALLEST_FLOW  # [B, H, T, 1]
        outgoing = (k * q.sum(2, keepdim=True)).sum(-1, keepdim=True) + SMALLEST_FLOW
        let_in = (q * (k / outgoing).sum(2, keepdim=True)).sum(-1)  # [B, H, T]
        let_out = (k * (q / incoming).sum(2, keepdim=True)).sum(-1)
        v = v * self.competition(let_out)[..., None]
        o = (q / incoming) @ (k.mT @ v)
        return self.finish(self.allocation(o, let_in), x)


class Competition(nn.Module):
    """Softmax over the sources of what each may let out, times their number: [B, H, T] -> same."""

    def forward(self, let_out: Tensor) -> Tensor:
        return let_out.clamp(-1.0, 1.0).softmax(-1) * let_out.shape[-1]

    def upto(self, let_out: Tensor, seen: Tensor, state: Carried) -> Tensor:
        """The same over the sources up to each; `seen` [T] is how many these are."""
        strength = let_out.clamp(-1.0, 1.0).exp()
        return strength / running_sum(strength, state, "strengths") * seen


class NoCompetition(nn.Module):
    """Every source counts the same."""

    def forward(self, let_out: Tensor) -> Tensor:
        return torch.ones_like(let_out)

    def upto(self, let_out: Tensor, seen: Tensor, state: Carried) -> Tensor:
        """The same."""
        return torch.ones_like(let_out)


class Allocation(nn.Module):
    """o [B, H, T, V] times a gate from what each sink lets in [B, H, T]."""

    def forward(self, o: Tensor, let_in: Tensor) -> Tensor:
        return o * let_in.sigmoid()[..., None]


class NoAllocation(nn.Module):
    """Returns o as it is."""

    def forward(self, o: Tensor, let_in: Tensor) -> Tensor:
        return o


def running_sum(x: Tensor, state: Carried, name: str) -> Tensor:
    """Of x [B, H, T, ...] over time, continued from and kept in the state under `name`."""
    total = x.cumsum(2)
    before = state.get(name)
    if before is not None:
        total = total + before
    state.tensors[name] = total[:, :, -1:].clone()  # a slice would keep all of it alive
    return total
