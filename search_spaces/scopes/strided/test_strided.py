"""Strided attention against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


@pytest.mark.parametrize("stride", [1, 5])
def test_equals_the_dense_mask(stride: int) -> None:
    scope = SCOPES["strided"](stride=stride)

    def far_or_near(away: int) -> bool:
        return away < stride or away % stride == 0

    assert_masked(scope, True, lambda t, s, _: s <= t and far_or_near(t - s))
    assert_masked(scope, False, lambda t, s, _: far_or_near(abs(t - s)))
