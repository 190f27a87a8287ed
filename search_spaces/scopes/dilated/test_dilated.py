"""Dilated windows against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


@pytest.mark.parametrize(("window", "stride"), [(1, 3), (3, 1), (2, 3), (4, 2), (2, 40)])
def test_equals_the_dense_mask(window: int, stride: int) -> None:
    scope = SCOPES["dilated"](window=window, stride=stride)
    seen = [step * stride for step in range(window)]
    assert_masked(scope, True, lambda t, s, _: t - s in seen)
    assert_masked(scope, False, lambda t, s, _: abs(t - s) in seen)
