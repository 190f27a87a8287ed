"""A window and global tokens against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


@pytest.mark.parametrize(("tokens", "window"), [(1, 1), (2, 4), (5, 2), (40, 3)])
def test_equals_the_dense_mask(tokens: int, window: int) -> None:
    scope = SCOPES["global_tokens"](tokens=tokens, window=window)
    assert_masked(scope, True, lambda t, s, _: s <= t and (s < tokens or t - s < window))
    assert_masked(scope, False, lambda t, s, _: min(s, t) < tokens or abs(t - s) < window)
