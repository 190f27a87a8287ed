"""What every implementation of routing is held to."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.kernels.routing.api import Route, combine, dispatch, route
from nas.kernels.runtime.checking import (
    DEVICE,
    check_budget,
    check_exact,
    poisoned,
    with_gradients,
)
from nas.kernels.runtime.impl import Impl, use_impl

Check = Callable[[Impl], None]

SIZES = [
    (1, 1, 1, 1),
    (2, 1, 3, 5),
    (127, 1, 2, 1),
    (64, 2, 4, 3),
    (43, 3, 40, 17),
    (150, 2, 8, 24),
    (3, 2, 5, 300),
]
"""Tokens, copies, experts, width."""


def draw_chosen(tokens: int, copies: int, experts: int, *, dropped: bool = False) -> Tensor:
    """The experts of a token differ; with `dropped`, about a third of the copies have none."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(tokens, experts, generator=generator).argsort(dim=-1)[:, :copies]
    if dropped:
        none = torch.rand(tokens, copies, generator=generator) < 1 / 3
        chosen = chosen.masked_fill(none, -1)
    return chosen.to(DEVICE)


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def found(impl: Impl, chosen: Tensor, experts: int, capacity: int | None = None) -> Route:
    with use_impl(impl), poisoned():
        return route(chosen, experts, capacity)


def check_route(impl: Impl, chosen: Tensor, experts: int, capacity: int | None = None) -> None:
    mine = found(impl, chosen, experts, capacity)
    for got, true in zip(mine, found(Impl.REFERENCE, chosen, experts, capacity), strict=True):
        assert got.dtype == torch.int64
        assert torch.equal(got, true)
    again = found(impl, chosen, experts, capacity)
    assert all(torch.equal(a, b) for a, b in zip(mine, again, strict=True))


def check_routes(impl: Impl, tokens: int, copies: int, experts: int, width: int) -> None:
    del width
    for dropped in (False, True):
        chosen = draw_chosen(tokens, copies, experts, dropped=dropped)
        for capacity in (None, 1, max(1, tokens * copies // experts)):
            check_route(impl, chosen, experts, capacity)


def check_values(impl: Impl, tokens: int, copies: int, experts: int, width: int) -> None:
    for dropped in (False, True):
        chosen = draw_chosen(tokens, copies, experts, dropped=dropped)
        where = found(Impl.REFERENCE, chosen, experts)
        check_exact(impl, lambda x, where=where: dispatch(x, where), [draw(tokens, width)])
        check_exact(
            impl,
            lambda rows, weights, where=where: combine(rows, weights, where),
            [draw(tokens * copies, width), draw(tokens, copies)],
        )


def check_low_precision(impl: Impl, dtype: torch.dtype) -> None:
    """With weights as exact as the rows, and in float32 as gates often are."""
    where = found(Impl.REFERENCE, draw_chosen(20, 3, 5, dropped=True), 5, 9)
    x, rows, weights = (draw(*shape, dtype=dtype) for shape in ((20, 36), (60, 36), (20, 3)))
    check_budget(impl, lambda x: dispatch(x, where), [x])
    for gates in (weights, weights.float()):
        check_budget(impl, lambda rows, gates: combine(rows, gates, where), [rows, gates])


def check_adaptive(impl: Impl) -> None:
    """One expert that takes a token or not: what is passed over comes out as 0."""
    chosen = torch.tensor([[-1], [0], [0], [-1], [0]], device=DEVICE)
    with use_impl(impl), poisoned():
        where = route(chosen, 1)
        x = draw(5, 3)
        rows = dispatch(x, where)
        y = combine(2 * rows, torch.ones_like(chosen, dtype=x.dtype), where)
    assert where.sizes.tolist() == [3]
    assert where.order.tolist() == [1, 2, 4, -1, -1]
    assert torch.equal(rows, torch.cat((x[[1, 2, 4]], torch.zeros_like(x[:2]))))
    assert torch.equal(y, 2 * x * (chosen >= 0))


def check_nothing_kept(impl: Impl) -> None:
    chosen = torch.full((4, 2), -1, device=DEVICE)
    where = found(impl, chosen, 3)
    check_route(impl, chosen, 3)
    check_exact(impl, lambda x: dispatch(x, where), [draw(4, 3)])
    check_exact(impl, lambda rows, w: combine(rows, w, where), [draw(8, 3), draw(4, 2)])


def check_no_tokens(impl: Impl) -> None:
    where = found(impl, torch.zeros(0, 2, dtype=torch.int64, device=DEVICE), 3)
    assert [list(part.shape) for part in where] == [[0], [0, 2], [3]]
    assert where.sizes.tolist() == [0, 0, 0]
    rows, _ = with_gradients(impl, lambda x: dispatch(x, where), [draw(0, 4)])
    y, *_ = with_gradients(impl, lambda r, w: combine(r, w, where), [draw(0, 4), draw(0, 2)])
    assert rows.shape == y.shape == (0, 4)


def check_places_of_no_copy(impl: Impl) -> None:
    """What stands after the last copy is not read, forward or backward."""
    where = found(impl, draw_chosen(9, 2, 3, dropped=True), 3)
    kept = int(where.sizes.sum())
    rows, weights = draw(18, 5), draw(9, 2)
    clean = with_gradients(impl, lambda r, w: combine(r, w, where), [rows, weights])
    rows[kept:] = torch.nan
    weights[where.places < 0] = torch.nan
    spoilt = with_gradients(impl, lambda r, w: combine(r, w, where), [rows, weights])
    assert all(torch.equal(a, b) for a, b in zip(clean, spoilt, strict=True))
    assert clean[1][kept:].eq(0).all()

    with use_impl(impl), poisoned():
        x = draw(9, 5).requires_grad_()
        drows = draw(18, 5)
        drows[kept:] = torch.nan
        (dx,) = torch.autograd.grad(dispatch(x, where), x, drows)
    assert dx.isfinite().all()


def check_layouts(impl: Impl) -> None:
    """Inputs that are not contiguous, that repeat along an axis, or in 32-bit integers."""
    chosen = draw_chosen(12, 2, 4)
    check_route(impl, draw_chosen(12, 4, 4)[:, ::2], 4)
    check_route(impl, chosen.int(), 4)
    where = found(Impl.REFERENCE, chosen, 4)
    for x in (draw(6, 12).mT, draw(12, 8)[:, ::2], draw(1, 6).expand(12, 6)):
        check_exact(impl, lambda x: dispatch(x, where), [x])
    rows, weights = draw(6, 24).mT, draw(2, 12).mT
    check_exact(impl, lambda rows, w: combine(rows, w, where), [rows, weights])
    check_exact(impl, lambda rows, w: combine(rows, w, where).mT, [rows, weights])


def check_token_alone(impl: Impl) -> None:
    """A token has the same result alone and among others, and every time."""
    x, weights = draw(40, 20, dtype=torch.float32), draw(40, 2, dtype=torch.float32)
    chosen = draw_chosen(40, 2, 4)

    def results(part: slice) -> list[Tensor]:
        where = found(impl, chosen[part], 4)
        return with_gradients(
            impl, lambda x, w: combine(3 * dispatch(x, where), w, where), [x[part], weights[part]]
        )[:1]

    (whole,), (again,) = results(slice(None)), results(slice(None))
    assert torch.equal(whole, again)
    for token in (0, 17, 39):
        assert torch.equal(results(slice(token, token + 1))[0][0], whole[token])


CHECKS: list[Check] = [
    check_adaptive,
    check_nothing_kept,
    check_no_tokens,
    check_places_of_no_copy,
    check_layouts,
    check_token_alone,
]
