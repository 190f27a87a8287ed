"""The kernels of the delta rules that run only backward.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length. With u the corrections, S the state before a chunk, and x the solution of
(I + A)^T x = du, the gradients of a chunk are products of these with each other.
"""

import triton
import triton.language as tl

from nas.kernels.delta_rule.triton_forward import halfway
from nas.kernels.delta_rule.triton_shared import (
    between,
    delta_place,
    dot,
    dot_across,
    load_column,
    load_tile,
    since_start,
    store_tile,
    until_end,
)


@triton.jit  # type: ignore[untyped-decorator]
def correct(  # type: ignore[no-untyped-def]
    values, douts, beta, inverse, scores, erase, states, corrections, dcorrections,
    heads, time, key_dim, value_dim,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """u = inverse (beta v) - erase S again, and the part scores^T do of its gradient."""
    program, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = states.dtype.element_ty
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block_v + tl.arange(0, block_v)
    stride = heads * value_dim
    value = load_tile(values + outer * value_dim, rows, stride, columns, left, value_dim).to(wide)
    value *= load_column(beta + outer, rows, heads, left)
    solve = load_tile(inverse + inner * chunk, rows, chunk, rows, left, chunk)
    found = dot(solve, value, wide, precision)
    states += (program + program // tl.cdiv(time, chunk)) * key_dim * value_dim
    for start in range(0, key_dim, block_k):
        channels = start + tl.arange(0, block_k)
        old = load_tile(erase + inner * key_dim, rows, key_dim, channels, left, key_dim)
        state = load_tile(states, channels, value_dim, columns, key_dim, value_dim)
        found -= dot(old, state, wide, precision)
    corrections += inner * value_dim
    store_tile(corrections, rows, value_dim, columns, left, value_dim, found)
    score = load_tile(scores + inner * chunk, rows, chunk, rows, left, chunk)
    dout = load_tile(douts + outer * value_dim, rows, stride, columns, left, value_dim)
    found = dot(tl.trans(score), dout, wide, precision)
    dcorrections += inner * value_dim
    store_tile(dcorrections, rows, value_dim, columns, left, value_dim, found)


@triton.jit  # type: ignore[untyped-decorator]
def carry_gradients(  # type: ignore[no-untyped-def]
    dlast, douts, erase, write, ask, fade, local, dstates, dcorrections, dinitial,
    heads, time, key_dim, value_dim,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """The loop over chunks from the last to the first, for one line and some columns of the values.

    Writes the gradients [L, N, K, V] of the state after each chunk, those of the corrections,
    `local` + write dS, and that of the initial state.
    """
    line = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    wide: tl.constexpr = dstates.dtype.element_ty
    rows, channels = tl.arange(0, chunk), tl.arange(0, block_k)
    columns = tl.program_id(1) * block_v + tl.arange(0, block_v)
    size = key_dim * value_dim
    chunks = tl.cdiv(time, chunk)
    dlast += line * size
    dstate = load_tile(dlast, channels, value_dim, columns, key_dim, value_dim).to(wide)
    for step in range(chunks):
        n = line * chunks + chunks - 1 - step
        start = (chunks - 1 - step) * chunk
        left = time - start
        inner = line * time + start
        outer = (line // heads * time + start) * heads + line % heads
        target = dstates + n * size
        store_tile(target, channels, value_dim, columns, key_dim, value_dim, dstate)
        key = load_tile(write + inner * key_dim, rows, key_dim, channels, left, key_dim)
        dnew = load_tile(local + inner * value_dim, rows, value_dim, columns, left, value_dim)
        dnew += dot(key, dstate, wide, precision)
        target = dcorrections + inner * value_dim
        store_tile(target, rows, value_dim, columns, left, value_dim, dnew)
        dstate *= load_column(fade + n * key_dim, channels, 1, key_dim)
        query = load_tile(ask + inner * key_dim, rows, key_dim, channels, left, key_dim)
        source = douts + outer * value_dim
        dout = load_tile(source, rows, heads * value_dim, columns, left, value_dim)
        dstate += dot(tl.trans(query), dout, wide, precision)
        old = load_tile(erase + inner * key_dim, rows, key_dim, channels, left, key_dim)
        dstate -= dot(tl.trans(old), dnew, wide, precision)
    dinitial += line * size
    store_tile(dinitial, channels, value_dim, columns, key_dim, value_dim, dstate)


@triton.jit  # type: ignore[untyped-decorator]
def grade_values(  # type: ignore[no-untyped-def]
    values, beta, inverse, dcorrections, solved, dvalues, dbeta, heads, time, value_dim, tokens,
    chunk: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """x = inverse^T du, dv = beta x, and x . v as a part of dbeta, for some columns of a chunk."""
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = solved.dtype.element_ty
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    stride = heads * value_dim
    solve = load_tile(inverse + inner * chunk, rows, chunk, rows, left, chunk)
    dcorrections += inner * value_dim
    dnew = load_tile(dcorrections, rows, value_dim, columns, left, value_dim)
    found = dot(tl.trans(solve), dnew, wide, precision)
    store_tile(solved + inner * value_dim, rows, value_dim, columns, left, value_dim, found)
    value = load_tile(values + outer * value_dim, rows, stride, columns, left, value_dim).to(wide)
    dbeta += tl.program_id(1) * tokens + outer
    tl.store(dbeta + rows * heads, tl.sum(found * value, axis=1), mask=rows < left)
    found *= load_column(beta + outer, rows, heads, left)
    store_tile(dvalues + outer * value_dim, rows, stride, columns, left, value_dim, found)


@triton.jit  # type: ignore[untyped-decorator]
def grade_pairs(  # type: ignore[no-untyped-def]
    douts, solved, corrections, beta, log_decay, scores, alike, dscores, dalike, dbeta, ddecays,
    heads, time, value_dim,
    chunk: tl.constexpr, block: tl.constexpr, channel: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Gradients of `scores` and `alike` in one chunk, and with them a part of dbeta.

    With one decay for all channels these are the gradients of q k^T and k k^T before the decay, and
    each decay gets the gradients of all pairs that it stands between. All of a sign or not, these
    are added up as they are: sums over what rows read less what they write would have to cancel.
    """
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = dscores.dtype.element_ty
    rows = tl.arange(0, chunk)
    dscore = tl.zeros([chunk, chunk], dtype=wide)
    dsame = tl.zeros([chunk, chunk], dtype=wide)
    for start in range(0, value_dim, block):
        columns = start + tl.arange(0, block)
        source = douts + outer * value_dim
        dout = load_tile(source, rows, heads * value_dim, columns, left, value_dim)
        new = load_tile(corrections + inner * value_dim, rows, value_dim, columns, left, value_dim)
        new = tl.trans(new)
        dscore += dot(dout, new, wide, precision)
        solution = load_tile(solved + inner * value_dim, rows, value_dim, columns, left, value_dim)
        dsame -= dot(solution, new, wide, precision)
    later, earlier = rows[:, None], rows[None, :]
    dscore = tl.where(later >= earlier, dscore, 0.0)
    dsame = tl.where(later > earlier, dsame, 0.0)
    same = load_tile(alike + inner * chunk, rows, chunk, rows, left, chunk)
    tl.store(dbeta + outer + rows * heads, tl.sum(dsame * same, axis=1), mask=rows < left)
    dsame *= load_column(beta + outer, rows, heads, left)
    if not channel:
        score = load_tile(scores + inner * chunk, rows, chunk, rows, left, chunk)
        moved = tl.where(later > earlier, dscore * score, 0.0) + dsame * same
        moved = tl.where(later >= earlier, tl.cumsum(moved, axis=1) - moved, 0.0)
        tl.store(ddecays + outer + rows * heads, tl.sum(moved, axis=0), mask=rows < left)
        decay = between(log_decay + outer, rows, heads, left)
        dscore *= decay
        dsame *= decay
    store_tile(dscores + inner * chunk, rows, chunk, rows, left, chunk, dscore)
    store_tile(dalike + inner * chunk, rows, chunk, rows, left, chunk, dsame)


@triton.jit  # type: ignore[untyped-decorator]
def through_states(  # type: ignore[no-untyped-def]
    douts, solved, corrections, states, dstates, rows, channels, heads, left, key_dim, value_dim,
    height: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """do S^T, x S^T and u dS^T for some rows and channels: what they owe to the states around."""
    product: tl.constexpr = dot if height >= 64 else dot_across
    wide: tl.constexpr = states.dtype.element_ty
    asked = tl.zeros([height, block_k], dtype=wide)
    erased = tl.zeros([height, block_k], dtype=wide)
    written = tl.zeros([height, block_k], dtype=wide)
    for start in range(0, value_dim, block_v):
        columns = start + tl.arange(0, block_v)
        state = load_tile(states, channels, value_dim, columns, key_dim, value_dim)
        state = tl.trans(state)
        dout = load_tile(douts, rows, heads * value_dim, columns, left, value_dim)
        asked += product(dout, state, wide, precision)
        solution = load_tile(solved, rows, value_dim, columns, left, value_dim)
        erased += product(solution, state, wide, precision)
        new = load_tile(corrections, rows, value_dim, columns, left, value_dim)
        dstate = load_tile(dstates, channels, value_dim, columns, key_dim, value_dim)
        written += product(new, tl.trans(dstate), wide, precision)
    return asked, erased, written


@triton.jit  # type: ignore[untyped-decorator]
def through_fade(  # type: ignore[no-untyped-def]
    states, dstates, channels, key_dim, value_dim, block_k: tl.constexpr, block_v: tl.constexpr
):  # fmt: skip
    """S . dS, summed over the values, [channels]."""
    found = tl.zeros([block_k], dtype=states.dtype.element_ty)
    for start in range(0, value_dim, block_v):
        columns = start + tl.arange(0, block_v)
        state = load_tile(states, channels, value_dim, columns, key_dim, value_dim)
        dstate = load_tile(dstates, channels, value_dim, columns, key_dim, value_dim)
        found += tl.sum(state * dstate, axis=1)
    return found


@triton.jit  # type: ignore[untyped-decorator]
def grade_rows(  # type: ignore[no-untyped-def]
    queries, keys, log_decay, beta, douts, solved, corrections, states, dstates, dscores, dalike,
    dqueries, dkeys, ddecays, dbeta, heads, time, key_dim, value_dim, tokens,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """dq, dk and parts of dg and dbeta, for some channels of one chunk, with one decay for all.

    A decay stands between the state before the chunk and what later rows read of it, between what
    earlier rows write and the state after the chunk, and between these two states.
    """
    program, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = states.dtype.element_ty
    rows = tl.arange(0, chunk)
    channels = tl.program_id(1) * block_k + tl.arange(0, block_k)
    stride = heads * key_dim
    size = key_dim * value_dim
    log_decay += outer
    states += (program + program // tl.cdiv(time, chunk)) * size
    dstates += program * size
    asked, erased, written = through_states(
        douts + outer * value_dim, solved + inner * value_dim, corrections + inner * value_dim,
        states, dstates, rows, channels, heads, left, key_dim, value_dim,
        chunk, block_k, block_v, precision,
    )  # fmt: skip
    query = load_tile(queries + outer * key_dim, rows, stride, channels, left, key_dim).to(wide)
    key = load_tile(keys + outer * key_dim, rows, stride, channels, left, key_dim).to(wide)
    since = since_start(log_decay, rows, heads, channels, left, key_dim, False)
    asked *= since
    erased *= -since
    written *= until_end(log_decay, rows, heads, channels, tl.minimum(left, chunk), key_dim, False)
    dbeta += tl.program_id(1) * tokens + outer
    tl.store(dbeta + rows * heads, tl.sum(erased * key, axis=1), mask=rows < left)
    erased *= load_column(beta + outer, rows, heads, left)
    read = tl.sum(asked * query + erased * key, axis=1)
    write = tl.sum(written * key, axis=1)
    kept = tl.exp(tl.sum(load_column(log_decay, rows, heads, left)))
    kept *= tl.sum(through_fade(states, dstates, channels, key_dim, value_dim, block_k, block_v))
    # of the rows before each alone: to take its own off their sum would lose digits
    write = tl.sum(tl.where(rows[:, None] > rows[None, :], write[None, :], 0.0), axis=1)
    dstep = tl.cumsum(read, axis=0, reverse=True) + write + kept
    ddecays += tl.program_id(1) * tokens + outer
    tl.store(ddecays + rows * heads, dstep, mask=rows < left)
    dscore = load_tile(dscores + inner * chunk, rows, chunk, rows, left, chunk)
    dsame = load_tile(dalike + inner * chunk, rows, chunk, rows, left, chunk)
    asked += dot(dscore, key, wide, precision)
    store_tile(dqueries + outer * key_dim, rows, stride, channels, left, key_dim, asked)
    written += erased + dot(dsame, key, wide, precision)
    written += dot(tl.trans(dscore), query, wide, precision)
    written += dot(tl.trans(dsame), key, wide, precision)
    store_tile(dkeys + outer * key_dim, rows, stride, channels, left, key_dim, written)


@triton.jit  # type: ignore[untyped-decorator]
def grade_channels(  # type: ignore[no-untyped-def]
    queries, keys, log_decay, beta, douts, solved, corrections, states, dstates, dscores, dalike,
    dqueries, dkeys, dsums, dbeta, heads, time, key_dim, value_dim, tokens, blocks,
    chunk: tl.constexpr, part: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr,
    precision: tl.constexpr,
):  # fmt: skip
    """dq, dk, the gradients of the sums of g and a part of dbeta, with a decay per channel.

    The sum G_t multiplies what row t reads (q, and k where it erases) and divides what it writes,
    so its gradient is q dq + k dk over the former less k dk over the latter.
    For some channels of one part of the rows of a chunk. Decays between two rows are split as in
    `pair_channels`, and those to rows after the part where the part ends.
    """
    program, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = states.dtype.element_ty
    first = tl.program_id(1) // blocks * part
    local = tl.arange(0, part)
    own, rows = first + local, tl.arange(0, chunk)
    channels = tl.program_id(1) % blocks * block_k + tl.arange(0, block_k)
    stride = heads * key_dim
    states += (program + program // tl.cdiv(time, chunk)) * key_dim * value_dim
    dstates += program * key_dim * value_dim
    asked, erased, written = through_states(
        douts + outer * value_dim, solved + inner * value_dim, corrections + inner * value_dim,
        states, dstates, own, channels, heads, left, key_dim, value_dim,
        part, block_k, block_v, precision,
    )  # fmt: skip
    queries += outer * key_dim
    keys += outer * key_dim
    log_decay += outer * key_dim
    dscores += inner * chunk
    dalike += inner * chunk
    query = load_tile(queries, own, stride, channels, left, key_dim).to(wide)
    key = load_tile(keys, own, stride, channels, left, key_dim).to(wide)
    step = load_tile(log_decay, own, stride, channels, left, key_dim)
    since = tl.cumsum(step, axis=0)
    end = tl.minimum(first + part, left)
    until = until_end(log_decay, own, heads, channels, end, key_dim, True)

    # Rows before the part, and the state before the chunk, as these rows read them.
    start = tl.minimum(first, left)
    passed = tl.sum(load_tile(log_decay, rows, stride, channels, start, key_dim), axis=0)
    passed = tl.exp(passed)[None, :]
    scale = load_column(beta + outer, own, heads, left)
    before = load_tile(keys, rows, stride, channels, start, key_dim).to(wide)
    before *= until_end(log_decay, rows, heads, channels, start, key_dim, True)
    dscore = load_tile(dscores, own, chunk, rows, left, chunk)
    dsame = load_tile(dalike, own, chunk, rows, left, chunk)
    asked *= passed
    erased *= -passed
    dscale = tl.sum(erased * tl.exp(since) * key, axis=1)
    dquery = asked + dot_across(dscore, before, wide, precision)
    dread = erased * scale + dot_across(dsame, before, wide, precision)
    dquery *= tl.exp(since)
    dread *= tl.exp(since)

    # Rows after the part, and the state after the chunk, as these rows write to them.
    after = (rows >= first + part)[:, None]
    following = load_tile(log_decay, rows, stride, channels, left, key_dim)
    following = tl.where(after, following, 0.0)
    written *= tl.exp(tl.sum(following, axis=0))[None, :]
    following = tl.where(after, tl.exp(tl.cumsum(following, axis=0)), 0.0)
    reader = load_tile(queries, rows, stride, channels, left, key_dim).to(wide) * following
    dwrite = written
    dscore = tl.trans(load_tile(dscores, rows, chunk, own, left, chunk))
    dwrite += dot_across(dscore, reader, wide, precision)
    reader = load_tile(keys, rows, stride, channels, left, key_dim).to(wide) * following
    dsame = tl.trans(load_tile(dalike, rows, chunk, own, left, chunk))
    dwrite += dot_across(dsame, reader, wide, precision)
    dwrite *= until

    # The rows of the part among themselves.
    dscore = load_tile(dscores, own, chunk, own, left, chunk)
    dsame = load_tile(dalike, own, chunk, own, left, chunk)
    middle = halfway(step, local)
    rise, fall = tl.exp(since - middle), tl.exp(middle - since)
    dquery += rise * dot_across(dscore, key * fall, wide, precision)
    dread += rise * dot_across(dsame, key * fall, wide, precision)
    dwrite += fall * dot_across(tl.trans(dscore), query * rise, wide, precision)
    dwrite += fall * dot_across(tl.trans(dsame), key * rise, wide, precision)

    target = outer * key_dim
    store_tile(dqueries + target, own, stride, channels, left, key_dim, dquery)
    store_tile(dkeys + target, own, stride, channels, left, key_dim, dread + dwrite)
    dsum = query * dquery + key * (dread - dwrite)
    store_tile(dsums + inner * key_dim, own, key_dim, channels, left, key_dim, dsum)
    dbeta += tl.program_id(1) % blocks * tokens + outer
    tl.store(dbeta + own * heads, dscale, mask=own < left)


@triton.jit  # type: ignore[untyped-decorator]
def grade_decays(  # type: ignore[no-untyped-def]
    dsums, states, dstates, ddecays, heads, time, key_dim, value_dim,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr,
):  # fmt: skip
    """dg per channel: each decay of a chunk gets the gradients of all sums that it is part of.

    Every one of them is part of the sum that the state after the chunk comes with.
    """
    program, outer, inner, left = delta_place(heads, time, chunk)
    rows = tl.arange(0, chunk)
    channels = tl.program_id(1) * block_k + tl.arange(0, block_k)
    size = key_dim * value_dim
    states += (program + program // tl.cdiv(time, chunk) + 1) * size
    dstates += program * size
    whole = through_fade(states, dstates, channels, key_dim, value_dim, block_k, block_v)
    dsum = load_tile(dsums + inner * key_dim, rows, key_dim, channels, left, key_dim)
    dstep = tl.cumsum(dsum, axis=0, reverse=True) + whole[None, :]
    ddecays += outer * key_dim
    store_tile(ddecays, rows, heads * key_dim, channels, left, key_dim, dstep)
