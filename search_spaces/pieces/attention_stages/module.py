"""Softmax attention as a row of stages: what its options are made of.

B batch, T time, S keys held, D width, H query heads, G key and value heads, K and V head widths
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm


class StagedAttention(nn.Module):
    """Softmax attention with further stages on the way: [B, T, D] -> [B, T, D].

    `project` maps x to q [B, H, T, K], k [B, G, T, K] and v [B, G, T, V]. Each of `before` is
    called with these, x and the position of the first token, and returns q, k and v. Each of
    `after` is called with the heads' outputs and x; one of them joins the heads,
    [B, T, H, V] -> [B, T, D].
    """

    def __init__(
        self,
        *,
        project: nn.Module,
        before: tuple[nn.Module, ...],
        position: nn.Module,
        scope: nn.Module,
        after: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        self.project = project
        self.before = nn.ModuleList(before)
        self.position = position
        self.scope: Any = scope
        self.after = nn.ModuleList(after)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        q, k, v = self.project(x)
        for stage in self.before:
            q, k, v = stage(q, k, v, x, start)
        q, k = self.position(q, start), self.position(k, start)
        if state is not None:
            k, v = state.append(k, v)  # [B, G, S, K]
        y = self.scope(q, k, v, start).transpose(1, 2)  # [B, T, H, V]
        for stage in self.after:
            y = stage(y, x)
        return y


# Projections: [B, T, D] -> q [B, H, T, K], k [B, G, T, K], v [B, G, T, V]


class SeparateHeads(nn.Module):
    """Queries, keys and values each by a matrix of their own."""

    def __init__(self, *, dim: int, heads: int, groups: int, head_dim: int, bias: bool) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, groups * head_dim, bias=bias)
        self.value = nn.Linear(dim, groups * head_dim, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.query(x), self.key(x), self.value(x)
        return (
            split_heads(q, self.head_dim),
            split_heads(k, self.head_dim),
            split_heads(v, self.head_dim),
        )


class TokenKeys(nn.Module):
    """The tokens themselves are the keys of all heads, so K = D and G = 1 (arXiv 2410.13732)."""

    def __init__(self, *, query: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.query = query
        self.value = value

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.query(x), x.unsqueeze(1), self.value(x).unsqueeze(1)


class CollapsedQuery(nn.Module):
    """One matrix for each head in place of W_q W_kᵀ: [B, T, D] -> [B, H, T, D]"""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.dim = dim
        self.product = nn.Linear(dim, heads * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return split_heads(self.product(x), self.dim)


class SymmetricQuery(nn.Module):
    """L Lᵀ x for each head with a lower triangular L, so that two tokens are as similar one way as
    the other: [B, T, D] -> [B, H, T, D]"""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.dim = dim
        self.entries = nn.Parameter(torch.empty(heads, dim * (dim + 1) // 2))
        nn.init.uniform_(self.entries, -(dim**-0.5), dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        lower = self.lower()
        return x.unsqueeze(1) @ lower @ lower.mT

    def lower(self) -> Tensor:
        """The triangles: [H, D, D]"""
        row, column = torch.tril_indices(self.dim, self.dim, device=self.entries.device)
        matrix = self.entries.new_zeros(len(self.entries), self.dim, self.dim)
        matrix[:, row, column] = self.entries
        return matrix


class RandomQuery(nn.Module):
    """A frozen random matrix for each head (arXiv 2307.11353): [B, T, D] -> [B, H, T, D]

    Entries have a variance of 1 / D, and a mean of `mean` times the identity.
    """

    product: Tensor

    def __init__(self, *, dim: int, heads: int, mean: float) -> None:
        super().__init__()
        self.dim = dim
        centre = mean * torch.eye(dim).repeat(heads, 1)
        self.register_buffer("product", centre + torch.randn(heads * dim, dim) * dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return split_heads(F.linear(x, self.product), self.dim)


# Before: (q, k, v, x, start) -> (q, k, v)


class NormedHeads(nn.Module):
    """Every query and key divided by its root mean square; all heads share the weights."""

    def __init__(self, *, head_dim: int) -> None:
        super().__init__()
        self.query = RMSNorm(dim=head_dim)
        self.key = RMSNorm(dim=head_dim)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.query(q), self.key(k), v


class NormedWidth(nn.Module):
    """Queries divided by the root mean square over all heads, and keys too."""

    def __init__(self, *, query_width: int, key_width: int) -> None:
        super().__init__()
        self.query = RMSNorm(dim=query_width)
        self.key = RMSNorm(dim=key_width)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        head_dim = q.shape[-1]
        q, k = self.query(join_heads(q)), self.key(join_heads(k))
        return split_heads(q, head_dim), split_heads(k, head_dim), v


class GatedQuery(nn.Module):
    """Queries times factors from the input."""

    def __init__(self, *, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q * self.gate(x).transpose(1, 2), k, v


class GatedKey(nn.Module):
    """Keys times factors from the input."""

    def __init__(self, *, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q, k * self.gate(x).transpose(1, 2), v


class GatedValue(nn.Module):
    """Values times factors from the input."""

    def __init__(self, *, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q, k, v * self.gate(x).transpose(1, 2)


class ScaledQuery(nn.Module):
    """Queries times a constant."""

    def __init__(self, *, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q * self.factor, k, v


class SelectiveQuery(nn.Module):
    """Queries times one plus some terms: an inverse temperature of their own (arXiv 2411.12892)."""

    def __init__(self, *, terms: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q * (1 + sum(term(q, start) for term in self.terms)), k, v


class SelectiveValue(nn.Module):
    """Values times one plus a term, so that a token can mute itself (arXiv 2411.12892)."""

    def __init__(self, *, term: nn.Module) -> None:
        super().__init__()
        self.term = term

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        return q, k, v * (1 + self.term(v, start))


class TokenTerm(nn.Module):
    """tanh of a linear map of a projected token, one number a head: [B, H, T, K] -> [B, H, T, 1]"""

    def __init__(self, *, heads: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, 1, width))  # starts as plain attention

    def forward(self, x: Tensor, start: int) -> Tensor:
        return (x * self.weight.to(x.dtype)).sum(-1, keepdim=True).tanh()


class PositionTerm(nn.Module):
    """sigmoid(alpha) log(tokens that a query sees) for each head: [B, H, T, K] -> [H, T, 1]"""

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((heads, 1, 1), -2.0))  # starts near plain attention

    def forward(self, x: Tensor, start: int) -> Tensor:
        end = start + x.shape[-2]
        seen = torch.arange(start + 1, end + 1, device=x.device, dtype=torch.float32)
        return (self.alpha.sigmoid() * seen.log().unsqueeze(-1)).to(x.dtype)


class LengthTerm(nn.Module):
    """sigmoid(alpha) log(length), where every token sees all: [B, H, T, K] -> [H, 1, 1]"""

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((heads, 1, 1), -2.0))  # starts near plain attention

    def forward(self, x: Tensor, start: int) -> Tensor:
        return (self.alpha.sigmoid() * math.log(x.shape[-2])).to(x.dtype)


class ComplexPhase(nn.Module):
    """Queries and keys as complex numbers, (i, i + K/2) a pair: each group of heads scales their
    angles and turns them with the position by frequencies of its own (arXiv 2505.10222).

    Starts as rotary positions.
    """

    def __init__(self, *, heads: int, groups: int, head_dim: int) -> None:
        super().__init__()
        half = head_dim // 2
        frequency = 10_000.0 ** (-torch.arange(half) / half)
        self.frequency = nn.Parameter(frequency.repeat(groups, 1, 1))  # [G, 1, K/2]
        self.scale = nn.Parameter(torch.ones(groups, 1, 1))
        self.shift = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, start: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = q.shape[1] // k.shape[1]
        no_shift = torch.zeros_like(self.scale)
        k = self.turn(k, self.scale, self.frequency, no_shift, start)
        scale = self.scale.repeat_interleave(share, dim=0)  # the heads of a group share its own
        frequency = self.frequency.repeat_interleave(share, dim=0)
        return self.turn(q, scale, frequency, self.shift, start), k, v

    def turn(
        self, x: Tensor, scale: Tensor, frequency: Tensor, shift: Tensor, start: int
    ) -> Tensor:
        """Angles times `scale`, plus position times `frequency`, plus `shift`: [B, H, T, K]"""
        dtype = torch.promote_types(x.dtype, torch.float32)
        left, right = x.to(dtype).chunk(2, dim=-1)
        left = torch.where((left == 0) & (right == 0), 1e-12, left)  # zero has no angle
        position = torch.arange(start, start + x.shape[-2], device=x.device, dtype=dtype)
        angle = torch.atan2(right, left) * scale + position.unsqueeze(-1) * frequency + shift
        length = torch.hypot(left, right)
        return torch.cat((length * angle.cos(), length * angle.sin()), dim=-1).to(x.dtype)


# After: (y, x) -> y


class GatedHeads(nn.Module):
    """The heads' outputs [B, T, H, V] times factors from the input (arXiv 2505.06708)."""

    def __init__(self, *, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * self.gate(x)


class JoinedHeads(nn.Module):
    """The output projection: [B, T, H, V] -> [B, T, D]"""

    def __init__(self, *, width: int, dim: int, bias: bool) -> None:
        super().__init__()
        self.out = nn.Linear(width, dim, bias=bias)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.out(y.flatten(2))


class MeanOfHeads(nn.Module):
    """Without values and output projection a head mixes whole tokens: [B, T, H, D] -> [B, T, D]"""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y.mean(2)


class GatedResult(nn.Module):
    """The layer's output [B, T, D] times factors from the input."""

    def __init__(self, *, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * self.gate(x).flatten(2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, T, K] -> [B, T, H * K]"""
    return x.transpose(1, 2).flatten(2)


# Folding


class Folded(nn.Module):
    """Attention over `factor` pieces of each token instead of whole tokens (arXiv 2309.07988).

    [B, T, D] -> [B, T, D]; the attention inside sees [B, T * factor, D / factor].
    """

    def __init__(self, *, factor: int, attention: nn.Module) -> None:
        super().__init__()
        self.factor = factor
        self.attention: Any = attention

    def empty_state(self) -> Any:
        """What decoding carries from token to token; its length counts pieces."""
        return self.attention.empty_state()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        pieces = x.unflatten(2, (self.factor, -1)).flatten(1, 2)
        return self.attention(pieces, state).unflatten(1, (-1, self.factor)).flatten(2)


class UpToThisToken(nn.Module):
    """Which pieces are visible: those of earlier tokens and of the query's own token.

    rows [T], columns [S] -> [T, S]
    """

    def __init__(self, *, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        return columns // self.factor <= rows[:, None] // self.factor
