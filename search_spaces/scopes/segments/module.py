"""Attention inside segments (arXiv 2305.19585). Shapes as all scopes have them."""

from torch import Tensor, nn

from nas.search_spaces.scopes.blocks.module import block_by_block


class OwnSegment(nn.Module):
    """A token sees the tokens of its own segment, one of `count` of equal length.

    q [B, H, T, K], k and v [B, G, T, K] -> [B, H, T, K]; the last segment may be shorter.
    """

    def __init__(self, *, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, q: Tensor, k: Tensor, v: Tensor, start: int = 0) -> Tensor:
        length = -(-q.shape[2] // self.count)
        return block_by_block(q, k, v, length, causal=False)


class SameSegment(nn.Module):
    """Which keys are visible: those in the query's segment. rows [T], columns [T] -> [T, T]"""

    def __init__(self, *, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        length = -(-len(columns) // self.count)
        return rows[:, None] // length == columns // length
