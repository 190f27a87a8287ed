"""Fourier mixing against the sum of cosines of its README."""

import math

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_same


def angles(count: int) -> Tensor:
    """2 pi i j / count: [count, count]"""
    steps = torch.arange(count, dtype=torch.float64)
    return 2 * math.pi * steps[:, None] * steps / count


@pytest.mark.parametrize("dim", [1, 5, 8])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_sum_of_cosines(time: int, dim: int) -> None:
    weights = (angles(time)[:, None, :, None] + angles(dim)[None, :, None, :]).cos()

    def reference(x: Tensor) -> Tensor:
        return torch.einsum("tdse,bse->btd", weights, x) / math.sqrt(time * dim)

    layer = execute(MIXERS["fnet"]().plan(Place(dim, 1, 0, False)))
    assert_same(layer, reference, torch.randn(2, time, dim, dtype=torch.float64))
