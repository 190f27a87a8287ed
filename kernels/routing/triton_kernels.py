"""The kernels of routing.

Shapes: N tokens, K copies of each, E experts, D width, M = N x K rows; B blocks of copies.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _count(chosen, turns, counts, copies, experts, copy_block: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program takes one block of copies: how many before it in the block chose the same expert,
    for each copy, and from the last copy of each expert how many there are, counts [B, E]."""
    block = tl.program_id(0)
    slot = tl.arange(0, copy_block)
    copy = block.to(tl.int64) * copy_block + slot
    inside = copy < copies
    expert = tl.load(chosen + copy, mask=inside, other=-1).to(tl.int32)
    same = expert[:, None] == expert[None, :]
    turn = tl.sum((same & (slot[None, :] < slot[:, None])).to(tl.int32), axis=1)
    last = tl.sum((same & (slot[None, :] > slot[:, None])).to(tl.int32), axis=1) == 0
    counted = inside & last & (expert >= 0) & (expert < experts)
    tl.store(turns + copy, turn, mask=inside)
    tl.store(counts + block.to(tl.int64) * experts + expert, turn + 1, mask=counted)


@triton.jit  # type: ignore[untyped-decorator]
def _add_up(  # type: ignore[no-untyped-def]
    counts, before, sizes, blocks, experts, capacity,
    many_blocks: tl.constexpr, expert_block: tl.constexpr,
):  # fmt: skip
    """A program adds up the counts of some experts along the blocks: before [B, E] is how many
    copies chose an expert in earlier blocks, sizes [E] how many it takes in all."""
    expert = tl.program_id(0) * expert_block + tl.arange(0, expert_block)
    expert_inside = expert < experts
    total = tl.zeros([expert_block], tl.int32)
    for begin in range(0, blocks, many_blocks):
        block = begin + tl.arange(0, many_blocks)
        inside = (block < blocks)[:, None] & expert_inside[None, :]
        place = block.to(tl.int64)[:, None] * experts + expert[None, :]
        count = tl.load(counts + place, mask=inside, other=0)
        earlier = total[None, :] + tl.cumsum(count, axis=0) - count
        tl.store(before + place, earlier, mask=inside)
        total += tl.sum(count, axis=0)
    tl.store(sizes + expert, tl.minimum(total, capacity).to(tl.int64), mask=expert_inside)


@triton.jit  # type: ignore[untyped-decorator]
def _place(  # type: ignore[no-untyped-def]
    chosen, turns, before, sizes, order, places, copies, experts, capacity,
    copy_block: tl.constexpr, expert_block: tl.constexpr,
):  # fmt: skip
    """A program gives the copies of one block their places: after all copies that lower experts
    take, and those of the same expert with lower numbers. No two copies have one place."""
    block = tl.program_id(0).to(tl.int64)
    copy = block * copy_block + tl.arange(0, copy_block)
    inside = copy < copies
    expert = tl.load(chosen + copy, mask=inside, other=-1).to(tl.int32)
    real = inside & (expert >= 0) & (expert < experts)
    turn = tl.load(turns + copy, mask=inside, other=0)
    turn += tl.load(before + block * experts + expert, mask=real, other=0)
    kept = real & (turn < capacity)
    start = tl.zeros([copy_block], tl.int64)
    for begin in range(0, experts, expert_block):
        other = begin + tl.arange(0, expert_block)
        size = tl.load(sizes + other, mask=other < experts, other=0)
        start += tl.sum(tl.where(other[None, :] < expert[:, None], size[None, :], 0), axis=1)
    place = tl.where(kept, start + turn, -1)
    tl.store(places + copy, place, mask=inside)
    tl.store(order + place, copy, mask=kept)


@triton.jit  # type: ignore[untyped-decorator]
def _gather(  # type: ignore[no-untyped-def]
    x, weights, order, rows, count, width, copies,
    weighed: tl.constexpr, row_block: tl.constexpr, width_block: tl.constexpr,
):  # fmt: skip
    """A program writes a tile of rows: those of the tokens whose copies stand there, times the
    copies' weights if `weighed`, and zeros where none stands. `copies` is K."""
    wide: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    row = tl.program_id(0).to(tl.int64) * row_block + tl.arange(0, row_block)
    column = tl.program_id(1) * width_block + tl.arange(0, width_block)
    copy = tl.load(order + row, mask=row < count, other=-1)
    some = copy >= 0
    token = tl.where(some, copy, 0) // copies
    column_inside = (column < width)[None, :]
    place = x + token[:, None] * width + column[None, :]
    value = tl.load(place, mask=some[:, None] & column_inside, other=0.0)
    if weighed:
        weight = tl.load(weights + copy, mask=some, other=0.0).to(wide)
        value = value.to(wide) * weight[:, None]
    place = rows + row[:, None] * width + column[None, :]
    tl.store(place, value, mask=(row < count)[:, None] & column_inside)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_copies(  # type: ignore[no-untyped-def]
    rows, weights, places, y, tokens, width, copies,
    weighed: tl.constexpr, token_block: tl.constexpr, width_block: tl.constexpr,
):  # fmt: skip
    """A program writes a tile of y: for each token the sum of the rows of its copies, times their
    weights if `weighed`, in the order of the copies. Rows of no copy are not read."""
    wide: tl.constexpr = tl.float64 if rows.dtype.element_ty == tl.float64 else tl.float32
    token = tl.program_id(0).to(tl.int64) * token_block + tl.arange(0, token_block)
    column = tl.program_id(1) * width_block + tl.arange(0, width_block)
    inside = token < tokens
    column_inside = (column < width)[None, :]
    result = tl.zeros([token_block, width_block], wide)
    for copy in range(copies):
        place = tl.load(places + token * copies + copy, mask=inside, other=-1)
        some = place >= 0
        source = rows + place[:, None] * width + column[None, :]
        value = tl.load(source, mask=some[:, None] & column_inside, other=0.0).to(wide)
        if weighed:
            weight = tl.load(weights + token * copies + copy, mask=some, other=0.0).to(wide)
            value = value * weight[:, None]
        result += value
    target = y + token[:, None] * width + column[None, :]
    tl.store(target, result, mask=inside[:, None] & column_inside)


@triton.jit  # type: ignore[untyped-decorator]
def _routing_weight_gradient(  # type: ignore[no-untyped-def]
    rows, dy, places, dweights, tokens, width, copies,
    token_block: tl.constexpr, width_block: tl.constexpr,
):  # fmt: skip
    """A program computes dy_n . rows[places_nj] for one copy j of a block of tokens."""
    wide: tl.constexpr = tl.float64 if rows.dtype.element_ty == tl.float64 else tl.float32
    token = tl.program_id(0).to(tl.int64) * token_block + tl.arange(0, token_block)
    copy = tl.program_id(1)
    inside = token < tokens
    place = tl.load(places + token * copies + copy, mask=inside, other=-1)
    some = (place >= 0)[:, None]
    products = tl.zeros([token_block, width_block], wide)
    for begin in range(0, width, width_block):
        column = begin + tl.arange(0, width_block)
        read = some & (column < width)[None, :]
        row = tl.load(rows + place[:, None] * width + column[None, :], mask=read, other=0.0)
        grad = tl.load(dy + token[:, None] * width + column[None, :], mask=read, other=0.0)
        products += row.to(wide) * grad.to(wide)
    tl.store(dweights + token * copies + copy, tl.sum(products, axis=1), mask=inside)
