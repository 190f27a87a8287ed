"""Routing in plain torch.

Shapes: N tokens, K copies of each, E experts, D width, M = N x K rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def route(chosen: Tensor, experts: int, capacity: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """The order that sorts copies by expert, [M], the places where they stand then, [N, K], and how
    many each expert takes, [E]: chosen [N, K]. Copies of expert -1 and those over the capacity have
    no place; after the last of the others the order is -1."""
    wanted = chosen.flatten().long()
    order = wanted.argsort(stable=True)  # [M], those of no expert first
    load = torch.bincount(wanted + 1, minlength=experts + 1)  # [1 + E]
    if len(load) > experts + 1:
        raise IndexError(f"routing: expert {len(load) - 2} was chosen of {experts}")
    sizes = load[1:] if capacity is None else load[1:].clamp(max=capacity)
    every = torch.arange(len(order), device=order.device)
    if load[0] or capacity is not None:
        expert = wanted[order]
        turn = every - (load.cumsum(0) - load)[expert + 1]
        kept = expert >= 0
        if capacity is not None:
            kept &= turn < capacity
        order = order[kept]
    places = torch.full_like(wanted, -1).scatter_(0, order, every[: len(order)])
    order = F.pad(order, (0, len(places) - len(order)), value=-1)
    return order, places.view(chosen.shape), sizes


def dispatch(x: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """Rows sorted by expert, with zeros after the last: x [N, D] -> [M, D]."""
    kept = int((order >= 0).sum())
    rows = x.index_select(0, order[:kept] // places.shape[1])
    rest = len(order) - kept
    return F.pad(rows, (0, 0, 0, rest)) if rest else rows


def combine(rows: Tensor, weights: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """The weighted sum of the rows of each token's copies: rows [M, D], weights [N, K] -> [N, D].

    Computed in float32, or float64 for float64; y has the dtype of rows.
    """
    dtype = torch.promote_types(rows.dtype, torch.float32)
    source, scales, starts = places, weights.to(dtype), None
    kept = places >= 0
    if not kept.all():  # then tokens differ in how many rows they add up
        counts = kept.sum(dim=1)
        source, scales, starts = places[kept], scales[kept], counts.cumsum(0) - counts
    y = F.embedding_bag(source, rows.to(dtype), starts, mode="sum", per_sample_weights=scales)
    return y.to(rows.dtype)
