"""Routing: checks shapes and picks the implementation.

Shapes: N tokens, K copies of each, E experts, D width, M = N x K rows.
"""

from typing import NamedTuple

from torch import Tensor

from nas.kernels.routing import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "routing"
_ROUTE = {
    Impl.REFERENCE: reference.route,
    Impl.CHUNKED: chunked.route,
    Impl.TRITON: triton_form(_OP, "route"),
}
_DISPATCH = {
    Impl.REFERENCE: reference.dispatch,
    Impl.CHUNKED: chunked.dispatch,
    Impl.TRITON: triton_form(_OP, "dispatch"),
}
_COMBINE = {
    Impl.REFERENCE: reference.combine,
    Impl.CHUNKED: chunked.combine,
    Impl.TRITON: triton_form(_OP, "combine"),
}


class Route(NamedTuple):
    """Where the copies of tokens go; all in int64. Copy j of token n has the number n K + j."""

    order: Tensor
    """Which copy stands at each place, [M]: sorted by expert, and for one expert as the copies are
    numbered. -1 after the last."""
    places: Tensor
    """Where each copy stands, [N, K]; -1 if nowhere."""
    sizes: Tensor
    """How many copies each expert takes, [E]."""


def route(chosen: Tensor, experts: int, capacity: int | None = None) -> Route:
    """Sort copies of tokens by the expert chosen for them.

    A copy stands nowhere if its expert is -1, or if `capacity` copies with lower numbers chose the
    same expert. Adaptive computation, where a token is worked on or passed over, is K = 1 with the
    expert 0 or -1.

    Args:
        chosen: the expert of each copy [N, K], integers from -1 to E - 1. The Triton form leaves
            them on the device and cannot check them.
        experts: E.
        capacity: copies that an expert takes at most; None for any number.

    Returns:
        the route, which has no gradient.

    Raises:
        ValueError: a shape or a dtype does not fit, or a number is too small.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if chosen.dim() != 2 or chosen.shape[1] < 1 or chosen.is_floating_point():
        raise ValueError(
            f"{_OP}: chosen must be integers [N, K] with K >= 1 but is {chosen.dtype} "
            f"{list(chosen.shape)}"
        )
    if experts < 1 or (capacity is not None and capacity < 1):
        raise ValueError(
            f"{_OP}: experts and capacity must be at least 1 but are {experts} and {capacity}"
        )
    return Route(*pick(_OP, _ROUTE)(chosen, experts, capacity))


def dispatch(x: Tensor, route: Route) -> Tensor:
    """Copy the rows of tokens to the places of their copies.

    Args:
        x: [N, D].
        route: of the same tokens.

    Returns:
        rows [M, D] in x's dtype, those of an expert together; zeros after the last. The gradient of
        a token is the sum over its copies.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "x", x.shape, "[N, D]", (route.places.shape[0], x.shape[-1]))
    return pick(_OP, _DISPATCH)(x, route.order, route.places)


def combine(rows: Tensor, weights: Tensor, route: Route) -> Tensor:
    """``y_n = sum_j weights_nj rows[places_nj]``, over the copies of a token that have a place.

    Args:
        rows: [M, D], as ``dispatch`` orders them.
        weights: of each copy [N, K].
        route: of the same tokens.

    Returns:
        y [N, D] in the dtype of rows; sums are in float32, or float64 for float64. A token without
        a place gets 0; a copy without one has no gradient.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    check_shape(_OP, "rows", rows.shape, "[M, D]", (route.order.shape[0], rows.shape[-1]))
    check_shape(_OP, "weights", weights.shape, "[N, K]", route.places.shape)
    return pick(_OP, _COMBINE)(rows, weights, route.order, route.places)
