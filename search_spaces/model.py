"""The language model around any stack of blocks.

B batch, T time, D width, V vocabulary
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        x = self.embedding(tokens, 0 if state is None else state.length)  # [B, T, D]
        for index, block in enumerate(self.blocks):
            x = block(x, None if state is None else state.layers[index])
        if state is not None:
            state.length += tokens.shape[1]
        return self.head(self.norm(x), self.embedding)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats (targets of -100 do not count) plus the auxiliary losses."""
        logits = self(tokens)
        cross_entropy = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        return cross_entropy + self.auxiliary_loss()

    def auxiliary_loss(self) -> Tensor:
        """Sum of what the routers of the last forward pass ask for; zero without routers."""
        total = next(self.parameters()).new_zeros(())
        for module in self.modules():
            if hasattr(module, "balance_loss"):
                total = total + torch.as_tensor(module.balance_loss)
        return total

    def empty_state(self) -> "DecodeState":
        """The state before the first token."""
        return DecodeState([mixer_of(block).empty_state() for block in self.blocks])

    @torch.no_grad()
    def generate(self, tokens: Tensor, count: int) -> Tensor:
        """Appends the `count` most likely tokens, one by one: [B, T] -> [B, T + count]."""
        state, new = self.empty_state(), tokens
        for _ in range(count):
            new = self(new, state)[:, -1:].argmax(dim=-1)
            tokens = torch.cat((tokens, new), dim=1)
        return tokens


class DecodeState:
    """What each layer carries from token to token, and how many tokens were seen."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.length = 0


def mixer_of(block: nn.Module) -> Any:
    """The part of a block that carries state."""
    return next(module for module in block.modules() if hasattr(module, "empty_state"))


class TiedHead(nn.Module):
    """Logits with the embedding's own matrix."""

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return F.linear(x, embedding.token.weight)


class Head(nn.Module):
    """Logits with a matrix of their own."""

    def __init__(self, *, dim: int, vocab: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, vocab, bias=False)

    def forward(self, x: Tensor, embedding: Any) -> Tensor:
        return self.out(x)
