"""Cross-entropy of a linear layer's logits: checks shapes and picks the implementation.

Shapes: D width, V vocabulary; any number of axes before them.
"""

from torch import Tensor

from nas.kernels.linear_cross_entropy import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "linear_cross_entropy"
_IMPLS = {
    Impl.REFERENCE: reference.linear_cross_entropy,
    Impl.CHUNKED: chunked.linear_cross_entropy,
    Impl.TRITON: triton_form(_OP),
}


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Mean of ``-log softmax(x weight^T + bias)[target]`` in nats, over the targets that count.

    x and weight are multiplied in their common type, or in that of autocast where it is on; all
    that follows is computed in float32, or float64 for float64.

    Args:
        x: what the logits are computed from, [..., D].
        weight: one row for each token of the vocabulary, [V, D].
        targets: int64 tokens [...] from 0 to V - 1, or -100 where none is to be predicted.
        bias: [V]; None is zeros.

    Returns:
        The loss, without axes, in float32 or float64. Where no target counts it is 0 and so are the
        gradients, while torch's own ``cross_entropy`` gives NaN.

    Raises:
        ValueError: a shape does not fit.
        Unsupported: the implementation in force is 'triton' and triton cannot run here.
    """
    if x.ndim < 1 or weight.ndim != 2 or len(weight) < 1:
        shapes = f"{list(x.shape)} and {list(weight.shape)}"
        raise ValueError(f"{_OP}: x must be [..., D] and weight [V, D], V >= 1, but are {shapes}")
    check_shape(_OP, "weight", weight.shape, "[V, D]", (len(weight), x.shape[-1]))
    check_shape(_OP, "targets", targets.shape, "[...]", x.shape[:-1])
    if bias is not None:
        check_shape(_OP, "bias", bias.shape, "[V]", weight.shape[:1])
    return pick(_OP, _IMPLS)(x, weight, targets, bias)
