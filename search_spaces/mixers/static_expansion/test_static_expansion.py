"""The layer against the equations of its README, one vector and one token at a time."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_same

DIM = 6


def divided(row: Tensor) -> Tensor:
    return row / (row.sum() + 1e-9)


@pytest.mark.parametrize(("groups", "vectors"), [(1, 1), (1, 9), (3, 4)])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, groups: int, vectors: int) -> None:
    torch.manual_seed(0)
    spec = MIXERS["static_expansion"](groups=groups, vectors=vectors)
    layer = execute(spec.plan(Place(DIM, 1, 0, False))).double()

    def handed_back(scores: Tensor, values: Tensor, t: int) -> Tensor:
        total = torch.zeros(DIM, dtype=torch.float64)
        for g in range(groups):
            group = range(g * vectors, (g + 1) * vectors)
            shares = divided(torch.stack([scores[n, t] for n in group]))
            for share, n in zip(shares, group, strict=True):
                gathered = sum(w * v for w, v in zip(divided(scores[n]), values, strict=True))
                total = total + share * (gathered + layer.offset[n])
        return total / groups

    def reference(x: Tensor) -> Tensor:
        x = x[0]
        scores = torch.stack(
            [torch.stack([(q * layer.key(k)).sum() for k in x]) for q in layer.query]
        )
        scores = scores / DIM**0.5
        outputs = []
        for t in range(time):
            share = layer.selector(x[t]).sigmoid()
            along = handed_back(scores.relu(), layer.positive(x), t)
            against = handed_back((-scores).relu(), layer.negative(x), t)
            outputs.append(share * along + (1 - share) * against)
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))
