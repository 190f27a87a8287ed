"""A short causal convolution on each channel: checks shapes and picks the implementation.

Shapes: B batch, T time, C channels, W width.
"""

from torch import Tensor

from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form
from nas.kernels.short_conv import chunked, reference

_OP = "short_conv"
_IMPLS = {
    Impl.REFERENCE: reference.short_conv,
    Impl.CHUNKED: chunked.short_conv,
    Impl.TRITON: triton_form(_OP),
}
WIDTHS = range(1, 65)
ACTIVATIONS = (None, "silu")


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    latest: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``y_t = sum_{j < W} weight_j x_{t - W + 1 + j} + bias`` on each channel, then the activation.

    Args:
        x: inputs [B, T, C].
        weight: [C, W] with W from 1 to 64; the last column is for the present input.
        bias: [C], or None.
        latest: the inputs just before x, [B, W - 1, C], oldest first; None is zeros.
        activation: None or "silu".

    Returns:
        y [B, T, C] and the latest W - 1 inputs [B, W - 1, C] for the next call, both in x's dtype;
        y is computed in float32, or float64 for float64, and rounded once.

    Raises:
        ValueError: a shape does not fit, or an activation is not known.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if x.ndim != 3 or x.shape[1] < 1:
        raise ValueError(f"{_OP}: x must be [B, T, C] with T >= 1 but is {list(x.shape)}")
    if weight.ndim != 2 or weight.shape[1] not in WIDTHS:
        raise ValueError(
            f"{_OP}: weight must be [C, W] with W from {WIDTHS[0]} to {WIDTHS[-1]} but is "
            f"{list(weight.shape)}"
        )
    if activation not in ACTIVATIONS:
        raise ValueError(f"{_OP}: activation must be None or 'silu' but is {activation!r}")
    batch, _, channels = x.shape
    width = weight.shape[1]
    check_shape(_OP, "weight", weight.shape, "[C, W]", (channels, width))
    if bias is not None:
        check_shape(_OP, "bias", bias.shape, "[C]", (channels,))
    if latest is not None:
        check_shape(_OP, "latest", latest.shape, "[B, W - 1, C]", (batch, width - 1, channels))
    return pick(_OP, _IMPLS)(x, weight, bias, latest, activation)
