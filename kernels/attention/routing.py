"""From a router's choice to the queries of each head."""

import torch
from torch import Tensor


def chosen_queries(chosen: Tensor, most: int | None = None) -> Tensor:
    """Which queries each head serves, in ascending order, filled up with -1.

    chosen [B, H, T] of bool -> [B, H, `most`], by default T: what is filled up costs next to
    nothing in the Triton form, and to look for the longest row would make a GPU wait. With `most`
    the queries of a head beyond that number are dropped, the last first.
    """
    order = chosen.logical_not().to(torch.uint8).argsort(dim=-1, stable=True)  # the chosen first
    place = torch.arange(chosen.shape[-1], device=chosen.device)
    filled = torch.where(place < chosen.sum(dim=-1, keepdim=True), order, -1)
    return filled if most is None else filled[..., :most]
