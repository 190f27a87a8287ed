"""The largest scores of each row by their definition.

Shapes: E entries of a row, K entries taken; any number of axes before them.
"""

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K first of each row by `rank`; see ``api``."""
    ranks = rank(scores)
    indices = torch.stack(
        [(ranks == place).to(torch.uint8).argmax(dim=-1) for place in range(k)], dim=-1
    )
    return scores.gather(-1, indices), indices


def rank(scores: Tensor) -> Tensor:
    """How many entries of its row stand before each: those that are larger, and the equal ones with
    a lower index. NaN is larger than any number and equal to NaN. [..., E] -> [..., E]."""
    mine, other = scores.unsqueeze(-1), scores.unsqueeze(-2)
    mine_nan, other_nan = mine.isnan(), other.isnan()
    larger = (other > mine) | (other_nan & ~mine_nan)
    equal = (other == mine) | (other_nan & mine_nan)
    index = torch.arange(scores.shape[-1], device=scores.device)
    earlier = index < index.unsqueeze(-1)
    return (larger | (equal & earlier)).sum(dim=-1)
