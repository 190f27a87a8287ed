"""The layer against the equations of its README, as a dense matrix for each channel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM, MOST = 5, 40


def build(causal: bool, **numbers: object) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["long_conv"](max_tokens=MOST, **numbers)
    return execute(spec.plan(Place(DIM, 1, 0, causal))).double()


def tap(taps: nn.Module, distance: int) -> Tensor:
    """The filter of all channels at a distance."""
    if hasattr(taps, "frequency"):
        waves = torch.sin(taps.frequency * distance + taps.phase)
        return torch.exp(-taps.log_rate.exp() * distance) * (taps.weight @ waves)
    return taps.weight[:, distance]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("waves", [0, 1, 4])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, waves: int, gated: bool, causal: bool) -> None:
    layer = build(causal, waves=waves, gated=gated)

    def reference(x: Tensor) -> Tensor:
        v = layer.value(x[0])
        outputs = []
        for t in range(time):
            u = torch.zeros(DIM, dtype=torch.float64)
            for s in range(t + 1):
                u = u + tap(layer.taps if causal else layer.before, t - s) * v[s]
            for s in range(t, 0 if causal else time):
                u = u + tap(layer.after, s - t) * v[s]
            outputs.append(u)
        u = torch.stack(outputs)
        gate = F.silu(layer.gate.gate(x[0])) if gated else 1
        return layer.out(u * gate)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("waves", [0, 4])
@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...], waves: int) -> None:
    x = torch.randn(2, 20, DIM, dtype=torch.float64)
    assert_pieces_same(build(True, waves=waves), x, splits)


@pytest.mark.parametrize("causal", [True, False])
def test_a_longer_input_is_refused(causal: bool) -> None:
    layer = build(causal)
    with pytest.raises(ValueError, match="41 tokens"):
        layer(torch.randn(1, MOST + 1, DIM, dtype=torch.float64))


def test_a_longer_continuation_is_refused() -> None:
    layer = build(True)
    state = layer.empty_state()
    layer(torch.randn(1, MOST, DIM, dtype=torch.float64), state)
    with pytest.raises(ValueError, match="41 tokens"):
        layer(torch.randn(1, 1, DIM, dtype=torch.float64), state)
