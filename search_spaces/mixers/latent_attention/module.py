"""Multi-head latent attention (arXiv 2405.04434).

B batch, T new tokens, S tokens held, D width, H heads, R key-value rank, N channels of a query or
key without position, P channels with position, V value channels of a head
"""

from typing import Any

import torch
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm


class LatentAttention(nn.Module):
    """Attention whose keys and values are made from one latent of R numbers per token, and whose
    heads share one key that carries the position: [B, T, D] -> [B, T, D].

    Decoding keeps the latent and the shared key only.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        kv_rank: int,
        nope_dim: int,
        rope_dim: int,
        value_dim: int,
        query: nn.Module,
        position: nn.Module,
        scope: Any,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.nope_dim = nope_dim
        self.rope_dim = rope_dim
        self.value_dim = value_dim
        self.query = query
        self.position = position
        self.scope = scope
        self.latent = nn.Linear(dim, kv_rank, bias=False)
        self.latent_norm = RMSNorm(dim=kv_rank)
        self.shared_key = nn.Linear(dim, rope_dim, bias=False)
        self.key = nn.Linear(kv_rank, heads * nope_dim, bias=False)
        self.value = nn.Linear(kv_rank, heads * value_dim, bias=False)
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        q = split_heads(self.query(x), self.nope_dim + self.rope_dim)  # [B, H, T, N + P]
        q_nope, q_rope = q.split((self.nope_dim, self.rope_dim), dim=-1)
        q_rope = self.position(q_rope, start)
        latent = self.latent_norm(self.latent(x)).unsqueeze(1)  # [B, 1, T, R]
        shared = self.position(self.shared_key(x).unsqueeze(1), start)  # [B, 1, T, P]
        if state is not None:
            latent, shared = state.append(latent, shared)  # [B, 1, S, R] and [B, 1, S, P]
        # with one new token it is cheaper to bring the query to the latents than to make the keys
        # and values of all tokens again
        attend = self.absorbed if state is not None and x.shape[1] == 1 else self.expanded
        return self.out(attend(q_nope, q_rope, latent, shared, start).transpose(1, 2).flatten(2))

    def expanded(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, shared: Tensor, start: int
    ) -> Tensor:
        """Attention over the keys and values of each head: [B, H, T, V]"""
        k_nope = split_heads(self.key(latent.squeeze(1)), self.nope_dim)  # [B, H, S, N]
        v = split_heads(self.value(latent.squeeze(1)), self.value_dim)
        k = torch.cat((k_nope, shared.expand(-1, self.heads, -1, -1)), dim=-1)
        return self.scope(torch.cat((q_nope, q_rope), dim=-1), k, v, start)

    def absorbed(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, shared: Tensor, start: int
    ) -> Tensor:
        """The same with q k = q (W c) = (q W) c, so that the latents c are the keys and values of
        all heads: [B, H, T, V]"""
        rank = latent.shape[-1]
        q_latent = q_nope @ self.key.weight.view(self.heads, self.nope_dim, rank)  # [B, H, T, R]
        q = torch.cat((q_latent, q_rope), dim=-1)
        # a scope divides by the root of the width that it sees, which is not that of a head here
        q = q * (q.shape[-1] / (self.nope_dim + self.rope_dim)) ** 0.5
        seen = self.scope(q, torch.cat((latent, shared), dim=-1), latent, start)  # [B, H, T, R]
        return seen @ self.value.weight.view(self.heads, self.value_dim, rank).mT


class DirectQuery(nn.Module):
    """Queries straight from the tokens: [B, T, D] -> [B, T, width]."""

    def __init__(self, *, dim: int, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


class LatentQuery(nn.Module):
    """Queries through a normalised latent of `rank` numbers: [B, T, D] -> [B, T, width]."""

    def __init__(self, *, dim: int, rank: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.norm = RMSNorm(dim=rank)
        self.up = nn.Linear(rank, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.norm(self.down(x)))
