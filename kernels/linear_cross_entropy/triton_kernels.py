"""The Triton kernels of linear cross-entropy.

Shapes: N rows, D width, V vocabulary, S splits of a sum.

In all three a program holds a block of one matrix and walks over the other, a block at a time: the
logits of both blocks are computed, used and forgotten. `whole` says that a block of the width is
all of it, so that a block of rows is read once for both products that it stands in; else the
logits are summed up over `chunk` columns at a time.
"""

import triton
import triton.language as tl


@triton.jit
def _loss_rows(matrix, index, count, column, width):  # type: ignore[no-untyped-def]
    """Rows `index` of a matrix [count, width], in the columns `column`; zeros outside of it."""
    inside = (index < count)[:, None] & (column < width)[None, :]
    offsets = index.to(tl.int64)[:, None] * width + column[None, :]
    return tl.load(matrix + offsets, mask=inside, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _products(  # type: ignore[no-untyped-def]
    a,
    b,
    a_index,
    b_index,
    a_count,
    b_count,
    width,
    like,
    chunk: tl.constexpr,
    precision: tl.constexpr,
):
    """Rows of a times rows of b, over a width that is read in chunks; in the shape and type of
    `like`."""
    products = tl.zeros_like(like)
    for start in range(0, width, chunk):
        column = start + tl.arange(0, chunk)
        left = _loss_rows(a, a_index, a_count, column, width)
        right = _loss_rows(b, b_index, b_count, column, width)
        products += tl.dot(left, tl.trans(right), input_precision=precision)
    return products


@triton.jit  # type: ignore[untyped-decorator]
def _log_sums(  # type: ignore[no-untyped-def]
    x,
    weight,
    bias,
    targets,
    log_sums,
    wanted,
    rows,
    vocab,
    width,
    span,
    own: tl.constexpr,
    walk: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
    whole: tl.constexpr,
    wide: tl.constexpr,
    precision: tl.constexpr,
):
    """For `own` rows and one split of the vocabulary, `span` tokens long: the log of the sum of the
    logits' exponentials, and the logit of the target, 0 if it is in another split."""
    row = tl.program_id(0) * own + tl.arange(0, own)
    first = tl.program_id(1) * span
    column = tl.arange(0, block)
    target = tl.load(targets + row, mask=row < rows, other=-100)
    if whole:
        held = _loss_rows(x, row, rows, column, width)
    peak = tl.full([own], float("-inf"), wide)
    total = tl.zeros([own], wide)
    found = tl.zeros([own], wide)
    for start in range(first, min(first + span, vocab), walk):
        token = start + tl.arange(0, walk)
        if whole:
            other = _loss_rows(weight, token, vocab, column, width)
            scores = tl.dot(held, tl.trans(other), input_precision=precision)
        else:
            like = tl.zeros([own, walk], wide)
            scores = _products(x, weight, row, token, rows, vocab, width, like, chunk, precision)
        if bias is not None:
            scores += tl.load(bias + token, mask=token < vocab, other=0.0)[None, :]
        scores = tl.where((token < vocab)[None, :], scores, float("-inf"))
        found += tl.sum(tl.where(token[None, :] == target[:, None], scores, 0.0), axis=1)
        higher = tl.maximum(peak, tl.max(scores, axis=1))
        total = total * tl.exp(peak - higher) + tl.sum(tl.exp(scores - higher[:, None]), axis=1)
        peak = higher
    place = tl.program_id(1).to(tl.int64) * rows + row
    tl.store(log_sums + place, peak + tl.log(total), mask=row < rows)
    tl.store(wanted + place, found, mask=row < rows)


@triton.jit  # type: ignore[untyped-decorator]
def _slopes_of_x(  # type: ignore[no-untyped-def]
    x,
    weight,
    bias,
    targets,
    log_sums,
    scale,
    dx,
    rows,
    vocab,
    width,
    span,
    own: tl.constexpr,
    walk: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
    whole: tl.constexpr,
    wide: tl.constexpr,
    precision: tl.constexpr,
):
    """For `own` rows, `block` columns and one split of the vocabulary: the gradient of x [S, N, D],
    which is that of the logits times the weight, summed over `span` tokens."""
    row = tl.program_id(0) * own + tl.arange(0, own)
    column = tl.program_id(1) * block + tl.arange(0, block)
    first = tl.program_id(2) * span
    target = tl.load(targets + row, mask=row < rows, other=-100)
    log_sum = tl.load(log_sums + row, mask=row < rows, other=0.0)
    if whole:
        held = _loss_rows(x, row, rows, column, width)
    slopes = tl.zeros([own, block], wide)
    for start in range(first, min(first + span, vocab), walk):
        token = start + tl.arange(0, walk)
        other = _loss_rows(weight, token, vocab, column, width)
        if whole:
            scores = tl.dot(held, tl.trans(other), input_precision=precision)
        else:
            like = tl.zeros([own, walk], wide)
            scores = _products(x, weight, row, token, rows, vocab, width, like, chunk, precision)
        if bias is not None:
            scores += tl.load(bias + token, mask=token < vocab, other=0.0)[None, :]
        counts = (target >= 0)[:, None] & (token < vocab)[None, :]
        hits = tl.where(token[None, :] == target[:, None], 1.0, 0.0)
        dlogits = tl.where(counts, tl.exp(scores - log_sum[:, None]) - hits, 0.0)
        slopes += tl.dot(dlogits.to(other.dtype), other, input_precision=precision)
    place = (tl.program_id(2).to(tl.int64) * rows + row)[:, None] * width + column[None, :]
    inside = (row < rows)[:, None] & (column < width)[None, :]
    tl.store(dx + place, slopes * tl.load(scale), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _slopes_of_weight(  # type: ignore[no-untyped-def]
    x,
    weight,
    bias,
    targets,
    log_sums,
    scale,
    dweight,
    dbias,
    rows,
    vocab,
    width,
    span,
    own: tl.constexpr,
    walk: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
    whole: tl.constexpr,
    wide: tl.constexpr,
    precision: tl.constexpr,
):
    """For `own` tokens, `block` columns and one split of the rows: the gradient of the weight
    [S, V, D], which is that of the logits, transposed, times x, summed over `span` rows; and the
    gradient of the bias [S, V]."""
    token = tl.program_id(0) * own + tl.arange(0, own)
    column = tl.program_id(1) * block + tl.arange(0, block)
    first = tl.program_id(2) * span
    if whole:
        held = _loss_rows(weight, token, vocab, column, width)
    if bias is not None:
        added = tl.load(bias + token, mask=token < vocab, other=0.0)
    slopes = tl.zeros([own, block], wide)
    sums = tl.zeros([own], wide)
    for start in range(first, min(first + span, rows), walk):
        row = start + tl.arange(0, walk)
        target = tl.load(targets + row, mask=row < rows, other=-100)
        log_sum = tl.load(log_sums + row, mask=row < rows, other=0.0)
        other = _loss_rows(x, row, rows, column, width)
        if whole:
            scores = tl.dot(held, tl.trans(other), input_precision=precision)
        else:
            like = tl.zeros([own, walk], wide)
            scores = _products(weight, x, token, row, vocab, rows, width, like, chunk, precision)
        if bias is not None:
            scores += added[:, None]
        counts = (token < vocab)[:, None] & (target >= 0)[None, :]
        hits = tl.where(token[:, None] == target[None, :], 1.0, 0.0)
        dlogits = tl.where(counts, tl.exp(scores - log_sum[None, :]) - hits, 0.0)
        slopes += tl.dot(dlogits.to(other.dtype), other, input_precision=precision)
        if bias is not None:
            sums += tl.sum(dlogits, axis=1)
    size = tl.load(scale)
    place = tl.program_id(2).to(tl.int64) * vocab + token
    inside = (token < vocab)[:, None] & (column < width)[None, :]
    tl.store(dweight + place[:, None] * width + column[None, :], slopes * size, mask=inside)
    if bias is not None:  # noqa: SIM102 - is known when compiling, unlike the other
        if tl.program_id(1) == 0:
            tl.store(dbias + place, sums * size, mask=token < vocab)
