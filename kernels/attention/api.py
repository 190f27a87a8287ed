"""Attention: checks shapes and picks the implementation.

Shapes: B batch, H query heads, G key and value heads, T queries, S keys, Q chosen queries of a
head, K key width, V value width.
"""

from torch import Tensor

from nas.kernels.attention import chunked, reference
from nas.kernels.runtime.impl import Impl, pick
from nas.kernels.runtime.shapes import check_shape
from nas.kernels.runtime.triton_form import triton_form

_OP = "attention"
_ROUTED = "routed_attention"
_IMPLS = {
    Impl.REFERENCE: reference.attention,
    Impl.CHUNKED: chunked.attention,
    Impl.TRITON: triton_form(_OP),
}
_ROUTED_IMPLS = {
    Impl.REFERENCE: reference.routed_attention,
    Impl.CHUNKED: chunked.routed_attention,
    Impl.TRITON: triton_form(_OP, _ROUTED),
}
NORMALISERS = ("softmax", "sigmoid", "clipped")


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """``o_t = sum_s w_ts v_s`` with w from the scores ``a_ts = scale q_t . k_s`` of what t sees.

    A query at position t sees the key at position s where ``|t - s| < window`` or ``s < sinks``,
    and if `causal` only where ``s <= t``. With n the number of keys that t sees, w_ts is

    - softmax over them of a_ts (arXiv 1706.03762),
    - "sigmoid": ``sigmoid(a_ts + bias)`` (arXiv 2409.04431), or
    - "clipped": ``clip((zeta - gamma) softmax(a)_ts + gamma, 0, 1)`` with ``gamma = -alpha / n``
      (arXiv 2306.12929).

    Args:
        q: queries [B, H, T, K].
        k: keys [B, G, S, K], where G divides H: each for H / G query heads in a row.
        v: values [B, G, S, V].
        bias: for "sigmoid": one number, which may be a tensor with a gradient; None is -log n.
        normaliser: "softmax", "sigmoid" or "clipped".
        causal: whether later keys are hidden.
        start: position of the first query among the keys; None is S - T, so that the last query
            stands at the last key. Nothing depends on it if all keys are seen.
        window: see above; None is all keys.
        sinks: number of first keys that are always seen; of no effect without a window.
        alpha: for "clipped", at least 0.
        zeta: for "clipped", at least 1.
        scale: of the scores; None is K^(-1/2).

    Returns:
        o [B, H, T, V] in v's dtype. Scores and weights are those of float32, or of float64 where
        an input is of float64.

    Raises:
        ValueError: a shape or a number does not fit, or a query stands at no key where it has to.
        Unsupported: the implementation in force cannot run here.
    """
    _check(_OP, q, k, v, bias, normaliser, causal, start, window, sinks, alpha, zeta)
    return pick(_OP, _IMPLS)(
        q,
        k,
        v,
        bias,
        normaliser=normaliser,
        causal=causal,
        start=start,
        window=window,
        sinks=sinks,
        alpha=alpha,
        zeta=zeta,
        scale=scale,
    )


def routed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    bias: Tensor | float | None = None,
    *,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
    sinks: int = 0,
    alpha: float = 1.0,
    zeta: float = 1.0,
    scale: float | None = None,
) -> Tensor:
    """`attention` of only some queries of each head, as a router chose them; zeros elsewhere.

    Args:
        q: queries [B, H, T, K], of which those that are not chosen are not read.
        queries: [B, H, Q] of an integer type: for each head, which of the T queries it serves,
            none twice, filled up with -1. In ascending order blocks of keys can be skipped.
            ``routing.chosen_queries`` makes it of a mask.

    The other arguments, what is returned and what is raised are as in `attention`.
    """
    _check(_ROUTED, q, k, v, bias, normaliser, causal, start, window, sinks, alpha, zeta)
    if queries.dim() != 3 or queries.is_floating_point():
        raise ValueError(f"{_ROUTED}: queries must be whole numbers [B, H, Q]")
    wanted = (*q.shape[:2], queries.shape[2])
    check_shape(_ROUTED, "queries", queries.shape, "[B, H, Q]", wanted)
    return pick(_ROUTED, _ROUTED_IMPLS)(
        q,
        k,
        v,
        queries,
        bias,
        normaliser=normaliser,
        causal=causal,
        start=start,
        window=window,
        sinks=sinks,
        alpha=alpha,
        zeta=zeta,
        scale=scale,
    )


def torch_serves(
    *,
    time: int,
    keys: int,
    normaliser: str = "softmax",
    causal: bool = True,
    start: int | None = None,
    window: int | None = None,
) -> bool:
    """Whether ``scaled_dot_product_attention`` computes this without a mask, so that nothing is
    gained by a kernel: softmax over all keys, or over those up to the query with T = S or T = 1.

    The chunked form then is that function. A form that is asked for runs all the same; who chooses
    forms asks here first, and records the choice.
    """
    first = max(keys - time, 0) if start is None else start
    if normaliser != "softmax" or (window is not None and window < keys):
        return False
    return not causal or (time == keys and first == 0) or (time == 1 and first == keys - 1)


def _check(
    op: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | float | None,
    normaliser: str,
    causal: bool,
    start: int | None,
    window: int | None,
    sinks: int,
    alpha: float,
    zeta: float,
) -> None:
    if q.dim() != 4 or q.shape[2] < 1:
        raise ValueError(f"{op}: q must be [B, H, T, K] with T >= 1 but is {list(q.shape)}")
    if v.dim() != 4 or v.shape[2] < 1:
        raise ValueError(f"{op}: v must be [B, G, S, V] with S >= 1 but is {list(v.shape)}")
    check_shape(op, "v", v.shape, "[B, G, S, V]", (q.shape[0], *v.shape[1:]))
    check_shape(op, "k", k.shape, "[B, G, S, K]", (*v.shape[:3], q.shape[3]))
    if not v.shape[1] or q.shape[1] % v.shape[1]:
        raise ValueError(f"{op}: {v.shape[1]} key heads do not divide {q.shape[1]} query heads")
    if normaliser not in NORMALISERS:
        raise ValueError(f"{op}: normaliser must be one of {NORMALISERS} but is {normaliser!r}")
    if bias is not None and normaliser != "sigmoid":
        raise ValueError(f"{op}: only the normaliser 'sigmoid' takes a bias")
    if isinstance(bias, Tensor) and bias.numel() != 1:
        raise ValueError(f"{op}: bias must be one number but is {list(bias.shape)}")
    if (window is not None and window < 1) or sinks < 0:
        raise ValueError(f"{op}: needs window >= 1 and sinks >= 0 but has {window} and {sinks}")
    if alpha < 0 or zeta < 1:
        raise ValueError(f"{op}: needs alpha >= 0 and zeta >= 1 but has {alpha} and {zeta}")
    _check_start(op, q.shape[2], k.shape[2], causal, start, window)


def _check_start(
    op: str, time: int, keys: int, causal: bool, start: int | None, window: int | None
) -> None:
    """Every query stands at a key, so that there is one that it sees."""
    if not causal and window is None:
        return
    first = keys - time if start is None else start
    if first < 0 or first + time > keys:
        raise ValueError(
            f"{op}: {time} queries from position {first} on do not all stand at one of {keys} keys"
        )
