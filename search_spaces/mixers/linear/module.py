"""Linear attention over features of queries and keys (arXiv 2006.16236, 2210.10340).

B batch, T time, D width, H heads, K head width, F features, V value width
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.linear_attention.api import linear_attention
from nas.search_spaces.mixers.attention.module import split_heads
from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried

SMALLEST_WEIGHT = 1e-6  # added to a sum of weights, all of which may be zero


class LinearAttention(nn.Module):
    """The weight of a key is the product of features, phi(q)·phi(k), so that keys and values can be
    summed up once for all queries: [B, T, D] -> [B, T, D]. A token sees those before it.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        head_dim: int,
        value_dim: int,
        position: nn.Module,
        length: nn.Module,
        feature_map: nn.Module,
        normaliser: Any,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.value_dim = value_dim
        self.position = position
        self.length = length
        self.feature_map = feature_map
        self.normaliser = normaliser
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        start = 0 if state is None else state.length
        q, k = self.features(x, start)  # [B, H, T, F]
        v = self.normaliser.prepare(split_heads(self.value(x), self.value_dim))  # [B, H, T, V]
        before = None if state is None else state.get("matrix")
        o, after = linear_attention(q, k, v, x.new_zeros(1, 1, 1, 1), before)
        if state is not None:
            state.tensors["matrix"] = after
            state.length += x.shape[1]
        return self.out(self.normaliser(o).transpose(1, 2).flatten(2))

    def features(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Features of the queries and keys of tokens from position `start` on: [B, H, T, F]"""
        q = self.length(self.position(split_heads(self.query(x), self.head_dim), start))
        k = self.length(self.position(split_heads(self.key(x), self.head_dim), start))
        return self.feature_map(q, k, start)


class TwoWayLinearAttention(LinearAttention):
    """The same, but a token sees all tokens."""

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        q, k = self.features(x, 0)
        v = self.normaliser.prepare(split_heads(self.value(x), self.value_dim))
        o = q @ (k.mT @ v)  # [B, H, T, V]
        return self.out(self.normaliser(o).transpose(1, 2).flatten(2))


class Denominator(nn.Module):
    """Divides by the sum of the weights, which a column of ones beside the values collects."""

    def prepare(self, v: Tensor) -> Tensor:
        """[B, H, T, V] -> [B, H, T, V + 1]"""
        return F.pad(v, (0, 1), value=1.0)

    def forward(self, o: Tensor) -> Tensor:
        return o[..., :-1] / (o[..., -1:] + SMALLEST_WEIGHT)


class OutputNorm(nn.Module):
    """Brings the output of each head to a root mean square of one; the weights are not summed."""

    def __init__(self, *, value_dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head

    def prepare(self, v: Tensor) -> Tensor:
        """The values as they are."""
        return v

    def forward(self, o: Tensor) -> Tensor:
        return self.norm(o)


class SumOfWeighted(nn.Module):
    """Leaves the sum as it is, but for a factor that keeps it from growing with the features."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.features = features

    def prepare(self, v: Tensor) -> Tensor:
        """The values as they are."""
        return v

    def forward(self, o: Tensor) -> Tensor:
        return o / self.features


class UnitLength(nn.Module):
    """Scales x [B, H, T, K] to a length of K^(1/4), so that q.k / sqrt(K) is a cosine."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * x.shape[-1] ** 0.25


class AnyLength(nn.Module):
    """Returns x as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x
