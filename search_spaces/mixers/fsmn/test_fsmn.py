"""The layer against the equations of its README, with convolutions tap by tap."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM, INNER = 6, 4


def build(causal: bool, **numbers: int) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["fsmn"](inner=INNER, conv_width=3, memory_width=4, **numbers)
    return execute(spec.plan(Place(DIM, 1, 0, causal))).double()


def shifted(x: Tensor, by: int) -> Tensor:
    """x [T, C] moved `by` tokens to the right, zeros coming in."""
    result = torch.zeros_like(x)
    for t in range(len(x)):
        if 0 <= t - by < len(x):
            result[t] = x[t - by]
    return result


def depthwise(conv: nn.Conv1d, features: list[Tensor], spacing: int, causal: bool) -> Tensor:
    """Of each channel the values in some layers, summed over taps and layers."""
    width = conv.weight.shape[2]
    ahead = 0 if causal else spacing * (width - 1) - spacing * (width - 1) // 2
    total = conv.bias.expand(len(features[0]), -1)
    for layer, x in enumerate(features):
        for j in range(width):
            total = total + conv.weight[:, layer, width - 1 - j] * shifted(x, j * spacing - ahead)
    return total


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("layers", "factor"), [(1, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, layers: int, factor: int, causal: bool) -> None:
    layer = build(causal, layers=layers, dilation_factor=factor)

    def unit(part: nn.Module, h: Tensor) -> Tensor:
        s = F.silu(part.linear(part.norm(h)))
        return s + depthwise(part.conv.conv, [s], 1, causal)

    def reference(x: Tensor) -> Tensor:
        narrow = layer.narrow(x[0])
        h = layer.norm(torch.where(narrow > 0, narrow, 0.25 * narrow))
        u, v = unit(layer.kept, h), unit(layer.gate, h)
        features = [layer.memory.project(layer.memory.hidden(u).relu())]
        for i, part in enumerate(layer.memory.layers):
            p = part.norm(depthwise(part.conv.conv, features, factor**i, causal))
            features.append(p.relu() - part.slope * (-p).relu())
        return layer.out(layer.out_norm(v * (u + features[-1]) + h))[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = build(True, layers=2)
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)
