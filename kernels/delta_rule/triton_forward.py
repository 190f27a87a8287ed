"""The kernels of the delta rules that run forward; all but the last two run again backward.

Shapes: B batch, H heads, L = B H lines, T time, K key width, V value width, N chunks, C chunk
length. A row t of a chunk attends to s <= t of the same chunk through matrices [L, T, C].
"""

import triton
import triton.language as tl

from nas.kernels.delta_rule.triton_shared import (
    between,
    decay_start,
    delta_place,
    dot,
    dot_across,
    load_column,
    load_decay,
    load_tile,
    since_start,
    store_tile,
    until_end,
)


@triton.jit  # type: ignore[untyped-decorator]
def pair_rows(  # type: ignore[no-untyped-def]
    queries, keys, log_decay, scores, alike, heads, time, key_dim,
    chunk: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """q k^T and k k^T of one chunk, decayed by one decay for all channels.

    `scores` holds pairs s <= t, `alike` pairs s < t; both are 0 elsewhere.
    """
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = scores.dtype.element_ty
    rows = tl.arange(0, chunk)
    asked = tl.zeros([chunk, chunk], dtype=wide)
    found = tl.zeros([chunk, chunk], dtype=wide)
    stride = heads * key_dim
    for start in range(0, key_dim, block):
        columns = start + tl.arange(0, block)
        query = load_tile(queries + outer * key_dim, rows, stride, columns, left, key_dim)
        key = load_tile(keys + outer * key_dim, rows, stride, columns, left, key_dim)
        asked += dot(query, tl.trans(key), wide, precision)
        found += dot(key, tl.trans(key), wide, precision)
    decay = between(log_decay + outer, rows, heads, left)
    found = tl.where(rows[:, None] > rows[None, :], found * decay, 0.0)
    store_tile(scores + inner * chunk, rows, chunk, rows, left, chunk, asked * decay)
    store_tile(alike + inner * chunk, rows, chunk, rows, left, chunk, found)


@triton.jit  # type: ignore[untyped-decorator]
def pair_channels(  # type: ignore[no-untyped-def]
    queries, keys, log_decay, scores, alike, heads, time, key_dim,
    chunk: tl.constexpr, part: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """q k^T and k k^T with a decay per channel, for one part of the rows of a chunk.

    The decay between two rows has to be split into two factors to be a matrix product. For rows s
    before the part it is split where the part starts, so that both factors are at most 1. Inside
    the part it is split half way through its decay, which is as far as the range of exponents goes.
    """
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = scores.dtype.element_ty
    first = tl.program_id(1) * part
    end = tl.minimum(first, left)
    local = tl.arange(0, part)
    own, rows = first + local, tl.arange(0, chunk)
    asked = tl.zeros([part, chunk], dtype=wide)
    found = tl.zeros([part, chunk], dtype=wide)
    asked_own = tl.zeros([part, part], dtype=wide)
    found_own = tl.zeros([part, part], dtype=wide)
    stride = heads * key_dim
    queries += outer * key_dim
    keys += outer * key_dim
    log_decay += outer * key_dim
    for start in range(0, key_dim, block):
        columns = start + tl.arange(0, block)
        query = load_tile(queries, own, stride, columns, left, key_dim).to(wide)
        key = load_tile(keys, own, stride, columns, left, key_dim).to(wide)
        step = load_tile(log_decay, own, stride, columns, left, key_dim)
        since = tl.cumsum(step, axis=0)
        before = load_tile(keys, rows, stride, columns, end, key_dim).to(wide)
        before *= until_end(log_decay, rows, heads, columns, end, key_dim, True)
        before = tl.trans(before)
        asked += dot_across(query * tl.exp(since), before, wide, precision)
        found += dot_across(key * tl.exp(since), before, wide, precision)
        middle = halfway(step, local)
        until = tl.trans(key * tl.exp(middle - since))
        asked_own += dot_across(query * tl.exp(since - middle), until, wide, precision)
        found_own += dot_across(key * tl.exp(since - middle), until, wide, precision)
    later, earlier = local[:, None], local[None, :]
    asked_own = tl.where(later >= earlier, asked_own, 0.0)
    found_own = tl.where(later > earlier, found_own, 0.0)
    scores += inner * chunk
    alike += inner * chunk
    store_tile(scores, own, chunk, own, left, chunk, asked_own)
    store_tile(alike, own, chunk, own, left, chunk, found_own)
    target = own[:, None] * chunk + rows[None, :]
    elsewhere = (own < left)[:, None] & (rows // part != first // part)[None, :]
    tl.store(scores + target, asked, mask=elsewhere)
    tl.store(alike + target, found, mask=elsewhere)


@triton.jit
def halfway(step, local):  # type: ignore[no-untyped-def]
    """Half way between the first and the last sum of decays of a part, [1, columns].

    It cancels out of every product: it only keeps both factors in range.
    """
    first = tl.sum(tl.where((local == 0)[:, None], step, 0.0), axis=0)
    return ((first + tl.sum(step, axis=0)) / 2)[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def invert(  # type: ignore[no-untyped-def]
    alike, beta, inverse, heads, time,
    chunk: tl.constexpr, levels: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """(I + A)^-1 of one chunk, where A is `alike` with its rows times beta.

    The inverse of the blocks on the diagonal is known for blocks of one row. Two neighbours make a
    block of twice the size, whose lower left corner is - (lower inverse) A (upper inverse). One
    step of Newton's method, X (2 - (I + A) X), then leaves the error of forward substitution.
    """
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = inverse.dtype.element_ty
    rows = tl.arange(0, chunk)
    lower = load_tile(alike + inner * chunk, rows, chunk, rows, left, chunk)
    lower *= load_column(beta + outer, rows, heads, left)
    apart = rows[:, None] ^ rows[None, :]  # its highest bit: the size of blocks that these link
    result = tl.where(apart == 0, 1.0, tl.where(apart == 1, -lower, 0.0)).to(wide)
    for level in range(1, levels + 1):
        last = level == levels
        corner = tl.where(((apart >> level) == 1) | last, lower, 0.0)
        corner = dot(corner, result, wide, precision)
        corner += tl.where(last, result - tl.where(apart == 0, 1.0, 0.0), 0.0)
        result -= dot(result, corner, wide, precision)
    store_tile(inverse + inner * chunk, rows, chunk, rows, left, chunk, result)


@triton.jit  # type: ignore[untyped-decorator]
def prepare_keys(  # type: ignore[no-untyped-def]
    queries, keys, log_decay, beta, inverse, erase, write, ask, fade, heads, time, key_dim,
    chunk: tl.constexpr, block: tl.constexpr, channel: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """What the loop over chunks needs of the keys, for one chunk and some of their channels.

    `erase` = inverse (beta exp(G) k) reads the state before the chunk, `write` = exp(G_C - G) k
    writes to the one after it, and `fade` = exp(G_C) is what is left of the former in the latter.
    Where `ask` is given, it gets exp(G) q.
    """
    program, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = erase.dtype.element_ty
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    stride = heads * key_dim
    log_decay = decay_start(log_decay, outer, key_dim, channel)
    key = load_tile(keys + outer * key_dim, rows, stride, columns, left, key_dim).to(wide)
    step = load_decay(log_decay, rows, heads, columns, left, key_dim, channel)
    since = tl.exp(tl.cumsum(step, axis=0))
    solve = load_tile(inverse + inner * chunk, rows, chunk, rows, left, chunk)
    scaled = key * since * load_column(beta + outer, rows, heads, left)
    found = dot(solve, scaled, wide, precision)
    store_tile(erase + inner * key_dim, rows, key_dim, columns, left, key_dim, found)
    found = key * until_end(
        log_decay, rows, heads, columns, tl.minimum(left, chunk), key_dim, channel
    )
    store_tile(write + inner * key_dim, rows, key_dim, columns, left, key_dim, found)
    whole = tl.exp(tl.sum(step, axis=0)) + tl.zeros([block], dtype=wide)
    tl.store(fade + program * key_dim + columns, whole, mask=columns < key_dim)
    if ask is not None:
        query = load_tile(queries + outer * key_dim, rows, stride, columns, left, key_dim).to(wide)
        store_tile(ask + inner * key_dim, rows, key_dim, columns, left, key_dim, query * since)


@triton.jit  # type: ignore[untyped-decorator]
def prepare_values(  # type: ignore[no-untyped-def]
    values, beta, inverse, wanted, heads, time, value_dim,
    chunk: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """inverse (beta v), for one chunk and some columns of the values."""
    _, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = wanted.dtype.element_ty
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    stride = heads * value_dim
    value = load_tile(values + outer * value_dim, rows, stride, columns, left, value_dim).to(wide)
    value *= load_column(beta + outer, rows, heads, left)
    solve = load_tile(inverse + inner * chunk, rows, chunk, rows, left, chunk)
    found = dot(solve, value, wide, precision)
    store_tile(wanted + inner * value_dim, rows, value_dim, columns, left, value_dim, found)


@triton.jit  # type: ignore[untyped-decorator]
def carry_delta_states(  # type: ignore[no-untyped-def]
    initial, wanted, erase, write, fade, states, corrections, time, key_dim, value_dim,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """The loop over chunks, for one line and some columns of the values.

    Writes the corrections u = wanted - erase S, and the states [L, N + 1, K, V] before each chunk
    and after the last.
    """
    line = tl.program_id(0).to(tl.int64)  # so that offsets do not overflow 32 bits
    wide: tl.constexpr = states.dtype.element_ty
    rows, channels = tl.arange(0, chunk), tl.arange(0, block_k)
    columns = tl.program_id(1) * block_v + tl.arange(0, block_v)
    size = key_dim * value_dim
    chunks = tl.cdiv(time, chunk)
    state = tl.zeros([block_k, block_v], dtype=wide)
    if initial is not None:
        state += load_tile(initial + line * size, channels, value_dim, columns, key_dim, value_dim)
    states += line * (chunks + 1) * size
    fade += line * chunks * key_dim
    wanted += line * time * value_dim
    corrections += line * time * value_dim
    erase += line * time * key_dim
    write += line * time * key_dim
    left = time
    for _ in range(chunks):
        store_tile(states, channels, value_dim, columns, key_dim, value_dim, state)
        old = load_tile(erase, rows, key_dim, channels, left, key_dim)
        new = load_tile(wanted, rows, value_dim, columns, left, value_dim)
        new -= dot(old, state, wide, precision)
        store_tile(corrections, rows, value_dim, columns, left, value_dim, new)
        key = load_tile(write, rows, key_dim, channels, left, key_dim)
        state *= load_column(fade, channels, 1, key_dim)
        state += dot(tl.trans(key), new, wide, precision)
        states += size
        fade += key_dim
        wanted += chunk * value_dim
        corrections += chunk * value_dim
        erase += chunk * key_dim
        write += chunk * key_dim
        left -= chunk
    store_tile(states, channels, value_dim, columns, key_dim, value_dim, state)


@triton.jit  # type: ignore[untyped-decorator]
def read_states(  # type: ignore[no-untyped-def]
    queries, log_decay, scores, corrections, states, outputs, heads, time, key_dim, value_dim,
    chunk: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr, channel: tl.constexpr,
    precision: tl.constexpr,
):  # fmt: skip
    """o = scores u + exp(G) q S, for one chunk and some columns of the values."""
    program, outer, inner, left = delta_place(heads, time, chunk)
    wide: tl.constexpr = states.dtype.element_ty
    rows = tl.arange(0, chunk)
    columns = tl.program_id(1) * block_v + tl.arange(0, block_v)
    log_decay = decay_start(log_decay, outer, key_dim, channel)
    # one more state than chunks in each line
    states += (program + program // tl.cdiv(time, chunk)) * key_dim * value_dim
    score = load_tile(scores + inner * chunk, rows, chunk, rows, left, chunk)
    new = load_tile(corrections + inner * value_dim, rows, value_dim, columns, left, value_dim)
    found = dot(score, new, wide, precision)
    for start in range(0, key_dim, block_k):
        channels = start + tl.arange(0, block_k)
        query = load_tile(
            queries + outer * key_dim, rows, heads * key_dim, channels, left, key_dim
        ).to(wide)
        query *= since_start(log_decay, rows, heads, channels, left, key_dim, channel)
        state = load_tile(states, channels, value_dim, columns, key_dim, value_dim)
        found += dot(query, state, wide, precision)
    outputs += outer * value_dim
    store_tile(outputs, rows, heads * value_dim, columns, left, value_dim, found)
