"""Several mixers side by side (arXiv 2312.15872).

B batch, T time, D width, N branches
"""

import torch
from torch import Tensor, nn

from nas.search_spaces.pieces.branches.module import BranchStates, states_of


class SideBySideMixers(nn.Module):
    """mixture(branch_1(x), branch_2(x), ...): [B, T, D] -> [B, T, D]"""

    def __init__(self, *, branches: tuple[nn.Module, ...], mixture: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.mixture = mixture

    def empty_state(self) -> BranchStates:
        """What decoding carries from token to token."""
        return BranchStates(self.branches)

    def forward(self, x: Tensor, state: BranchStates | None = None) -> Tensor:
        states = states_of(self.branches, state)
        outputs = [run(x, inner) for run, inner in zip(self.branches, states, strict=True)]
        return self.mixture(torch.stack(outputs))


class Sum(nn.Module):
    """[N, B, T, D] -> [B, T, D]"""

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.sum(0)


class Mean(nn.Module):
    """[N, B, T, D] -> [B, T, D]"""

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.mean(0)


class Learned(nn.Module):
    """Each channel takes a learned share of each branch: [N, B, T, D] -> [B, T, D]"""

    def __init__(self, *, branches: int, dim: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(branches, 1, 1, dim))

    def forward(self, outputs: Tensor) -> Tensor:
        return (self.logits.softmax(0) * outputs).sum(0)
