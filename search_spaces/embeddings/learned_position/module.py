"""Token embedding plus a learned vector for each position, as in GPT-2."""

import torch
from torch import Tensor, nn


class LearnedPositionEmbedding(nn.Module):
    """Token vector plus position vector: [B, T] -> [B, T, D]."""

    def __init__(self, *, vocab: int, dim: int, max_tokens: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        self.position = nn.Embedding(max_tokens, dim)
        nn.init.normal_(self.token.weight, std=dim**-0.5)  # unit logits when the head is tied
        nn.init.normal_(self.position.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor, offset: int) -> Tensor:
        """`offset` is the position of the first token; past `max_tokens` is an IndexError."""
        position = torch.arange(offset, offset + tokens.shape[1], device=tokens.device)
        return self.token(tokens) + self.position(position)
