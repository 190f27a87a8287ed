"""Rotary positions: checks shapes and picks the implementation.

Shapes: B batch, H query heads, G key heads, T time, K head width, R rotary width.
"""

from torch import Tensor

from nas.kernels.rotary import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "rotary"
_IMPLS = {
    Impl.REFERENCE: reference.rotary,
    Impl.CHUNKED: chunked.rotary,
    Impl.TRITON: triton_form(_OP),
}


def rotary(
    q: Tensor, k: Tensor, frequencies: Tensor, position: int | Tensor = 0
) -> tuple[Tensor, Tensor]:
    """Turns channels i and i + R/2 of q and k, as a point of the plane, by ``p f_i`` at position p
    (arXiv 2104.09864).

    Args:
        q: queries [B, H, T, K].
        k: keys [B, G, T, K].
        frequencies: f, radians per token, [R/2] with R <= K; channels from R on stay as they are.
            A constant: no gradient reaches it. ``base^(-2i/R)`` in the paper. In float32 an angle
            is off by up to p f_i / 2^24 radians.
        position: p of the first token, the others following; or of every token, integers
            broadcastable to [B, T], as where packed sequences start again at 0.

    Returns:
        q and k turned, each of its own shape and dtype; computed in float32, or float64 where
        either is float64.

    Raises:
        ValueError: a shape does not fit, or position is no integer.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if q.dim() != 4:
        raise ValueError(f"{_OP}: q must be [B, H, T, K] but is {list(q.shape)}")
    batch, _, time, width = q.shape
    check_shape(_OP, "k", k.shape, "[B, G, T, K]", (batch, *k.shape[1:2], time, width))
    if frequencies.dim() != 1 or 2 * frequencies.shape[0] > width:
        raise ValueError(
            f"{_OP}: frequencies must be [R/2] with R <= K = {width} but is "
            f"{list(frequencies.shape)}"
        )
    if isinstance(position, Tensor):
        check_shape(_OP, "position", position.shape, "[B, T]", (batch, time), broadcast=True)
        if position.is_floating_point():
            raise ValueError(f"{_OP}: position must be integers but is {position.dtype}")
    return pick(_OP, _IMPLS)(q, k, frequencies, position)
