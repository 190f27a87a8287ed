"""Token embedding."""

from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """One learned vector for each token: [B, T] -> [B, T, D]."""

    def __init__(self, *, vocab: int, dim: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=dim**-0.5)  # unit logits when the head is tied

    def forward(self, tokens: Tensor, offset: int) -> Tensor:
        return self.token(tokens)


class ScaledTokenEmbedding(nn.Module):
    """One learned vector for each token, times the square root of the width (arXiv 1706.03762,
    section 3.4): [B, T] -> [B, T, D]."""

    def __init__(self, *, vocab: int, dim: int) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.token = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token.weight, std=dim**-0.5)  # scaled, it starts at unit size

    def forward(self, tokens: Tensor, offset: int) -> Tensor:
        return self.token(tokens) * self.scale
