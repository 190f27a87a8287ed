"""Attention to keys that a cheap estimate picks (arXiv 2310.01777). Shapes as all
scopes have them; C columns of the estimated map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.pieces.attend.module import KeyValueCache, positions, repeat_heads


class Estimated(nn.Module):
    """Softmax over the keys that lie in the best columns of an estimated, compressed map.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]. `columns` says which column each key of a
    query lies in. Linear attention gives a first map and context, from which a small network makes
    the map that chooses, and how much to trust the outcome over the mean of the values. Choosing
    has no gradient: the map learns from `balance_loss`, its divergence from the true attention.
    """

    def __init__(
        self,
        *,
        head_dim: int,
        width: int,
        top: int,
        hidden: int,
        distil: float,
        columns: nn.Module,
    ) -> None:
        super().__init__()
        self.width = width
        self.top = top
        self.distil = distil
        self.columns = columns
        self.hidden = nn.Linear(2 * head_dim + width, hidden)
        self.map = nn.Linear(hidden, width)
        self.scale = nn.Linear(hidden, 2)
        self.balance_loss: Tensor | float = 0.0

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        rows, keys = positions(q, k, start)
        column, visible = self.columns(rows, keys, self.width)  # [T, S]
        own = repeat_heads(v[:, :, -q.shape[2] :], q.shape[1])  # the queries' own values
        k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
        rough = linear_weights(q, k, visible)  # [B, H, T, S]
        rough_map = compress(rough, column, visible, self.width)
        hidden = F.gelu(self.hidden(torch.cat((rough @ v, rough_map, own), dim=-1)))
        mean = mean_of_visible(v, visible, len(rows))
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~visible, -torch.inf)

        held = compress(visible.to(v.dtype), column, visible, self.width) > 0  # [T, C]
        estimate = self.map(hidden).masked_fill(~held, -torch.inf).log_softmax(-1)
        truth = compress(scores.detach().softmax(-1), column, visible, self.width)
        self.balance_loss = self.distil * divergence(truth, estimate, held)

        chosen = best_columns(estimate.detach(), self.top)  # [B, H, T, C]
        seen = chosen.gather(-1, column.expand(*chosen.shape[:2], -1, -1)) & visible
        exact = scores.masked_fill(~seen, -torch.inf).softmax(-1).to(v.dtype) @ v
        trust, mix = self.scale(hidden).sigmoid().unsqueeze(-2).unbind(-1)  # [B, H, T, 1]
        return trust * exact + (1 - mix) * mean


def linear_weights(q: Tensor, k: Tensor, visible: Tensor) -> Tensor:
    """Weights of linear attention with the features elu + 1: [B, H, T, S]; rows add to one."""
    weights = ((F.elu(q) + 1) @ (F.elu(k) + 1).mT).masked_fill(~visible, 0)
    return weights / weights.sum(-1, keepdim=True)


def compress(weights: Tensor, column: Tensor, visible: Tensor, width: int) -> Tensor:
    """Sums of the weights [..., T, S] of each column: [..., T, C]."""
    weights = weights.masked_fill(~visible, 0)
    empty = weights.new_zeros(*weights.shape[:-1], width)
    return empty.scatter_add(-1, column.expand(weights.shape), weights)


def mean_of_visible(v: Tensor, visible: Tensor, new: int) -> Tensor:
    """The mean of the values that each of the last `new` queries may see: [B, H, T, V].

    From left to right these are all up to the query, otherwise all.
    """
    total = v.cumsum(2)[:, :, -new:]
    count = visible.sum(-1, keepdim=True)  # [T, 1]
    return torch.where(count == v.shape[2], v.sum(2, keepdim=True), total) / count


def divergence(truth: Tensor, estimate: Tensor, held: Tensor) -> Tensor:
    """KL divergence of the log-probabilities `estimate` from `truth`, a mean over queries."""
    truth = truth.float() if truth.dtype == torch.bfloat16 else truth
    terms = torch.xlogy(truth, truth) - truth * estimate.masked_fill(~held, 0)
    return terms.sum(-1).mean()


def best_columns(estimate: Tensor, top: int) -> Tensor:
    """Whether a column is one of the `top` best: [B, H, T, C]."""
    best = estimate.topk(min(top, estimate.shape[-1]), dim=-1).indices
    return torch.zeros_like(estimate, dtype=torch.bool).scatter(-1, best, True)


class PrefixColumns(nn.Module):
    """Cuts what a query may see, the keys up to its own, into equal columns."""

    def forward(self, rows: Tensor, keys: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Positions [T] and [S] -> the column of each key and whether it is visible, [T, S]."""
        visible = keys <= rows[:, None]
        column = keys * width // (rows[:, None] + 1)
        return column.masked_fill(~visible, 0), visible


class TextColumns(nn.Module):
    """Cuts all keys into equal columns."""

    def forward(self, rows: Tensor, keys: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Positions [T] and [S] -> the column of each key and whether it is visible, [T, S]."""
        column = (keys * width // len(keys)).expand(len(rows), -1)
        return column, torch.ones_like(column, dtype=torch.bool)
