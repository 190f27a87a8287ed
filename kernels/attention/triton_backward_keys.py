"""The backward kernel of attention for keys and values; see ``triton_backward``."""

import triton
import triton.language as tl

from nas.kernels.attention.triton_backward import raw_weights, score_gradient
from nas.kernels.attention.triton_visible import (
    block_at,
    load_attention_rows,
    query_blocks,
    query_rows,
    store_rows,
    visible,
    visible_count,
)


@triton.jit  # type: ignore[untyped-decorator]
def add_queries(  # type: ignore[no-untyped-def]
    q,
    d_o,
    levels,
    deltas,
    place,
    row,
    inside,
    position,
    key,
    value,
    column,
    d_key,
    d_value,
    q_row,
    do_row,
    count,
    keys,
    window,
    sinks,
    alpha,
    zeta,
    masked: tl.constexpr,
    scale: tl.constexpr,
    normaliser: tl.constexpr,
    causal: tl.constexpr,
    windowed: tl.constexpr,
    side: tl.constexpr,
    key_dim: tl.constexpr,
    value_dim: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    precision: tl.constexpr,
):
    """What a block of queries adds to the gradients of a block of keys and values. Everything is
    the other way round, [keys, queries], so that no product needs it transposed. Rows that are no
    queries are zeros in q and in the gradient of o, and so add nothing."""
    wide: tl.constexpr = levels.dtype.element_ty
    wide_row = row.to(tl.int64)
    query = load_attention_rows(q, wide_row, inside, q_row, masked, key_dim, key_block)
    d_out = load_attention_rows(d_o, wide_row, inside, do_row, masked, value_dim, value_block)
    level = tl.load(levels + place, mask=place < count, other=0.0)
    delta = tl.load(deltas + place, mask=place < count, other=0.0)
    scores = tl.dot(key, tl.trans(query), input_precision=precision, out_dtype=wide) * scale
    if masked:
        seen = visible(
            position[None, :], column[:, None], keys, window, sinks, causal, windowed, side
        )
        scores = tl.where(seen, scores, float("-inf"))
    weights = raw_weights(scores, level[None, :], normaliser)
    gamma = 0.0 * level
    given = weights
    if normaliser == "clipped":
        gamma = -alpha / visible_count(position, keys, window, sinks, causal, windowed).to(wide)
        given = (zeta - gamma[None, :]) * weights + gamma[None, :]
        given = tl.minimum(tl.maximum(given, 0.0), 1.0)
    d_value = tl.dot(
        given.to(d_out.dtype), d_out, d_value, input_precision=precision, out_dtype=wide
    )
    gradient = tl.dot(value, tl.trans(d_out), input_precision=precision, out_dtype=wide)
    slope = score_gradient(weights, gradient, delta[None, :], gamma[None, :], zeta, normaliser)
    d_key = tl.dot(slope.to(query.dtype), query, d_key, input_precision=precision, out_dtype=wide)
    return d_key, d_value


@triton.jit  # type: ignore[untyped-decorator]
def attend_backward_keys(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    queries,
    levels,
    d_o,
    deltas,
    dk,
    dv,
    q_batch,
    q_head,
    q_row,
    k_batch,
    k_head,
    k_row,
    v_batch,
    v_head,
    v_row,
    do_batch,
    do_head,
    do_row,
    dk_part,
    dk_batch,
    dk_head,
    dk_row,
    dv_part,
    dv_batch,
    dv_head,
    dv_row,
    pairs,
    parts,
    columns,
    groups,
    shared,
    time,
    count,
    keys,
    start,
    window,
    sinks,
    alpha,
    zeta,
    scale: tl.constexpr,
    normaliser: tl.constexpr,
    causal: tl.constexpr,
    windowed: tl.constexpr,
    routed: tl.constexpr,
    side: tl.constexpr,
    key_dim: tl.constexpr,
    value_dim: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    row_block: tl.constexpr,
    column_block: tl.constexpr,
    precision: tl.constexpr,
):
    """A program computes the gradients of a block of keys and values of one group, summed over the
    query heads of the group one after the other, and over the queries that see the keys in their
    window ("near"). Sinks are seen by all later queries too ("far"): these are cut into `parts`,
    each for a program of its own, which leaves a sum for torch to add up.

    Chosen queries stand anywhere, so all of their blocks are looked at, and those that see none of
    the keys are passed over.
    """
    wide: tl.constexpr = levels.dtype.element_ty
    blocks = tl.cdiv(columns, column_block)
    block = tl.program_id(0) % blocks
    pair = tl.program_id(0) // blocks % pairs
    part = tl.program_id(0) // blocks // pairs
    batch, group = (pair // groups).to(tl.int64), (pair % groups).to(tl.int64)
    column = block * column_block + tl.arange(0, column_block)
    there = column < columns
    wide_column = column.to(tl.int64)
    k += batch * k_batch + group * k_head
    v += batch * v_batch + group * v_head
    key = load_attention_rows(k, wide_column, there, k_row, True, key_dim, key_block)
    value = load_attention_rows(v, wide_column, there, v_row, True, value_dim, value_block)
    d_key = tl.zeros([column_block, key_block], wide)
    d_value = tl.zeros([column_block, value_block], wide)
    listed = tl.cdiv(count, row_block)
    each = tl.cdiv(listed, parts)
    none = 0 * part
    first, before, whole, behind = part * each, none, none, none
    if side == "near" and not routed:
        first, before, whole, behind = query_blocks(
            block * column_block, count, start, window, causal, windowed, row_block, column_block
        )
    else:
        behind = tl.maximum(tl.minimum(each, listed - first), 0)
    for member in range(shared):
        head = group * shared + member
        lines = (batch * groups * shared + head) * count  # of levels and deltas
        q_base = q + batch * q_batch + head * q_head
        do_base = d_o + batch * do_batch + head * do_head
        for edge in tl.static_range(1 if routed or side == "far" else 0, 2):
            steps = whole if edge == 0 else before + behind
            for index in range(steps):
                at = block_at(index, edge == 1, 0, first, before, whole)
                place, row, inside, position, low, high = query_rows(
                    queries + lines if routed else queries,
                    0 * block,
                    at,
                    time,
                    count,
                    start,
                    routed,
                    row_block,
                )
                if routed or side == "far":
                    met = high >= 0
                    if causal:
                        met = met & (high >= block * column_block)
                    if windowed and side == "near":
                        met = met & (low < (block + 1) * column_block - 1 + window)
                else:
                    met = True
                if met:
                    d_key, d_value = add_queries(
                        q_base,
                        do_base,
                        levels + lines,
                        deltas + lines,
                        place,
                        row,
                        inside,
                        position,
                        key,
                        value,
                        column,
                        d_key,
                        d_value,
                        q_row,
                        do_row,
                        count,
                        keys,
                        window,
                        sinks,
                        alpha,
                        zeta,
                        edge == 1,
                        scale,
                        normaliser,
                        causal,
                        windowed,
                        side,
                        key_dim,
                        value_dim,
                        key_block,
                        value_block,
                        precision,
                    )
    d_key *= scale / 1.4426950408889634
    dk += part * dk_part + batch * dk_batch + group * dk_head
    dv += part * dv_part + batch * dv_batch + group * dv_head
    store_rows(dk, wide_column, there, dk_row, d_key, key_dim, key_block)
    store_rows(dv, wide_column, there, dv_row, d_value, value_dim, value_block)
