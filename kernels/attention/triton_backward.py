"""The backward kernel of attention for queries, and what both backward kernels share.

Scores and weights are computed again from q, k and the level of each query that the forward pass
left (arXiv 2307.08691). With two kernels each gradient is summed up by one program, and always in
the same order.
"""

import triton
import triton.language as tl

from nas.kernels.attention.triton_visible import (
    block_at,
    key_blocks,
    load_attention_rows,
    query_rows,
    store_rows,
    visible,
    visible_count,
)


@triton.jit  # type: ignore[untyped-decorator]
def raw_weights(scores, level, normaliser: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sigmoid or softmax of the scores, the latter also where it is then clipped."""
    if normaliser == "sigmoid":
        weights = 1.0 / (1.0 + tl.exp2(level - scores))
    else:
        weights = tl.exp2(scores - level)
    return weights


@triton.jit
def through_clip(weights, gradient, gamma, zeta):  # type: ignore[no-untyped-def]
    """From the gradient of the clipped weights to that of the softmax."""
    stretched = (zeta - gamma) * weights + gamma
    passed = (stretched >= 0.0) & (stretched <= 1.0)
    return tl.where(passed, (zeta - gamma) * gradient, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def score_gradient(weights, gradient, delta, gamma, zeta, normaliser: tl.constexpr):  # type: ignore[no-untyped-def]
    """From the gradient of the weights to that of the scores."""
    if normaliser == "sigmoid":
        slope = weights * (1.0 - weights) * gradient
    elif normaliser == "softmax":
        slope = weights * (gradient - delta)
    else:
        slope = weights * (through_clip(weights, gradient, gamma, zeta) - delta)
    return slope


@triton.jit  # type: ignore[untyped-decorator]
def attend_backward_queries(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    queries,
    o,
    levels,
    d_o,
    dq,
    deltas,
    slopes,
    q_batch,
    q_head,
    q_row,
    k_batch,
    k_head,
    k_row,
    v_batch,
    v_head,
    v_row,
    o_batch,
    o_head,
    o_row,
    do_batch,
    do_head,
    do_row,
    dq_batch,
    dq_head,
    dq_row,
    heads,
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
    key_dim: tl.constexpr,
    value_dim: tl.constexpr,
    key_block: tl.constexpr,
    value_block: tl.constexpr,
    row_block: tl.constexpr,
    column_block: tl.constexpr,
    precision: tl.constexpr,
):
    """A program computes the gradient of a block of queries of one head. It also leaves, for the
    other kernel, the sum over keys of weight times gradient ("delta"), which for softmax is o times
    its gradient and for a clipped softmax takes a run over the keys; and where `slopes` are asked
    for, the sum of the gradients of a query's scores, which is that of the bias.
    """
    wide: tl.constexpr = levels.dtype.element_ty
    blocks = tl.cdiv(count, row_block)
    block = blocks - 1 - tl.program_id(0) % blocks
    pair = tl.program_id(0) // blocks
    batch, head = (pair // heads).to(tl.int64), (pair % heads).to(tl.int64)
    group = head // shared
    place, row, inside, position, low, high = query_rows(
        queries, pair, block, time, count, start, routed, row_block
    )
    row = row.to(tl.int64)
    k += batch * k_batch + group * k_head
    v += batch * v_batch + group * v_head
    query = load_attention_rows(
        q + batch * q_batch + head * q_head, row, inside, q_row, True, key_dim, key_block
    )
    d_out = load_attention_rows(
        d_o + batch * do_batch + head * do_head, row, inside, do_row, True, value_dim, value_block
    )
    rows = pair.to(tl.int64) * count + place
    level = tl.load(levels + rows, mask=place < count, other=0.0)
    number = visible_count(position, keys, window, sinks, causal, windowed).to(wide)
    gamma = -alpha / number
    delta = tl.zeros([row_block], wide)
    if normaliser == "softmax":
        out = load_attention_rows(
            o + batch * o_batch + head * o_head, row, inside, o_row, True, value_dim, value_block
        )
        delta = tl.sum(out.to(wide) * d_out.to(wide), axis=1)
    sunk, first, before, whole, behind = key_blocks(
        low, high, keys, window, sinks, causal, windowed, column_block
    )
    near = tl.arange(0, column_block)
    d_query = tl.zeros([row_block, key_block], wide)
    slope_sum = tl.zeros([row_block], wide)
    for turn in tl.static_range(2 if normaliser == "clipped" else 1):  # the first sums up delta
        for edge in tl.static_range(2):
            steps = whole if edge == 0 else sunk + before + behind
            for index in range(steps):
                column = block_at(index, edge == 1, sunk, first, before, whole) * column_block
                there = column + near < keys
                moved = column.to(tl.int64)
                key = load_attention_rows(
                    k + moved * k_row, near, there, k_row, edge == 1, key_dim, key_block
                )
                value = load_attention_rows(
                    v + moved * v_row, near, there, v_row, edge == 1, value_dim, value_block
                )
                scores = tl.dot(query, tl.trans(key), input_precision=precision, out_dtype=wide)
                scores *= scale
                if edge == 1:
                    seen = visible(
                        position[:, None],
                        (column + near)[None, :],
                        keys,
                        window,
                        sinks,
                        causal,
                        windowed,
                    )
                    scores = tl.where(seen, scores, float("-inf"))
                weights = raw_weights(scores, level[:, None], normaliser)
                gradient = tl.dot(d_out, tl.trans(value), input_precision=precision, out_dtype=wide)
                if normaliser == "clipped" and turn == 0:
                    passed = through_clip(weights, gradient, gamma[:, None], zeta)
                    delta += tl.sum(weights * passed, axis=1)
                else:
                    slope = score_gradient(
                        weights, gradient, delta[:, None], gamma[:, None], zeta, normaliser
                    )
                    if slopes is not None:
                        slope_sum += tl.sum(slope, axis=1)
                    d_query = tl.dot(
                        slope.to(key.dtype),
                        key,
                        d_query,
                        input_precision=precision,
                        out_dtype=wide,
                    )
    d_query *= scale / 1.4426950408889634  # `scale` is for logarithms to base 2
    dq += batch * dq_batch + head * dq_head
    store_rows(dq, row, inside, dq_row, d_query, key_dim, key_block)
    tl.store(deltas + rows, delta, mask=place < count)
    if slopes is not None:
        tl.store(slopes + rows, slope_sum, mask=place < count)
