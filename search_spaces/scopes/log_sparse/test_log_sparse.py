"""Exponentially spaced keys against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked

POWERS = (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_equals_the_dense_mask(window: int) -> None:
    scope = SCOPES["log_sparse"](window=window)
    assert_masked(scope, True, lambda t, s, _: 0 <= t - s < window or t - s in POWERS)
    assert_masked(scope, False, lambda t, s, _: abs(t - s) < window or abs(t - s) in POWERS)
