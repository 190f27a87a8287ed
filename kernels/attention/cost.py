"""Matrix-product FLOPs of attention, per query head; a multiply and an add count separately.

Counted is what ``chunked.py`` does, exactly, where its softmax is computed in plain products (fused
functions of torch skip some of the pairs that are hidden, and are counted as if they did not).
This file needs no torch.
"""

from itertools import pairwise

ATTENTION_BLOCK = 128
ATTENTION_LEAST = 32


def forward_flops(
    time: int,
    key_dim: int,
    value_dim: int,
    *,
    keys: int | None = None,
    normaliser: str = "softmax",
    causal: bool = True,
    window: int | None = None,
    sinks: int = 0,
) -> int:
    """FLOPs of the last ``time`` queries over ``keys`` keys, by default as many: each pair that is
    computed takes 2 K for its score and 2 V for its value."""
    keys = time if keys is None else keys
    window = None if window is None or window >= keys else window
    whole = window is None and (not causal or time == keys)
    if normaliser == "softmax" and whole:
        return 2 * time * keys * (key_dim + value_dim)
    length = ATTENTION_BLOCK
    if window is not None:
        length = min(length, max(window, ATTENTION_LEAST))
    bounds = [0]
    if window is not None and sinks:
        bounds.append(min(sinks, keys))
    bounds.extend(range(bounds[-1] + length, keys, length))
    if bounds[-1] < keys:
        bounds.append(keys)
    pairs, stop = 0, max(keys - time, 0) + time
    for first in range(stop - time, stop, length):
        after = min(first + length, stop)
        limit = after if causal else keys
        begin = 0 if window is None else first - window + 1
        end = min(limit, keys if window is None else after - 1 + window)
        taken = sum(
            last - start
            for start, last in pairwise(bounds)
            if (start < end and last > begin) or start < min(sinks, limit)
        )
        pairs += (after - first) * taken
    return 2 * pairs * (key_dim + value_dim)


def forward_flops_per_token(
    context: int,
    key_dim: int,
    value_dim: int,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    window: int | None = None,
    sinks: int = 0,
) -> int:
    """FLOPs per token of a forward pass over ``context`` tokens, rounded up."""
    flops = forward_flops(
        context,
        key_dim,
        value_dim,
        normaliser=normaliser,
        causal=causal,
        window=window,
        sinks=sinks,
    )
    return -(-flops // context)


def step_flops(seen: int, key_dim: int, value_dim: int) -> int:
    """FLOPs of one decoding step over ``seen`` keys, all of which are seen."""
    return 2 * seen * (key_dim + value_dim)


def routed_flops(queries: int, keys: int, key_dim: int, value_dim: int) -> int:
    """FLOPs of a head that serves ``queries`` queries, with those that only fill up the list."""
    return 2 * queries * keys * (key_dim + value_dim)


def visible_flops(
    time: int,
    key_dim: int,
    value_dim: int,
    *,
    causal: bool = True,
    window: int | None = None,
    sinks: int = 0,
) -> int:
    """FLOPs of the pairs that are seen, which no implementation can do without; T = S."""
    pairs = 0
    for row in range(time):
        last = row if causal else min(row + (window or time) - 1, time - 1)
        first = 0 if window is None else max(row - window + 1, 0)
        early = min(sinks, row + 1 if causal else time) if window is not None else 0
        pairs += last + 1 - first + early - max(min(early, last + 1) - first, 0)
    return 2 * pairs * (key_dim + value_dim)
