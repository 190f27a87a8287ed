"""Sinks and a window against a dense mask."""

import pytest
import torch

from nas.search_spaces.catalogue import SCOPES
from nas.search_spaces.scopes.streaming.module import SinkCache
from tests.support.attention import assert_masked


@pytest.mark.parametrize(("sinks", "window"), [(1, 1), (2, 4), (5, 2), (40, 3)])
def test_equals_the_dense_mask(sinks: int, window: int) -> None:
    scope = SCOPES["streaming"](sinks=sinks, window=window)
    assert_masked(scope, True, lambda t, s, _: s <= t and (s < sinks or t - s < window))
    assert_masked(scope, False, lambda t, s, _: s < sinks or abs(t - s) < window)


@pytest.mark.parametrize("pieces", [(10,), (1, 9), (2, 1, 7), (5, 5), (3,)])
def test_the_cache_keeps_the_sinks_and_the_window(pieces: tuple[int, ...]) -> None:
    cache, start = SinkCache(3, 2), 0
    for piece in pieces:
        tokens = torch.arange(start, start + piece).view(1, 1, -1, 1)
        start += piece
        seen, _ = cache.append(tokens, tokens)
        # the first of the new tokens sees one before it, and all see the sinks
        first = max(start - piece - 1, 0)
        wanted = sorted({*range(min(3, start)), *range(first, start)})
        assert seen.flatten().tolist() == wanted
        assert cache.length == start
        assert cache.values_held() == 2 * min(start, 5)
