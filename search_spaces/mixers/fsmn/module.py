"""The gated memory block of MossFormer2 (arXiv 2312.11825).

B batch, T time, D width, C inner width, N = layers of the memory
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.search_spaces.norms.rms.module import RMSNorm
from nas.search_spaces.pieces.carried.module import Carried


class ConvUnit(nn.Module):
    """s + conv(s) with s = silu(W rms(x)): [B, T, C] -> [B, T, C]"""

    def __init__(self, *, inner: int, conv: nn.Module) -> None:
        super().__init__()
        self.norm = RMSNorm(dim=inner)
        self.linear = nn.Linear(inner, inner)
        self.conv = conv

    def forward(self, x: Tensor, state: Carried | None, name: str) -> Tensor:
        s = F.silu(self.linear(self.norm(x)))
        return s + self.conv(s, state, name)


class DenseMemoryLayer(nn.Module):
    """Each channel over its values in all layers before: features of [B, T, C] -> [B, T, C]"""

    def __init__(self, *, inner: int, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = RMSNorm(dim=inner)
        self.slope = nn.Parameter(torch.full((inner,), 0.25))

    def forward(self, features: list[Tensor], state: Carried | None, name: str) -> Tensor:
        together = torch.stack(features, dim=-1).flatten(2)  # the layers of a channel side by side
        y = self.norm(self.conv(together, state, name))
        return torch.where(y > 0, y, self.slope * y)


class DilatedMemory(nn.Module):
    """x + what a bottleneck and densely connected dilated convolutions make of it.

    [B, T, C] -> [B, T, C]
    """

    def __init__(self, *, inner: int, layers: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.hidden = nn.Linear(inner, inner)
        self.project = nn.Linear(inner, inner, bias=False)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        features = [self.project(F.relu(self.hidden(x)))]
        for index, layer in enumerate(self.layers):
            features.append(layer(features, state, f"memory {index}"))
        return x + features[-1]


class GatedMemory(nn.Module):
    """A branch with memory, multiplied by a branch without: [B, T, D] -> [B, T, D]"""

    def __init__(
        self, *, dim: int, inner: int, kept: nn.Module, gate: nn.Module, memory: nn.Module
    ) -> None:
        super().__init__()
        self.narrow = nn.Linear(dim, inner)
        self.norm = RMSNorm(dim=inner)
        self.kept = kept
        self.gate = gate
        self.memory = memory
        self.out_norm = RMSNorm(dim=inner)
        self.out = nn.Linear(inner, dim)

    def empty_state(self) -> Carried:
        """What decoding carries from token to token."""
        return Carried()

    def forward(self, x: Tensor, state: Carried | None = None) -> Tensor:
        h = self.norm(F.leaky_relu(self.narrow(x), 0.25))
        kept = self.memory(self.kept(h, state, "kept"), state)
        return self.out(self.out_norm(self.gate(h, state, "gate") * kept + h))
