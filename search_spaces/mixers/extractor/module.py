"""The Extractor family (arXiv 2308.07661).

B batch, T time, D width, L longest input
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.kernels.long_conv.api import long_conv
from nas.search_spaces.mixers.long_conv.module import check_length
from nas.search_spaces.pieces.carried.module import Carried


class OffsetMatrices(nn.Module):
    """Σ_s x_s W_{t-s} with a matrix for each distance.

    x [B, T, D] after `past` [B, P, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, max_tokens: int) -> None:
        super().__init__()
        # the squares over all distances add up slowly, so that near tokens start out stronger
        size = torch.arange(1, max_tokens + 1).rsqrt() * dim**-0.5
        self.weight = nn.Parameter(torch.randn(max_tokens, dim, dim) * size[:, None, None])

    def forward(self, x: Tensor, past: Tensor | None) -> Tensor:
        seen = x if past is None else torch.cat((past, x), dim=1)
        total = seen.shape[1]
        weight = self.weight[:total].flip(0)  # the most distant first: [P + T, D, D]
        if x.shape[1] == 1:
            return (seen.flatten(1) @ weight.flatten(0, 1))[:, None]
        taps = weight.permute(2, 1, 0).contiguous()  # [D out, D in, P + T]
        return F.conv1d(F.pad(seen.mT, (x.shape[1] - 1, 0)), taps).mT


class OffsetVectors(nn.Module):
    """Σ_s w_{t-s} ⊙ x_s with a vector for each distance, or a number where `channels` is 1.

    x [B, T, D] after `past` [B, P, D] -> [B, T, D]
    """

    def __init__(self, *, channels: int, max_tokens: int) -> None:
        super().__init__()
        size = torch.arange(1, max_tokens + 1).rsqrt()
        self.weight = nn.Parameter(torch.randn(channels, max_tokens) * size)

    def forward(self, x: Tensor, past: Tensor | None) -> Tensor:
        taps = self.weight.expand(x.shape[2], -1)
        return long_conv(x.mT, taps, None if past is None else past.mT).mT


class VectorsThenMatrix(nn.Module):
    """What `vectors` extracts, through one matrix for all distances: [B, T, D] -> [B, T, D]"""

    def __init__(self, *, dim: int, vectors: nn.Module) -> None:
        super().__init__()
        self.vectors = vectors
        self.matrix = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, past: Tensor | None) -> Tensor:
        return self.matrix(self.vectors(x, past))


class Extractor(nn.Module):
    """What is extracted from the tokens so far, adjusted by the present one.

    [B, T, D] -> [B, T, D]
    """

    def __init__(self, *, dim: int, max_tokens: int, extract: nn.Module) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.extract = extract
        self.adjust = nn.Linear(dim, dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        past = None if state is None else state.get("inputs")
        check_length(x.shape[1] + (0 if past is None else past.shape[1]), self.max_tokens)
        if state is not None:
            state.tensors["inputs"] = x if past is None else torch.cat((past, x), dim=1)
        return self.extract(x, past) * self.adjust(x)
