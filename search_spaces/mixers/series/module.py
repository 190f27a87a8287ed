"""Several mixers one after the other (arXiv 2005.08100).

B batch, T time, D width
"""

from torch import Tensor, nn

from nas.search_spaces.pieces.branches.module import BranchStates, states_of


class Series(nn.Module):
    """y = stage_1(x), then y + stage_n(norm_n(x + y)) for each further stage: [B, T, D] -> same.

    The layer adds y to its residual stream, for which x, the normalised stream, stands in here.
    """

    def __init__(self, *, stages: tuple[nn.Module, ...], norms: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.norms = nn.ModuleList(norms)

    def empty_state(self) -> BranchStates:
        """What decoding carries from token to token."""
        return BranchStates(self.stages)

    def forward(self, x: Tensor, state: BranchStates | None = None) -> Tensor:
        first, *others = zip(self.stages, states_of(self.stages, state), strict=True)
        y = first[0](x, first[1])
        for norm, (stage, inner) in zip(self.norms, others, strict=True):
            y = y + stage(norm(x + y), inner)
        return y
