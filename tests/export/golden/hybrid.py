"""A causal language model found by architecture search: architecture 62312fb53948.

Study golden, trial 3. This file needs Python 3.11 and PyTorch, nothing else.

Size
    parameters  2,566,120
    layers      12
    width       128
    vocabulary  256

Measured
    text.loss              2.25 nats
    decode.latency_ms@256  0.5 ms (0.45 to 0.625, 10th to 90th percentile of 50)

Target
    device    cpu
    contexts  256
    batch     1
    dtype     float32

Environment
    torch   2.13.0
    device  cpu
    dtype   float32
    impl    chunked

Papers
    Using the Output Embedding to Improve Language Models
        https://arxiv.org/abs/1608.05859
    Attention Is All You Need
        https://arxiv.org/abs/1706.03762
    Gated Delta Networks: Improving Mamba2 with Delta Rule
        https://arxiv.org/abs/2412.06464
    Parallelizing Linear Transformers with the Delta Rule over Sequence Length
        https://arxiv.org/abs/2406.06484
    A Systematic Analysis of Hybrid Linear Attention
        https://arxiv.org/abs/2507.06457
    GLU Variants Improve Transformer
        https://arxiv.org/abs/2002.05202
    On Layer Normalization in the Transformer Architecture
        https://arxiv.org/abs/2002.04745
    Root Mean Square Layer Normalization
        https://arxiv.org/abs/1910.07467
    GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints
        https://arxiv.org/abs/2305.13245
    Sparse Query Attention (SQA): A Computationally Efficient Attention Mechanism with Query Heads
    Reduction
        https://arxiv.org/abs/2510.01817
    Wide Attention Is The Way Forward For Transformers?
        https://arxiv.org/abs/2210.00640
    RoFormer: Enhanced Transformer with Rotary Position Embedding
        https://arxiv.org/abs/2104.09864

Use
    python model.py                      # prints the size, a forward pass and a few decoded tokens
    torch.manual_seed(0)
    model = build()                      # with the weights that training began with
    weights = load_safetensors(Path('weights.safetensors'))
    model.load_state_dict(weights)       # the trained weights
    loss = model.loss(tokens, targets)   # tokens and targets [B, T]; in nats
    tokens = model.generate(tokens, 32)  # greedy decoding with carried state
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

SEED = 0


# Token embedding.


class TokenEmbedding(nn.Module):
    """One learned vector for each token: [B, T] -> [B, T, D]."""

    def __init__(self, *, vocab: int, dim: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=dim**-0.5)  # unit logits when the head is tied

    def forward(self, tokens: Tensor, offset: int) -> Tensor:
        return self.token(tokens)


# Root-mean-square normalisation (arXiv 1910.07467).


class RMSNorm(nn.Module):
    """x / rms(x) * weight, over the last axis."""

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, eps=1e-6)


# A short causal convolution as a sum of shifted products, a stretch of time after another.
#
# Shapes: B batch, T time, C channels, W width.

SHORT_CONV_VALUES = 2**17  # results at a time, so that a sum over taps stays in a CPU's cache


def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    latest: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``y_t = sum_{j < W} weight_j x_{t - W + 1 + j} + bias``, then SiLU if activation is "silu".

    x [B, T, C]; weight [C, W]; bias [C]; latest [B, W - 1, C] are the inputs before x, None is
    zeros. Returns y [B, T, C] in x's dtype and the latest inputs for the next call.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    time, past = x.shape[1], weight.shape[1] - 1
    before = F.pad(x, (0, 0, past, 0)) if latest is None else torch.cat((latest.to(x.dtype), x), 1)
    taps, inputs = weight.to(dtype).mT.contiguous(), before.to(dtype)  # [W, C], [B, W - 1 + T, C]
    if time == 1:
        y = (inputs * taps).sum(dim=1, keepdim=True)
    else:
        run: Any = _ShiftedProducts.apply
        y = run(inputs, taps)
    y = y if bias is None else y + bias.to(dtype)
    y = F.silu(y) if activation == "silu" else y
    return y.to(x.dtype), before[:, time:].clone()  # a slice would keep all of x alive


def _shifted_products(x: Tensor, taps: Tensor) -> Tensor:
    """[B, T + W - 1, C] and [W, C] to [B, T, C]: ``y_t = sum_j taps_j x_{t + j}``."""
    time = x.shape[1] - taps.shape[0] + 1
    y = x.new_empty(x.shape[0], time, x.shape[2])
    for part in _short_stretches(y):
        stretch = y[:, part]
        for j, tap in enumerate(taps.unbind(0)):
            shifted = x[:, part.start + j : part.stop + j]
            if j == 0:
                torch.mul(shifted, tap, out=stretch)
            else:
                stretch.addcmul_(shifted, tap)
    return y


def _short_stretches(y: Tensor) -> list[slice]:
    batch, time, channels = y.shape
    length = SHORT_CONV_VALUES // (batch * channels) if y.device.type == "cpu" else time
    length = max(1, min(length, time))
    return [slice(start, min(start + length, time)) for start in range(0, time, length)]


class _ShiftedProducts(torch.autograd.Function):
    """`_shifted_products` with a gradient that makes no copy of the inputs for each tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        return _shifted_products(x, taps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, taps = ctx.saved_tensors
        width, dx, dtaps = taps.shape[0], None, None
        if ctx.needs_input_grad[0]:
            dx = _shifted_products(F.pad(dy, (0, 0, width - 1, width - 1)), taps.flip(0))
        if ctx.needs_input_grad[1]:
            dtaps = torch.zeros_like(taps)
            for part in _short_stretches(dy):
                pieces = (x[:, part.start + j : part.stop + j] for j in range(width))
                dtaps += torch.stack([(piece * dy[:, part]).sum((0, 1)) for piece in pieces])
        return dx, dtaps


# Depthwise causal convolution: each channel over its own latest values.
#
# B batch, T time, C channels


class ShortConv(nn.Module):
    """Each channel over its last `width` values: [B, T, C] -> [B, T, C]"""

    def __init__(self, *, channels: int, width: int, bias: bool = False) -> None:
        super().__init__()
        # holds the weight [C, 1, width] and its first values; never called
        self.conv = nn.Conv1d(channels, channels, width, groups=channels, bias=bias)

    def forward(self, x: Tensor, latest: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`latest` [B, width - 1, C] are the inputs before x (None is zeros); also returns those
        that the next call needs."""
        return short_conv(x, self.conv.weight.squeeze(1), self.conv.bias, latest)


# What a recurrent mixer carries from token to token.


class Carried:
    """Tensors by name, each [B, ...], and how many tokens were seen."""

    def __init__(self) -> None:
        self.length = 0
        self.tensors: dict[str, Tensor] = {}

    def get(self, name: str) -> Tensor | None:
        """The tensor of that name; None before the first token."""
        return self.tensors.get(name)

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        return sum(tensor[0].numel() for tensor in self.tensors.values())


# The gated delta rule in chunks of time, by the WY form of a product of rank-one corrections.
#
# Shapes: B batch, H heads, T time, K key width, V value width, N chunks, C chunk length.

DELTA_CHUNK = 32


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T``; ``o_t = S_t^T q_t``.

    q, k [B, H, T, K], k of length 1 at most; v [B, H, T, V]; log_decay g, at most 0, and beta, in
    [0, 2], broadcastable to [B, H, T]; state [B, H, K, V] or None for zeros. Returns o [B, H, T, V]
    in v's dtype and the last state.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = v.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    q, k, values, state = q.to(dtype), k.to(dtype), v.to(dtype), state.to(dtype)
    log_decay, beta = log_decay.to(dtype).unsqueeze(-1), beta.to(dtype).unsqueeze(-1)
    run = _delta_step if q.shape[2] == 1 else _delta_chunks
    o, state = run(q, k, values, log_decay, beta, state)
    return o.to(v.dtype), state


def _delta_step(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    state = log_decay.exp() * state
    state = torch.addcmul(state, k.mT, beta * (v - k @ state))
    return q @ state, state


def _delta_chunks(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    time = q.shape[2]
    length = min(time, DELTA_CHUNK)
    log_decay, beta = log_decay.expand(-1, -1, time, -1), beta.expand(-1, -1, time, -1)
    q, k, v, log_decay, beta = (_delta_split(x, length) for x in (q, k, v, log_decay, beta))
    total = log_decay.cumsum(3)  # [B, H, N, C, 1]
    last = total[:, :, :, -1:]
    between = _delta_pairwise(total)

    # Inside a chunk S_t = exp(total_t) S + sum_{s<=t} exp(total_t - total_s) k_s u_s^T, where the
    # corrections u solve (I + lower) u = beta (v - exp(total) k S); both sides of the minus sign
    # are solved for all chunks at once, and S comes in when the loop reaches its chunk.
    inverse = _delta_inverse(beta * (k @ k.mT) * between)
    from_v, from_k = inverse @ (beta * v), inverse @ (beta * total.exp() * k)
    scores = (q @ k.mT) * between  # [B, H, N, C, C]
    q, k = q * total.exp(), (k * (last - total).exp()).mT
    corrections, before = [], []
    chunks = (x.unbind(2) for x in (from_v, from_k, k, last.exp()))
    for value, key, write, fade in zip(*chunks, strict=True):
        correction = value - key @ state  # [B, H, C, V]
        corrections.append(correction)
        before.append(state)
        state = fade * state + write @ correction
    o = scores @ torch.stack(corrections, dim=2) + q @ torch.stack(before, dim=2)
    return o.flatten(2, 3)[:, :, :time], state


def _delta_inverse(lower: Tensor) -> Tensor:
    """Inverse of I + lower, of which only the part below the diagonal is read."""
    eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device).expand_as(lower)
    inverse: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False, unitriangular=True)
    return inverse


def _delta_split(x: Tensor, length: int) -> Tensor:
    """[B, H, T, D] to [B, H, N, C, D]; zeros at the end change neither outputs nor state."""
    extra = -x.shape[2] % length
    if extra:
        x = pad(x, (0, 0, 0, extra))
    return x.contiguous().view(*x.shape[:2], -1, length, x.shape[3])


def _delta_pairwise(total: Tensor) -> Tensor:
    """exp of the decay between two times of a chunk: [B, H, N, C, 1] to [B, H, N, C, C]."""
    length = total.shape[3]
    future = torch.ones(length, length, dtype=torch.bool, device=total.device).triu(1)
    return (total - total.mT).masked_fill_(future, -torch.inf).exp_()


# Softmax attention with grouped keys and values (arXiv 1706.03762, 2305.13245).
#
# B batch, T time, S keys held, H query heads, G key and value heads, K head width


class Attention(nn.Module):
    """Softmax attention. groups = heads is MHA, groups = 1 is MQA, between them GQA.

    [B, T, D] -> [B, T, D]; `scope` says which keys a query sees, and weighs them.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        groups: int,
        head_dim: int,
        bias: bool,
        position: nn.Module,
        scope: Any,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.position = position
        self.scope = scope
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, groups * head_dim, bias=bias)
        self.value = nn.Linear(dim, groups * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, dim, bias=bias)

    def empty_state(self) -> Any:
        """What decoding carries from token to token."""
        return self.scope.empty_cache()

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        start = 0 if state is None else state.length
        q = self.position(split_heads(self.query(x), self.head_dim), start)  # [B, H, T, K]
        k = self.position(split_heads(self.key(x), self.head_dim), start)  # [B, G, T, K]
        v = split_heads(self.value(x), self.head_dim)
        if state is not None:
            k, v = state.append(k, v)  # [B, G, S, K]
        return self.out(self.scope(q, k, v, start).transpose(1, 2).flatten(2))


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, T, H * K] -> [B, H, T, K]"""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


# Gated DeltaNet (arXiv 2412.06464) and DeltaNet (arXiv 2406.06484).
#
# B batch, T time, D width, H heads, K key width, V value width, C channels of q, k, v together

SLOWEST_STEP = 0.001
FASTEST_STEP = 0.1  # between these the steps of the decay start, as in Mamba-2 (arXiv 2405.21060)


class GatedDelta(nn.Module):
    """A matrix that maps keys to values; each token moves what it holds at k towards v.

    [B, T, D] -> [B, T, D]
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        conv: nn.Module,
        feature: nn.Module,
        largest_beta: float,
        decay: nn.Module,
        output_gate: nn.Module,
    ) -> None:
        super().__init__()
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.largest_beta = largest_beta
        self.widths = (heads * key_dim, heads * key_dim, heads * value_dim)
        self.qkv = nn.Linear(dim, sum(self.widths), bias=False)
        self.conv = conv
        self.feature = feature
        self.beta = nn.Linear(dim, heads, bias=False)
        self.decay = decay
        self.norm = RMSNorm(dim=value_dim)  # the same weights for each head
        self.output_gate = output_gate
        self.out = nn.Linear(heads * value_dim, dim, bias=False)

    def empty_state(self) -> Carried:
        """The matrix [B, H, K, V] and the latest inputs of the convolution [B, conv - 1, C]."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        state = Carried() if state is None else state
        qkv, latest = self.conv(self.qkv(x), state.get("latest"))  # [B, T, C]
        q, k, v = qkv.split(self.widths, dim=-1)
        q, k = unit_heads(self.feature(q), self.key_dim), unit_heads(self.feature(k), self.key_dim)
        v = split_heads(F.silu(v), self.value_dim)  # [B, H, T, V]
        beta = self.largest_beta * self.beta(x).sigmoid().mT  # [B, H, T]
        q = q * self.key_dim**-0.5
        o, matrix = gated_delta_rule(q, k, v, self.decay(x), beta, state.get("matrix"))
        state.tensors = {"matrix": matrix, "latest": latest}
        state.length += x.shape[1]
        o = self.norm(o).transpose(1, 2).flatten(2)  # [B, T, H * V]
        return self.out(self.output_gate(o, x))


def unit_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, T, H * K] -> [B, H, T, K] of length one; unit keys keep the correction a contraction."""
    return F.normalize(split_heads(x, head_dim), dim=-1)


class LearnedDecay(nn.Module):
    """Logarithm of the factor by which the state fades, -exp(a_log) softplus(rate(x) + bias).

    [B, T, D] -> [B, H, T]
    """

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.rate = nn.Linear(dim, heads, bias=False)
        self.a_log = nn.Parameter(torch.empty(heads).uniform_(1.0, 16.0).log())
        step = torch.empty(heads).uniform_(math.log(SLOWEST_STEP), math.log(FASTEST_STEP)).exp()
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # inverse softplus

    def forward(self, x: Tensor) -> Tensor:
        # in float32 at least: a factor near one decides how long the memory is
        dtype = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(self.rate(x).to(dtype) + self.step_bias.to(dtype))  # [B, T, H]
        return -(self.a_log.to(dtype).exp() * step).mT


class SwishGate(nn.Module):
    """y * silu(gate(x)), for y [B, T, W] and x [B, T, D]."""

    def __init__(self, *, dim: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, width, bias=False)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y * F.silu(self.gate(x))


# Pre-norm residual (arXiv 2002.04745).


class PreNorm(nn.Module):
    """x + inner(norm(x))"""

    def __init__(self, *, norm: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.inner = inner

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x + self.inner(self.norm(x), state)


# Gated FFN with SiLU (arXiv 2002.05202).


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))"""

    def __init__(self, *, dim: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


# Mixer, then FFN.


class SequentialBlock(nn.Module):
    """ffn(mixer(x)); each of the two brings its own residual. The state belongs to the mixer."""

    def __init__(self, *, mixer: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.ffn = ffn

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return self.ffn(self.mixer(x, state))


# Rotary position embedding (arXiv 2104.09864).


class Rotary(nn.Module):
    """Turns channel pairs (i, i + K/2) of x [B, H, T, K] by position x base^(-2i/K)."""

    def __init__(self, *, base: float) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, offset: int) -> Tensor:
        """`offset` is the position of the first token of x."""
        half = x.shape[-1] // 2
        channel = torch.arange(half, device=x.device, dtype=torch.float32)
        position = torch.arange(offset, offset + x.shape[-2], device=x.device, dtype=torch.float32)
        angle = torch.outer(position, self.base ** (-channel / half))  # [T, K/2]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        left, right = x.chunk(2, dim=-1)
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


# What scopes of softmax attention have in common.
#
# B batch, T new tokens, S keys held, H query heads, G key and value heads, K and V head widths
#
# A scope is called with q [B, H, T, K], k [B, G, S, K], v [B, G, S, V] and the position of the
# first query, and returns [B, H, T, V]. Unless its cache says otherwise, the keys are those of the
# last S tokens up to the last query.


class KeyValueCache:
    """Keys and values of the tokens seen so far; grows by doubling, so a step copies little.

    With a window, only the last `window` tokens are kept.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.length = 0  # tokens seen
        self.first = 0  # where the kept tokens start in the buffers
        self.kept = 0
        self.keys: Tensor | None = None  # [B, G, capacity, K]
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Takes [B, G, T, K], returns all that the new tokens may see: [B, G, S, K]."""
        new = keys.shape[2]
        self._make_room(keys, values, new)
        assert self.keys is not None
        assert self.values is not None
        end = self.first + self.kept + new
        self.keys[:, :, end - new : end] = keys
        self.values[:, :, end - new : end] = values
        seen = slice(self.first, end)
        self.length, self.kept = self.length + new, self.kept + new
        if self.window is not None and self.kept > self.window:
            # the first new token sees `window - 1` of those before it, the others fewer
            seen = slice(max(self.first, end - new - self.window + 1), end)
            self.first, self.kept = end - self.window, self.window
        return self.keys[:, :, seen], self.values[:, :, seen]

    def values_held(self) -> int:
        """Numbers that have to be kept for one sequence."""
        if self.keys is None or self.values is None:
            return 0
        return self.kept * (self.keys[0, :, 0].numel() + self.values[0, :, 0].numel())

    def _make_room(self, keys: Tensor, values: Tensor, new: int) -> None:
        need = self.kept + new
        if self.keys is not None and self.first + need <= self.keys.shape[2]:
            return
        self.keys = self._moved(self.keys, keys, 2 * need)
        self.values = self._moved(self.values, values, 2 * need)
        self.first = 0

    def _moved(self, old: Tensor | None, like: Tensor, capacity: int) -> Tensor:
        buffer = like.new_empty(like.shape[0], like.shape[1], capacity, like.shape[3])
        if old is not None:
            buffer[:, :, : self.kept] = old[:, :, self.first : self.first + self.kept]
        return buffer


# A query sees every key (arXiv 1706.03762). Shapes as all scopes have them.


class Everything(nn.Module):
    """A token sees all tokens before it: the last T of S tokens attend to all S.

    q [B, H, T, K], k and v [B, G, S, K] -> [B, H, T, K]
    """

    def empty_cache(self) -> KeyValueCache:
        """Keys and values that decoding keeps."""
        return KeyValueCache()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        new, seen = q.shape[2], k.shape[2]
        grouped = q.shape[1] != k.shape[1]
        if new == seen:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        mask = None  # a single new token sees everything
        if new > 1:
            mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


# Logits of the next token: [B, T, D] -> [B, T, V].


class TiedHead(nn.Module):
    """Logits with the embedding's own matrix."""

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return F.linear(x, embedding.token.weight)


# The models around any stack of blocks.
#
# B batch, T time, D width, V vocabulary


class LanguageModel(nn.Module):
    """Tokens [B, T] to logits [B, T, V]."""

    def __init__(
        self,
        *,
        embedding: nn.Module,
        blocks: tuple[nn.Module, ...],
        norm: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = head

    def forward(self, tokens: Tensor, state: "DecodeState | None" = None) -> Tensor:
        """With a state from `empty_state`, `tokens` continue what the state has seen."""
        return self.head(self.hidden(tokens, state), self.embedding)

    def hidden(self, tokens: Tensor, state: "DecodeState | None" = None) -> Tensor:
        """What the head reads: [B, T] to [B, T, D]."""
        x = self.embedding(tokens, 0 if state is None else state.length)  # [B, T, D]
        for index, block in enumerate(self.blocks):
            x = block(x, None if state is None else state.layers[index])
        if state is not None:
            state.length += tokens.shape[1]
        return self.norm(x)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats (targets of -100 do not count) plus the auxiliary losses."""
        logits = self(tokens)
        cross_entropy = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        return cross_entropy + auxiliary_loss(self)

    def empty_state(self) -> "DecodeState":
        """The state before the first token."""
        return DecodeState([carried_by(block) for block in self.blocks])

    @torch.no_grad()
    def generate(self, tokens: Tensor, count: int) -> Tensor:
        """Appends the `count` most likely tokens, one by one: [B, T] -> [B, T + count]."""
        state, new = self.empty_state(), tokens
        for _ in range(count):
            new = self(new, state)[:, -1:].argmax(dim=-1)
            tokens = torch.cat((tokens, new), dim=1)
        return tokens


def auxiliary_loss(model: nn.Module) -> Tensor:
    """Sum of what the routers of the last forward pass ask for; zero without routers."""
    total = next(model.parameters()).new_zeros(())
    for module in model.modules():
        if hasattr(module, "balance_loss"):
            total = total + torch.as_tensor(module.balance_loss)
    return total


class DecodeState:
    """What each layer carries from token to token, and how many tokens were seen."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.length = 0


def carried_by(block: nn.Module) -> Any:
    """What the mixer of a block carries before the first token; None where there is no mixer."""
    mixer: Any = next((m for m in block.modules() if hasattr(m, "empty_state")), None)
    return None if mixer is None else mixer.empty_state()


# Trying the model out.


def try_out(model: LanguageModel, *, vocab: int, prompt: int, new: int) -> None:
    """Prints the number of parameters, a forward pass and a few decoded tokens."""
    model.eval()
    tokens = torch.randint(vocab, (1, prompt))
    with torch.no_grad():
        logits = model(tokens)
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")
    print(f"forward:    tokens {list(tokens.shape)} -> logits {list(logits.shape)}")
    print(f"decoded:    {model.generate(tokens, new)[0, prompt:].tolist()}")


# Loading weights.


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from a file in the safetensors format."""
    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    kinds |= {"BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    tensors = {}
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        kind = kinds[entry["dtype"]]
        count = (last - first) // kind.itemsize
        flat = torch.frombuffer(data, dtype=kind, count=count, offset=start + first)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def build() -> LanguageModel:
    """The model. After `torch.manual_seed(SEED)`, with the weights that training began with."""
    return LanguageModel(
        embedding=TokenEmbedding(vocab=256, dim=128),
        blocks=tuple(
            block
            for _ in range(3)
            for block in (
                *(
                    SequentialBlock(
                        mixer=PreNorm(
                            norm=RMSNorm(dim=128),
                            inner=GatedDelta(
                                dim=128,
                                heads=4,
                                key_dim=32,
                                value_dim=32,
                                conv=ShortConv(channels=384, width=4),
                                feature=nn.SiLU(),
                                largest_beta=1.0,
                                decay=LearnedDecay(dim=128, heads=4),
                                output_gate=SwishGate(dim=128, width=128),
                            ),
                        ),
                        ffn=PreNorm(
                            norm=RMSNorm(dim=128), inner=SwiGLU(dim=128, hidden=352, bias=False)
                        ),
                    )
                    for _ in range(3)
                ),
                SequentialBlock(
                    mixer=PreNorm(
                        norm=RMSNorm(dim=128),
                        inner=Attention(
                            dim=128,
                            heads=4,
                            groups=2,
                            head_dim=32,
                            bias=False,
                            position=Rotary(base=10000.0),
                            scope=Everything(),
                        ),
                    ),
                    ffn=PreNorm(
                        norm=RMSNorm(dim=128), inner=SwiGLU(dim=128, hidden=352, bias=False)
                    ),
                ),
            )
        ),
        norm=RMSNorm(dim=128),
        head=TiedHead(),
    )


if __name__ == "__main__":
    torch.manual_seed(SEED)
    model = build()
    weights = Path(__file__).with_name("weights.safetensors")
    if weights.exists():
        model.load_state_dict(load_safetensors(weights))
    try_out(model, vocab=256, prompt=16, new=8)
