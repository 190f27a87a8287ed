"""What every implementation of rotary positions is held to."""

from functools import partial

import torch
from torch import Tensor

from nas.kernels.rotary.api import rotary
from nas.kernels.runtime.checking import DEVICE, check_budget, check_exact, poisoned, with_gradients
from nas.kernels.runtime.impl import Impl, use_impl

SHAPES = {
    "one": (1, 1, 1, 1, 2, 2),
    "grouped": (2, 5, 2, 7, 12, 12),
    "partial": (1, 4, 4, 33, 11, 6),
    "not turned": (2, 1, 3, 3, 7, 0),
    "no tokens": (1, 1, 1, 0, 4, 4),
}
"""B, H, G, T, K, R"""


def draw(shape: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
    """q and k in float64, and the frequencies."""
    batch, heads, key_heads, time, width, rotary_width = shape
    generator = torch.Generator().manual_seed(0)
    q, k = (
        torch.randn(batch, count, time, width, generator=generator, dtype=torch.float64)
        for count in (heads, key_heads)
    )
    half = rotary_width // 2
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / max(half, 1))
    return [q.to(DEVICE), k.to(DEVICE)], frequencies.to(DEVICE)


def check_values(impl: Impl, shape: tuple[int, ...]) -> None:
    inputs, frequencies = draw(shape)
    batch, time = shape[0], shape[3]
    positions = torch.arange(batch * time).view(batch, time).flip(1).to(DEVICE)
    for position in (0, 1, 1000, positions, positions[:1].int(), positions[:, :1]):
        check_exact(impl, partial(rotary, frequencies=frequencies, position=position), inputs)


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    inputs, frequencies = draw(SHAPES["partial"])
    for position in (0, 30_000):
        op = partial(rotary, frequencies=frequencies.float(), position=position)
        check_budget(impl, op, [x.to(dtype) for x in inputs])
        check_budget(impl, op, [inputs[0].to(dtype), inputs[1].float()])


def check_a_split_equals_the_whole(impl: Impl) -> None:
    """Bit for bit, and so does a row of the batch alone."""
    inputs, frequencies = draw((2, 3, 2, 21, 8, 8))
    q, k = (x.float() for x in inputs)
    with use_impl(impl), poisoned():
        whole = rotary(q, k, frequencies, 5)
        parts = [
            rotary(q[row:, :, i:j], k[row:, :, i:j], frequencies, 5 + i)
            for row, i, j in ((0, 0, 20), (0, 20, 21), (1, 3, 9))
        ]
    for x, first, second, alone in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat((first, second), dim=2), x)
        assert torch.equal(alone, x[1:, :, 3:9])


def check_packed_sequences_start_again(impl: Impl) -> None:
    """Two sequences in one row are turned as each alone."""
    inputs, frequencies = draw((1, 2, 1, 9, 6, 6))
    position = torch.cat((torch.arange(4), torch.arange(5)))[None].to(DEVICE)
    with use_impl(impl), poisoned():
        q, k = inputs
        packed = rotary(q, k, frequencies, position)
        first = rotary(q[:, :, :4], k[:, :, :4], frequencies, 0)
        second = rotary(q[:, :, 4:], k[:, :, 4:], frequencies, 0)
    for x, *parts in zip(packed, first, second, strict=True):
        assert torch.equal(torch.cat(parts, dim=2), x)


def check_any_layout(impl: Impl) -> None:
    """Heads inside of tokens, neighbours apart, and one key for all the batch."""
    inputs, frequencies = draw((2, 3, 2, 5, 8, 6))
    q, k = inputs[0], inputs[1][:1].expand(2, -1, -1, -1)
    others = (
        [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k)],
        [torch.stack((x, x + 1), dim=-1)[..., 0] for x in (q, k)],
        [torch.cat((x + 1, x), dim=-1).chunk(2, dim=-1)[1] for x in (q, k)],
    )
    op = partial(rotary, frequencies=frequencies, position=3)
    with use_impl(impl), poisoned():
        expected = op(q.contiguous(), k.contiguous())
        for given in (*others, [q, k]):
            leaves = [x.detach().requires_grad_() for x in given]
            found = op(*leaves)
            # The rotation is orthogonal: turned back, the result as a cotangent gives the input.
            back = torch.autograd.grad(found, leaves, _laid_out(found, given))
            for mine, true in zip((*found, *back), (*expected, q, k), strict=True):
                torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def _laid_out(found: tuple[Tensor, ...], given: list[Tensor]) -> list[Tensor]:
    """The results as cotangents, in the layout of what was given where that is no expansion."""
    return [
        torch.empty_strided(x.shape, like.stride(), dtype=x.dtype, device=x.device).copy_(x)
        if 0 not in like.stride()
        else x.detach()
        for x, like in zip(found, given, strict=True)
    ]


def check_runs_repeat(impl: Impl) -> None:
    inputs, frequencies = draw((2, 3, 2, 9, 8, 8))
    op = partial(rotary, frequencies=frequencies, position=7)
    first, second = (with_gradients(impl, op, [x.float() for x in inputs]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def check_extremes(impl: Impl) -> None:
    """Large values, and positions as far as float32 counts."""
    inputs, frequencies = draw((1, 2, 1, 5, 8, 8))
    op = partial(rotary, frequencies=frequencies, position=2**24 - 5)
    results = with_gradients(impl, op, [x.float() * 1e37 for x in inputs])
    assert all(x.isfinite().all() for x in results)
