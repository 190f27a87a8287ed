"""The layer against the equations of its README, one token and one channel group at a time."""

import pytest
import torch
from torch import Tensor

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("order", "widths"), [(1, [12]), (3, [3, 6, 12]), (5, [1, 1, 3, 6, 12])])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, order: int, widths: list[int], causal: bool) -> None:
    torch.manual_seed(0)
    spec = MIXERS["gnconv"](order=order, width=5)
    layer = execute(spec.plan(Place(12, 1, 0, causal))).double()
    kernel, bias = layer.conv.conv.weight[:, 0], layer.conv.conv.bias
    ahead = 0 if causal else 2

    def reference(x: Tensor) -> Tensor:
        projected = [layer.project(token) for token in x[0]]
        outputs = []
        for t in range(time):
            total = bias
            for j in range(5):
                place = t + ahead - j
                if 0 <= place < time:
                    total = total + kernel[:, 4 - j] * projected[place][widths[0] :]
            p, start = projected[t][: widths[0]], 0
            for k, width in enumerate(widths):
                p = p if k == 0 else layer.widen[k - 1](p)
                p = p * total[start : start + width]
                start += width
            outputs.append(layer.out(p))
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, 12, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = execute(MIXERS["gnconv"](order=3, width=4).plan(Place(12, 1, 0))).double()
    assert_pieces_same(layer, torch.randn(2, 20, 12, dtype=torch.float64), splits)
