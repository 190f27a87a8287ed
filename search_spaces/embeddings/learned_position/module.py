"""Token embedding plus a learned vector for each position (GPT-2), and for each segment (BERT)."""

from typing import Any

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


class SegmentedEmbedding(nn.Module):
    """Token vector plus position vector plus segment vector: [B, T] -> [B, T, D]."""

    def __init__(self, *, vocab: int, dim: int, max_tokens: int, segments: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        self.position = nn.Embedding(max_tokens, dim)
        self.segment = nn.Embedding(segments, dim)
        nn.init.normal_(self.token.weight, std=dim**-0.5)  # unit logits when the head is tied
        nn.init.normal_(self.position.weight, std=dim**-0.5)
        nn.init.normal_(self.segment.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor, offset: int, segment: Tensor | None = None) -> Tensor:
        """`segment` [B, T] says which segment a token belongs to; without it, all to the first.
        `offset` is the position of the first token; past `max_tokens` is an IndexError."""
        position = torch.arange(offset, offset + tokens.shape[1], device=tokens.device)
        kind = torch.zeros_like(tokens) if segment is None else segment
        return self.token(tokens) + self.position(position) + self.segment(kind)


class NormalisedEmbedding(nn.Module):
    """An embedding with a norm: [B, T] -> [B, T, D]."""

    def __init__(self, *, embedding: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.norm = norm

    @property
    def token(self) -> Any:
        """The table of tokens, which a tied head shares."""
        return self.embedding.token

    def forward(self, tokens: Tensor, offset: int, segment: Tensor | None = None) -> Tensor:
        inputs = (tokens, offset) if segment is None else (tokens, offset, segment)
        return self.norm(self.embedding(*inputs))
