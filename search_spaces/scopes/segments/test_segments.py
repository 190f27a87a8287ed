"""Segments against a dense mask, and where they may stand."""

import pytest

from nas.search_spaces.catalogue import MIXERS, SCOPES
from nas.search_spaces.legality import illegal
from tests.support.attention import assert_masked


@pytest.mark.parametrize("count", [1, 2, 4, 50])
def test_equals_the_dense_mask(count: int) -> None:
    def same(t: int, s: int, time: int) -> bool:
        length = (time + count - 1) // count
        return t // length == s // length

    assert_masked(SCOPES["segments"](count=count), False, same)


def test_is_refused_from_left_to_right() -> None:
    segments = SCOPES["segments"](count=2)
    mixer = MIXERS["attention"](heads=2, groups=2, head_dim=8, scope=segments)
    assert illegal(mixer, "encoder", "mixer") is None
    assert "length of the whole input" in (illegal(mixer, "causal_lm", "mixer") or "")
