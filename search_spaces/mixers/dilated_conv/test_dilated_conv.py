"""The layer against the equations of its README, one token and one tap after another."""

import pytest
import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM = 6


def build(causal: bool, **numbers: object) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["dilated_conv"](**numbers)
    return execute(spec.plan(Place(DIM, 1, 0, causal))).double()


def convolved(conv: nn.Conv1d, x: Tensor, spacing: int, ahead: int) -> Tensor:
    """The sum over the taps; `ahead` tokens later than t are seen. x [T, D]"""
    width, depthwise = conv.weight.shape[2], conv.groups > 1
    rows = []
    for t in range(len(x)):
        total = conv.bias
        for j in range(width):
            place = t + ahead - j * spacing
            if 0 <= place < len(x):
                tap = conv.weight[:, :, width - 1 - j]
                total = total + (tap[:, 0] * x[place] if depthwise else tap @ x[place])
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, residual: bool, depthwise: bool, causal: bool) -> None:
    numbers = {"width": 3, "layers": 3, "dilation_factor": 3}
    layer = build(causal, **numbers, depthwise=depthwise, residual=residual)

    def reference(x: Tensor) -> Tensor:
        h = x[0]
        for i, step in enumerate(layer.stack.layers):
            reach = 2 * 3**i
            ahead = 0 if causal else reach - reach // 2
            new = convolved(step.conv.conv, h, 3**i, ahead).relu()
            h = h + new if residual else new
        return layer.out(h)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


def test_an_even_width_sees_one_more_token_ahead() -> None:
    layer = build(False, width=2, layers=1)
    x = torch.zeros(1, 5, DIM, dtype=torch.float64)
    bare = layer(x)
    x[:, 2] = 1
    changed = (layer(x) - bare).abs().amax(dim=(0, 2)) > 0
    assert changed.tolist() == [False, True, True, False, False]


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (5, 1, 14), (20,)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = build(True, width=3, layers=3)
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)


def test_a_reach_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="dilation_factor"):
        MIXERS["dilated_conv"](width=3, layers=16, dilation_factor=16)
