"""The layer against the equations of its README, one pair of tokens at a time."""

import pytest
import torch
from torch import Tensor, nn

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import MIXERS
from tests.support.compare import assert_pieces_same, assert_same

DIM, MOST = 5, 40
every_variant = pytest.mark.parametrize("variant", ["she", "he", "we", "me"])


def build(variant: str) -> nn.Module:
    torch.manual_seed(0)
    spec = MIXERS["extractor"](variant=variant, max_tokens=MOST)
    return execute(spec.plan(Place(DIM, 1, 0))).double()


@every_variant
@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_equals_the_equations(time: int, variant: str) -> None:
    layer = build(variant)

    def extracted(x: Tensor, distance: int) -> Tensor:
        if variant == "she":
            return x @ layer.extract.weight[distance]
        if variant == "he":
            return layer.extract.matrix(layer.extract.vectors.weight[:, distance] * x)
        if variant == "we":
            return layer.extract.weight[:, distance] * x
        return layer.extract.weight[0, distance] * x

    def reference(x: Tensor) -> Tensor:
        outputs = []
        for t in range(time):
            e = sum(extracted(x[0, s], t - s) for s in range(t + 1))
            outputs.append(e * layer.adjust(x[0, t]))
        return torch.stack(outputs)[None]

    assert_same(layer, reference, torch.randn(1, time, DIM, dtype=torch.float64))


@every_variant
@pytest.mark.parametrize("splits", [(1, 1, 1, 17), (9, 1, 10), (2, 18)])
def test_pieces_equal_the_whole(splits: tuple[int, ...], variant: str) -> None:
    assert_pieces_same(build(variant), torch.randn(2, 20, DIM, dtype=torch.float64), splits)


@every_variant
def test_a_longer_input_is_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="41 tokens"):
        build(variant)(torch.randn(1, MOST + 1, DIM, dtype=torch.float64))
