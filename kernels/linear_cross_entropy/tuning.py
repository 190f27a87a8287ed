"""What can be tuned in the kernels of the linear cross-entropy.

A choice is (own rows, rows of the other matrix at a time, warps, stages), as ``_LossBlocks`` has
it. This file needs no torch.
"""

from typing import Any

CANDIDATES = {
    "forward": ((64, 64, 4, 2), (64, 64, 4, 3), (128, 128, 8, 2), (128, 64, 8, 3), (64, 128, 8, 2)),
    "backward": ((64, 64, 4, 2), (64, 64, 8, 3), (128, 64, 8, 3), (64, 32, 4, 2), (32, 64, 4, 2)),
}
"""Of the launches in ``triton.py``; its own defaults need not stand here."""


def key_of(x: Any, weight: Any, *rest: Any) -> str:
    """What decides which choice is best: the type and width; how many rows and tokens of
    vocabulary there are does not, so that a row's loss does not depend on them."""
    return f"{str(x.dtype).removeprefix('torch.')} D{weight.shape[-1]}"
