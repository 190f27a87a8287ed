"""Pooling against its definition, token by token."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM = 5


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("window", [2, 3, 8])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_definition(time: int, window: int, subtract: bool, causal: bool) -> None:
    spec = MIXERS["pooling"](window=window, subtract=subtract)
    before, after = (window - 1, 0) if causal else ((window - 1) // 2, window // 2)

    def reference(x: Tensor) -> Tensor:
        means = [x[:, max(0, t - before) : t + after + 1].mean(dim=1) for t in range(time)]
        return torch.stack(means, dim=1) - (x if subtract else 0)

    layer = execute(spec.plan(Place(DIM, 1, 0, causal)))
    assert_same(layer, reference, torch.randn(2, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = execute(MIXERS["pooling"](window=5, subtract=False).plan(Place(DIM, 1, 0)))
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)
