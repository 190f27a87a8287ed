"""Blocks against a dense mask."""

import pytest

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


@pytest.mark.parametrize("block", [1, 4, 7])
def test_equals_the_dense_mask(block: int) -> None:
    scope = SCOPES["blocks"](block=block)
    assert_masked(scope, True, lambda t, s, _: s <= t and s // block == t // block)
    assert_masked(scope, False, lambda t, s, _: s // block == t // block)
