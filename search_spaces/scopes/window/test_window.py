"""Sliding windows against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


@pytest.mark.parametrize("window", [1, 2, 5, 40])
def test_equals_the_dense_mask(window: int) -> None:
    scope = SCOPES["window"](window=window)
    assert_masked(scope, True, lambda t, s, _: 0 <= t - s < window)
    assert_masked(scope, False, lambda t, s, _: abs(t - s) < window)
