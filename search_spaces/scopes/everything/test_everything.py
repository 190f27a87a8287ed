"""Full attention against a dense mask."""

from nas.search_spaces.catalogue import SCOPES
from tests.support.attention import assert_masked


def test_equals_the_dense_mask() -> None:
    assert_masked(SCOPES["everything"](), True, lambda t, s, _: s <= t)
    assert_masked(SCOPES["everything"](), False, lambda *_: True)
