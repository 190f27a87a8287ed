"""The forward kernel of attention."""

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
def attend_forward(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    bias,
    queries,
    o,
    levels,
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
    """A program computes the outputs of a block of queries of one head, and for each query the
    level that its scores are held against: of softmax the logarithm of the sum of exponentials, of
    sigmoid minus the bias. Logarithms and scores are to base 2.

    Softmax is summed up while it runs over the keys (arXiv 2205.14135). A clipped softmax has to
    know the sum before it can weigh a value, so it runs over the keys twice.
    """
    wide: tl.constexpr = levels.dtype.element_ty
    blocks = tl.cdiv(count, row_block)
    block = blocks - 1 - tl.program_id(0) % blocks  # the last see most keys if causal: they start
    pair = tl.program_id(0) // blocks
    batch, head = (pair // heads).to(tl.int64), (pair % heads).to(tl.int64)
    group = head // shared
    place, row, inside, position, low, high = query_rows(
        queries, pair, block, time, count, start, routed, row_block
    )
    row = row.to(tl.int64)
    q += batch * q_batch + head * q_head
    k += batch * k_batch + group * k_head
    v += batch * v_batch + group * v_head
    query = load_attention_rows(q, row, inside, q_row, True, key_dim, key_block)
    number = visible_count(position, keys, window, sinks, causal, windowed).to(wide)
    sunk, first, before, whole, behind = key_blocks(
        low, high, keys, window, sinks, causal, windowed, column_block
    )
    near = tl.arange(0, column_block)

    best = tl.full([row_block], float("-inf"), wide)
    total = tl.zeros([row_block], wide)
    out = tl.zeros([row_block, value_block], wide)
    if normaliser != "sigmoid":
        for edge in tl.static_range(2):
            steps = whole if edge == 0 else sunk + before + behind
            for index in range(steps):
                column = block_at(index, edge == 1, sunk, first, before, whole) * column_block
                there = column + near < keys
                moved = column.to(tl.int64)
                key = load_attention_rows(
                    k + moved * k_row, near, there, k_row, edge == 1, key_dim, key_block
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
                higher = tl.maximum(best, tl.max(scores, axis=1))
                safe = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen so far
                weights = tl.exp2(scores - safe[:, None])
                fade = tl.exp2(best - safe)
                total = total * fade + tl.sum(weights, axis=1)
                best = higher
                if normaliser == "softmax":
                    value = load_attention_rows(
                        v + moved * v_row, near, there, v_row, edge == 1, value_dim, value_block
                    )
                    out *= fade[:, None]
                    out = tl.dot(
                        weights.to(value.dtype),
                        value,
                        out,
                        input_precision=precision,
                        out_dtype=wide,
                    )
        empty = total == 0.0  # a row that is no query
        total = tl.where(empty, 1.0, total)
        level = tl.where(empty, 0.0, best) + tl.log2(total)
        if normaliser == "softmax":
            out = out / total[:, None]
    elif bias is None:
        level = tl.log2(number)
    else:
        level = tl.zeros([row_block], wide) - tl.load(bias) * 1.4426950408889634

    if normaliser != "softmax":
        gamma = -alpha / number
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
                if normaliser == "sigmoid":
                    weights = 1.0 / (1.0 + tl.exp2(level[:, None] - scores))
                else:
                    weights = tl.exp2(scores - level[:, None])
                    weights = (zeta - gamma[:, None]) * weights + gamma[:, None]
                    weights = tl.minimum(tl.maximum(weights, 0.0), 1.0)
                out = tl.dot(
                    weights.to(value.dtype), value, out, input_precision=precision, out_dtype=wide
                )
    o += batch * o_batch + head * o_head
    store_rows(o, row, inside, o_row, out, value_dim, value_block)
    tl.store(levels + pair.to(tl.int64) * count + place, level, mask=place < count)
