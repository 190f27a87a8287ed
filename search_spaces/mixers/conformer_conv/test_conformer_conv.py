"""The layer against the equations of its README, token by token."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM = 6


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("width", [2, 7])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, width: int, causal: bool) -> None:
    torch.manual_seed(0)
    spec = MIXERS["conformer_conv"](width=width)
    layer = execute(spec.plan(Place(DIM, 1, 0, causal))).double()
    ahead = 0 if causal else width // 2
    kernel, bias = layer.conv.conv.weight[:, 0], layer.conv.conv.bias

    def reference(x: Tensor) -> Tensor:
        halves = [layer.widen(token) for token in x[0]]
        gated = [h[:DIM] * h[DIM:].sigmoid() for h in halves]
        outputs = []
        for t in range(time):
            c = bias
            for j in range(width):
                if 0 <= t + ahead - j < time:
                    c = c + kernel[:, width - 1 - j] * gated[t + ahead - j]
            c = c / (c.square().mean() + 1e-6).sqrt() * layer.norm.weight
            outputs.append(layer.out(c * c.sigmoid()))
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = execute(MIXERS["conformer_conv"](width=4).plan(Place(DIM, 1, 0))).double()
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)
