"""A causal language model found by architecture search: architecture ba655d83e2bc.

Study golden, trial 3. This file needs Python 3.11 and PyTorch, nothing else.

Size
    parameters  943,744
    layers      6
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
    GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints
        https://arxiv.org/abs/2305.13245
    Sparse Query Attention (SQA): A Computationally Efficient Attention Mechanism with Query Heads
    Reduction
        https://arxiv.org/abs/2510.01817
    Wide Attention Is The Way Forward For Transformers?
        https://arxiv.org/abs/2210.00640
    RoFormer: Enhanced Transformer with Rotary Position Embedding
        https://arxiv.org/abs/2104.09864
    GLU Variants Improve Transformer
        https://arxiv.org/abs/2002.05202
    On Layer Normalization in the Transformer Architecture
        https://arxiv.org/abs/2002.04745
    Root Mean Square Layer Normalization
        https://arxiv.org/abs/1910.07467
    MetaFormer Is Actually What You Need for Vision
        https://arxiv.org/abs/2111.11418

Use
    python model.py                      # prints the size, a forward pass and a few decoded tokens
    torch.manual_seed(0)
    model = build()                      # with the weights that training began with
    loss = model.loss(tokens, targets)   # tokens and targets [B, T]; in nats
    tokens = model.generate(tokens, 32)  # greedy decoding with carried state
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


# No mixing: the control of every mixer study.


class Identity(nn.Module):
    """Returns x [B, T, D]; tokens do not see each other."""

    def empty_state(self) -> None:
        """Nothing is carried."""
        return None

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        return x


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


def layer_1() -> SequentialBlock:
    """Blocks 0, 4."""
    return SequentialBlock(
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
        ffn=PreNorm(norm=RMSNorm(dim=128), inner=SwiGLU(dim=128, hidden=352, bias=False)),
    )


def layer_2() -> SequentialBlock:
    """Blocks 1 to 3, 5."""
    return SequentialBlock(
        mixer=PreNorm(norm=RMSNorm(dim=128), inner=Identity()),
        ffn=PreNorm(norm=RMSNorm(dim=128), inner=SwiGLU(dim=128, hidden=352, bias=False)),
    )


def build() -> LanguageModel:
    """The model. After `torch.manual_seed(SEED)`, with the weights that training began with."""
    return LanguageModel(
        embedding=TokenEmbedding(vocab=256, dim=128),
        blocks=(layer_1(), *(layer_2() for _ in range(3)), layer_1(), layer_2()),
        norm=RMSNorm(dim=128),
        head=TiedHead(),
    )


if __name__ == "__main__":
    torch.manual_seed(SEED)
    model = build()
    try_out(model, vocab=256, prompt=16, new=8)
