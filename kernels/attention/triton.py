"""Attention as Triton kernels, forward and backward, for a GPU or Triton's interpreter.

Shapes: B batch, H query heads, G key and value heads, T queries, S keys, Q queries in a list
(T where all are computed), K key width, V value width.
"""

import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from nas.kernels.attention.chunked import attention as attention_in_torch
from nas.kernels.attention.triton_backward import attend_backward_queries
from nas.kernels.attention.triton_backward_keys import attend_backward_keys
from nas.kernels.attention.triton_blocks import blocks
from nas.kernels.attention.triton_forward import attend_forward

_WIDEST = 256
"""Values of a head for which a block fits a program."""

_PART = 1024
"""Queries whose gradients of the sinks are summed up by one program."""


class _Rule(NamedTuple):
    """What a query sees and how it weighs it."""

    normaliser: str
    causal: bool
    start: int
    window: int | None
    sinks: int
    alpha: float
    zeta: float
    scale: float


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        queries: Tensor | None,
        rule: _Rule,
    ) -> Tensor:
        q, k, v = _with_rows(q), _with_rows(k), _with_rows(v)
        wide = torch.promote_types(q.dtype, torch.float32)
        rows = q.shape[2] if queries is None else queries.shape[2]  # Q
        o = _empty(v, (*q.shape[:3], v.shape[3]), zeros=queries is not None)
        levels = q.new_empty(*q.shape[:2], rows, dtype=wide)
        if levels.numel():
            options = _options("forward", q, k, v, rule, queries)
            grid = (triton.cdiv(rows, options["row_block"]) * levels[:, :, 0].numel(),)
            wide_bias = None if bias is None else bias.detach().to(wide)
            strides = (
                *_attention_strides(q),
                *_attention_strides(k),
                *_attention_strides(v),
                *_attention_strides(o),
            )
            attend_forward[grid](
                q,
                k,
                v,
                wide_bias,
                queries,
                o,
                levels,
                *strides,
                *_sizes(q, k, rows, rule),
                **options,
            )
        ctx.save_for_backward(q, k, v, bias, queries, o, levels)
        ctx.rule = rule
        return o

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_o: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, queries, o, levels = ctx.saved_tensors
        d_o, rule = _with_rows(d_o), ctx.rule
        rows = levels.shape[2]
        dq = _empty(q, q.shape, zeros=queries is not None)
        deltas = torch.empty_like(levels)
        slopes = torch.empty_like(levels) if ctx.needs_input_grad[3] else None
        sizes = _sizes(q, k, rows, rule)
        strides = (*_attention_strides(q), *_attention_strides(k), *_attention_strides(v))
        if levels.numel():
            options = _options("queries", q, k, v, rule, queries)
            grid = (triton.cdiv(rows, options["row_block"]) * levels[:, :, 0].numel(),)
            attend_backward_queries[grid](
                q,
                k,
                v,
                queries,
                o,
                levels,
                d_o,
                dq,
                deltas,
                slopes,
                *strides,
                *_attention_strides(o),
                *_attention_strides(d_o),
                *_attention_strides(dq),
                *sizes,
                **options,
            )
        dk, dv = _key_gradients(q, k, v, queries, levels, d_o, deltas, rule)
        d_bias = None
        if slopes is not None:
            d_bias = slopes.sum().to(bias.dtype).view(bias.shape)
        return dq, dk, dv, d_bias, None, None


def _key_gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor | None,
    levels: Tensor,
    d_o: Tensor,
    deltas: Tensor,
    rule: _Rule,
) -> tuple[Tensor, Tensor]:
    """The gradients of k and v: from queries that have them in their window, and those of the
    sinks from all others, in parts that are added up here."""
    rows = levels.shape[2]

    def launch(side: str, parts: int, columns: int, dk: Tensor, dv: Tensor) -> None:
        """dk and dv [P, B, G, S, K or V]"""
        options = _options("keys" if side == "near" else "sinks", q, k, v, rule, queries)
        pairs = k.shape[0] * k.shape[1]
        grid = (triton.cdiv(columns, options["column_block"]) * pairs * parts,)
        attend_backward_keys[grid](
            q,
            k,
            v,
            queries,
            levels,
            d_o,
            deltas,
            dk,
            dv,
            *_attention_strides(q),
            *_attention_strides(k),
            *_attention_strides(v),
            *_attention_strides(d_o),
            *dk.stride()[:4],
            *dv.stride()[:4],
            pairs,
            parts,
            columns,
            k.shape[1],
            *_sizes(q, k, rows, rule)[1:],
            side=side,
            **options,
        )

    dk, dv = _empty(k, k.shape), _empty(v, v.shape)
    if dk.numel():
        launch("near", 1, k.shape[2], dk.unsqueeze(0), dv.unsqueeze(0))
    sinks = 0 if rule.window is None else min(rule.sinks, k.shape[2])
    if dk.numel() and sinks and rows:
        parts = triton.cdiv(rows, _PART)
        shape = (parts, *k.shape[:2], sinks)
        far_k = levels.new_empty(*shape, k.shape[3])
        far_v = levels.new_empty(*shape, v.shape[3])
        launch("far", parts, sinks, far_k, far_v)
        dk[:, :, :sinks] += far_k.sum(dim=0)
        dv[:, :, :sinks] += far_v.sum(dim=0)
    return dk, dv


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
    """``o_t = sum_s w_ts v_s`` with w from the scores of the keys that t sees.

    A single query (a step of decoding) is left to the chunked form.
    """
    if q.shape[2] == 1:
        return attention_in_torch(
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
    rule = _rule(q, k, normaliser, causal, start, window, sinks, alpha, zeta, scale)
    return _apply(q, k, v, bias, None, rule)


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
    """Attention of only the chosen queries of each head, queries [B, H, Q]."""
    rule = _rule(q, k, normaliser, causal, start, window, sinks, alpha, zeta, scale)
    return _apply(q, k, v, bias, queries.contiguous(), rule)


def _rule(
    q: Tensor,
    k: Tensor,
    normaliser: str,
    causal: bool,
    start: int | None,
    window: int | None,
    sinks: int,
    alpha: float,
    zeta: float,
    scale: float | None,
) -> _Rule:
    time, keys = q.shape[2], k.shape[2]
    start = max(keys - time, 0) if start is None else start
    window = None if window is None or window >= keys else window  # all are that near
    scale = q.shape[3] ** -0.5 if scale is None else scale
    return _Rule(normaliser, causal, start, window, sinks, alpha, zeta, scale)


def _apply(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | float | None,
    queries: Tensor | None,
    rule: _Rule,
) -> Tensor:
    if max(q.shape[-1], v.shape[-1]) > _WIDEST:
        raise ValueError(f"attention: the Triton form takes heads of at most {_WIDEST} values")
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    if isinstance(bias, float | int):
        bias = v.new_full((1,), bias, dtype=torch.promote_types(dtype, torch.float32))
    o: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        q.to(dtype), k.to(dtype), v.to(dtype), bias, queries, rule
    )
    return o.to(v.dtype)


def _options(
    kernel: str, q: Tensor, k: Tensor, v: Tensor, rule: _Rule, queries: Tensor | None
) -> dict[str, Any]:
    """What a kernel is compiled for."""
    key_dim, value_dim = q.shape[3], v.shape[3]
    key_block, value_block = (
        max(16, triton.next_power_of_2(width)) for width in (key_dim, value_dim)
    )
    return {
        "scale": rule.scale / math.log(2.0),
        "normaliser": rule.normaliser,
        "causal": rule.causal,
        "windowed": rule.window is not None,
        "routed": queries is not None,
        "key_dim": key_dim,
        "value_dim": value_dim,
        "key_block": key_block,
        "value_block": value_block,
        "precision": "tf32x3" if q.dtype == torch.float32 else "ieee",
        **blocks(
            kernel,
            max(key_block, value_block, 64),
            q.element_size(),
            routed=queries is not None,
        ),
    }


def _sizes(q: Tensor, k: Tensor, rows: int, rule: _Rule) -> tuple[int | float, ...]:
    """Numbers that a kernel takes as they come, in the order of its arguments."""
    heads, time = q.shape[1:3]
    groups, keys = k.shape[1:3]
    window = rule.window or 0
    return (
        heads,
        heads // groups,
        time,
        rows,
        keys,
        rule.start,
        window,
        rule.sinks,
        float(rule.alpha),
        float(rule.zeta),
    )


def _attention_strides(x: Tensor) -> tuple[int, int, int]:
    return x.stride(0), x.stride(1), x.stride(2)


def _with_rows(x: Tensor) -> Tensor:
    """The values of a row lie side by side; the rows may lie as they like."""
    return x if x.stride(3) == 1 else x.contiguous()


def _empty(x: Tensor, shape: torch.Size | tuple[int, ...], *, zeros: bool = False) -> Tensor:
    """[B, H, T, V] as it lies in memory after heads were split, so that joining them is free."""
    batch, heads, time, width = shape
    make = x.new_zeros if zeros else x.new_empty
    return make(batch, time, heads, width).transpose(1, 2)
