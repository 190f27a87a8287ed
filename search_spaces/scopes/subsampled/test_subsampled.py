"""Subsets while training against a dense mask, and full attention otherwise."""

import pytest
import torch
from torch import Tensor

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.scopes.subsampled.module import local_shuffle
from tests.support.attention import assert_same, build, cases, dense, mask_of


def mask_for(order: Tensor, window: int, causal: bool) -> Tensor:
    """[T, T]"""
    place = {token: index for index, token in enumerate(order.tolist())}  # in the shuffled order
    return mask_of(
        lambda t, s, _: place[t] // window == place[s] // window and (s <= t or not causal),
        len(order),
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("window", "reach"), [(1, 4), (4, 9), (5, 1000), (40, 3)])
def test_equals_the_dense_mask(window: int, reach: int, causal: bool) -> None:
    spec = SCOPES["subsampled"](window=window, reach=reach)
    for shape, inputs in cases():
        time = inputs.q.shape[2]
        scope = build(spec, shape, causal)
        everything = mask_of(lambda t, s, _: s <= t or not causal, time)
        assert_same(scope(*inputs), dense(inputs, everything), inputs)
        torch.manual_seed(7)
        actual = scope.train()(*inputs)
        torch.manual_seed(7)
        order = local_shuffle(time, reach, torch.device("cpu"))
        mask = everything if time <= window else mask_for(order, window, causal)
        assert_same(actual, dense(inputs, mask), inputs)


def test_the_order_is_new_each_time_and_local() -> None:
    torch.manual_seed(0)
    first, second = (local_shuffle(50, 6, torch.device("cpu")) for _ in range(2))
    assert not torch.equal(first, second)
    for order in (first, second):
        assert order.sort().values.tolist() == list(range(50))
        # a token is overtaken only by those less than 6 behind it
        assert (order - torch.arange(50)).abs().max() < 6
    assert local_shuffle(50, 1, torch.device("cpu")).tolist() == list(range(50))


def test_a_continued_sequence_sees_everything_in_training_too() -> None:
    shape, inputs = list(cases())[-1]
    q, k, v = (x.detach() for x in inputs)
    scope = build(SCOPES["subsampled"](window=4, reach=8), shape, True)
    whole = scope(q, k, v)
    torch.testing.assert_close(scope.train()(q[:, :, 13:], k, v, 13), whole[:, :, 13:])
