"""Routing by its definition, copy by copy.

Shapes: N tokens, K copies of each, E experts, D width, M = N x K rows.
"""

import torch
from torch import Tensor


def route(chosen: Tensor, experts: int, capacity: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Each copy in turn joins the end of its expert's row, if there is room; see ``api``."""
    taken: list[list[int]] = [[] for _ in range(experts)]
    for copy, expert in enumerate(chosen.flatten().tolist()):
        if expert >= 0 and (capacity is None or len(taken[expert]) < capacity):
            taken[expert].append(copy)
    order = torch.full((chosen.numel(),), -1)
    places = torch.full((chosen.numel(),), -1)
    for place, copy in enumerate(copy for copies in taken for copy in copies):
        order[place], places[copy] = copy, place
    sizes = torch.tensor([len(copies) for copies in taken])
    where = chosen.device
    return order.to(where), places.view(chosen.shape).to(where), sizes.to(where)


def dispatch(x: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """Row s is that of the token whose copy stands at s; see ``api``."""
    copies, nothing = places.shape[1], x[:0].sum(dim=0)
    rows = [nothing if copy < 0 else x[copy // copies] for copy in order.tolist()]
    return torch.stack(rows) if rows else x[:0]


def combine(rows: Tensor, weights: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """The weighted sum of the rows of each token's copies; see ``api``."""
    del order
    dtype = torch.promote_types(rows.dtype, torch.float32)
    results = []
    for token, mine in enumerate(places.tolist()):
        result = rows[:0].to(dtype).sum(dim=0) + weights[token, :0].to(dtype).sum()
        for copy, place in enumerate(mine):
            if place >= 0:
                result = result + weights[token, copy].to(dtype) * rows[place].to(dtype)
        results.append(result)
    return torch.stack(results).to(rows.dtype) if results else rows[:0] + weights.sum()
