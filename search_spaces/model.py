"""The models around any stack of blocks.

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


class LargeVocabularyModel(LanguageModel):
    """The same, whose head computes the loss from hidden states."""

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats (targets of -100 do not count) plus the auxiliary losses."""
        head: Any = self.head
        loss: Tensor = head.loss(self.hidden(tokens), self.embedding, targets)
        return loss + auxiliary_loss(self)


class Encoder(nn.Module):
    """Tokens [B, T] to logits [B, T, V], or [B, classes] with a classification head. A token sees
    all tokens of its sequence, later ones too."""

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

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens, 0)  # [B, T, D]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x), self.embedding)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats (targets of -100 do not count) plus the auxiliary losses."""
        logits = self(tokens)
        cross_entropy = F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
        return cross_entropy + auxiliary_loss(self)


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
