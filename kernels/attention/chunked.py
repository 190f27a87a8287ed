"""Attention in plain torch: blocks of queries, each against no more keys than it can see.

Shapes: B batch, H query heads, G key and value heads, T queries, S keys, Q chosen queries of a
head, K key width, V value width.
"""

from collections.abc import Callable
from functools import partial
from itertools import compress, pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

ATTENTION_BLOCK = 128  # queries at a time, and keys that are taken or left together
ATTENTION_LEAST = 32  # no smaller blocks for a small window: each costs a few calls


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """``o_t = sum_s w_ts v_s`` with w from the scores of the keys that t sees.

    q [B, H, T, K]; k [B, G, S, K]; v [B, G, S, V], where G divides H; the first query stands at
    key `start`, by default so that the last stands at the last key. A query sees the keys less than
    `window` away and the first `sinks`, or all if `window` is None; no later ones if `causal`.
    `normaliser`: "softmax"; "sigmoid" of the score and `bias`, by default minus the logarithm of
    the keys seen; "clipped", a softmax stretched to [-alpha / keys seen, zeta] and clipped to
    [0, 1]. Returns o [B, H, T, V] in v's dtype.
    """
    time, held = q.shape[2], k.shape[2]
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    start = max(held - time, 0) if start is None else start
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    window = None if window is None or window >= held else window  # all are that near
    whole = window is None and (not causal or (start == 0 and time == held))
    if normaliser == "softmax" and whole:
        grouped = q.shape[1] != k.shape[1]
        o = scaled_dot_product_attention(
            q, k, values, is_causal=causal, scale=scale, enable_gqa=grouped
        )
        return o.to(v.dtype)
    weigh: Callable[..., Tensor] = partial(
        _attend_all, bias=bias, normaliser=normaliser, alpha=alpha, zeta=zeta, scale=scale
    )
    length = ATTENTION_BLOCK
    if window is not None:
        length = min(length, max(window, ATTENTION_LEAST))
    bounds = _attend_bounds(held, length, 0 if window is None else sinks)
    sizes = [after - before for before, after in pairwise(bounds)]
    pieces = (k.split(sizes, dim=2), values.split(sizes, dim=2))
    columns = torch.arange(held, device=q.device).split(sizes)
    outputs = []
    for first, block in zip(
        range(start, start + time, length), q.split(length, dim=2), strict=True
    ):
        last = first + block.shape[2] - 1
        taken = _attend_taken(bounds, first, last, causal, window, sinks)
        rows = torch.arange(first, last + 1, device=q.device)
        near = torch.cat(tuple(compress(columns, taken)))
        seen = _attend_visible(rows[:, None], near, causal, window, sinks)
        if all(taken):  # the whole need not be put together
            outputs.append(weigh(block, k, values, seen))
        else:
            parts = (torch.cat(tuple(compress(piece, taken)), dim=2) for piece in pieces)
            outputs.append(weigh(block, *parts, seen))
    return torch.cat(outputs, dim=2).to(v.dtype)


def routed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of only the chosen queries of each head, at their own places; zeros elsewhere.

    queries [B, H, Q]: which of the T queries, filled up with -1; the rest as in `attention`.
    """
    time, held = q.shape[2], k.shape[2]
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    start = max(held - time, 0) if start is None else start
    queries = queries.long()
    index = torch.where(queries < 0, time, queries).unsqueeze(-1)  # none is a row of its own
    rows = pad(q.to(dtype), (0, 0, 0, 1)).gather(2, index.expand(-1, -1, -1, q.shape[-1]))
    columns = torch.arange(held, device=q.device)
    seen = _attend_visible(index + start, columns, causal, window, sinks)  # [B, H, Q, S]
    seen = seen | (index == time)  # so that no row is empty
    o = _attend_all(
        rows,
        k.to(dtype),
        v.to(dtype),
        seen,
        bias=bias,
        normaliser=normaliser,
        alpha=alpha,
        zeta=zeta,
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
    )
    places = o.new_zeros(*q.shape[:2], time + 1, v.shape[-1])
    places = places.scatter(2, index.expand(-1, -1, -1, v.shape[-1]), o)
    return places[:, :, :time].to(v.dtype)


def _attend_bounds(held: int, length: int, sinks: int) -> list[int]:
    """Where the pieces of the keys begin and end: the sinks, then `length` each."""
    first = min(sinks, held)
    bounds = [0] if first == 0 else [0, first]
    while bounds[-1] < held:
        bounds.append(min(bounds[-1] + length, held))
    return bounds


def _attend_taken(
    bounds: list[int], first: int, last: int, causal: bool, window: int | None, sinks: int
) -> list[bool]:
    """Which pieces hold keys that a query from `first` to `last` may see."""
    limit = last + 1 if causal else bounds[-1]
    begin = 0 if window is None else first - window + 1
    end = limit if window is None else min(limit, last + window)
    return [
        (start < end and stop > begin) or start < min(sinks, limit)
        for start, stop in pairwise(bounds)
    ]


def _attend_visible(
    rows: Tensor, columns: Tensor, causal: bool, window: int | None, sinks: int
) -> Tensor:
    """Whether queries at rows [..., T, 1] see keys at columns [S]: [..., T, S]."""
    behind = rows - columns
    seen = torch.ones_like(behind, dtype=torch.bool)
    if window is not None:
        seen = (behind.abs() < window) | (columns < sinks)
    return seen & (behind >= 0) if causal else seen


def _attend_all(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    seen: Tensor,
    *,
    bias: Tensor | float | None,
    normaliser: str,
    alpha: float,
    zeta: float,
    scale: float,
) -> Tensor:
    """All pairs of q [B, H, T, K] and k, of which `seen`, [T, S] or [B, H, T, S], count."""
    heads, groups = q.shape[1], k.shape[1]
    if normaliser == "softmax":
        return scaled_dot_product_attention(
            q, k, v, attn_mask=seen, scale=scale, enable_gqa=heads != groups
        )
    dtype = torch.promote_types(q.dtype, torch.float32)
    rows = q.to(dtype).unflatten(1, (groups, -1)).flatten(2, 3)  # [B, G, H / G * T, K]
    scores = (rows @ k.to(dtype).mT).unflatten(2, (heads // groups, -1)) * scale
    if seen.dim() > 2:
        seen = seen.unflatten(1, (groups, -1))  # [B, G, H / G, T, S]
    number = seen.sum(-1, keepdim=True).to(dtype)
    if normaliser == "sigmoid":
        weights = (scores + (-number.log() if bias is None else bias)).sigmoid() * seen
    else:
        gamma = -alpha / number
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        weights = ((zeta - gamma) * weights + gamma).clamp(0.0, 1.0) * seen
    o = weights.flatten(2, 3) @ v.to(dtype)  # [B, G, H / G * T, V]
    return o.unflatten(2, (heads // groups, -1)).flatten(1, 2).to(v.dtype)
