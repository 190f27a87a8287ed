"""The largest scores of each row: checks shapes and picks the implementation.

Shapes: E entries of a row, K entries taken; any number of axes before them.
"""

from torch import Tensor

from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.triton_form import triton_form
from nas.kernels.top_k import chunked, reference

_OP = "top_k"
_IMPLS = {
    Impl.REFERENCE: reference.top_k,
    Impl.CHUNKED: chunked.top_k,
    Impl.TRITON: triton_form(_OP),
}


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K largest scores of each row in descending order, and where they stand.

    Of equal scores the one with the lower index comes first, which ``torch.topk`` leaves open;
    -0 equals 0, and NaN is larger than any number, as it is to torch. Routers in low precision
    have equal scores often.

    Args:
        scores: [..., E], of a floating type.
        k: K, from 1 to E.

    Returns:
        values [..., K] in the dtype of scores, through which the gradient flows, and indices
        [..., K] in int64.

    Raises:
        ValueError: k is not from 1 to E.
        Unsupported: the implementation in force is 'triton' and triton cannot run here, or a row is
            longer than its kernels take.
    """
    entries = scores.shape[-1] if scores.dim() else 0
    if not 1 <= k <= entries:
        raise ValueError(
            f"{_OP}: k must be from 1 to the {entries} entries of scores {list(scores.shape)} "
            f"but is {k}"
        )
    return pick(_OP, _IMPLS)(scores, k)
