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
@pytest.mark.parametrize(("width", "slots"), [(3, 5), (3, 0), (0, 5), (7, 1)])
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, width: int, slots: int, causal: bool) -> None:
    torch.manual_seed(0)
    spec = MIXERS["gam"](width=width, slots=slots)
    layer = execute(spec.plan(Place(DIM, 1, 0, causal))).double()
    ahead = 0 if causal else width // 2

    def convolved(x: Tensor, t: int) -> Tensor:
        conv = layer.branches[0].conv
        total = conv.bias
        for j in range(width):
            if 0 <= t + ahead - j < time:
                total = total + conv.weight[:, 0, width - 1 - j] * x[t + ahead - j]
        return total

    def recalled(token: Tensor) -> Tensor:
        bank = layer.branches[-1].bank
        scores = torch.stack([(token * slot).sum() for slot in bank]).exp()
        return sum(score * slot for score, slot in zip(scores, bank, strict=True)) / scores.sum()

    def reference(x: Tensor) -> Tensor:
        outputs = []
        for t, token in enumerate(x[0]):
            found = [convolved(x[0], t)] if width else []
            found += [recalled(token)] if slots else []
            gates = layer.gate(token).sigmoid().view(len(found), DIM)
            outputs.append(sum(g * branch for g, branch in zip(gates, found, strict=True)))
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...]) -> None:
    layer = execute(MIXERS["gam"](width=4, slots=3).plan(Place(DIM, 1, 0))).double()
    assert_pieces_same(layer, torch.randn(2, 20, DIM, dtype=torch.float64), splits)


@pytest.mark.parametrize("width", [0, 1])
def test_nothing_to_mix_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="width"):
        MIXERS["gam"](width=width, slots=0)
