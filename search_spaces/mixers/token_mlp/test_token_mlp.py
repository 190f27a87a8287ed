"""The layer against the equations of its README, one pair of tokens at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM, HIDDEN, MOST = 6, 4, 40


def build(causal: bool) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["token_mlp"](hidden=HIDDEN, max_tokens=MOST)
    return execute(spec.plan(Place(DIM, 1, 0, causal))).double()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, causal: bool) -> None:
    layer = build(causal)

    def reference(x: Tensor) -> Tensor:
        wide = [F.gelu(layer.widen(token)) for token in x[0]]
        outputs = []
        for t in range(time):
            gate = layer.tokens.bias[t]
            for s in range(t + 1 if causal else time):
                z = wide[s][HIDDEN:]
                z = z / (z.square().mean() + 1e-6).sqrt() * layer.norm.weight
                gate = gate + layer.tokens.weight[t, s] * z
            outputs.append(layer.out(wide[t][:HIDDEN] * gate))
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    assert_pieces_same(build(True), torch.randn(2, 20, DIM, dtype=torch.float64), splits)


@pytest.mark.parametrize("causal", [True, False])
def test_a_longer_input_is_refused(causal: bool) -> None:
    with pytest.raises(ValueError, match="41 tokens"):
        build(causal)(torch.randn(1, MOST + 1, DIM, dtype=torch.float64))
