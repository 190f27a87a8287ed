"""What can be tuned in the kernels of linear attention.

A choice is (key channels, value channels, warps): the tile of a program, at most, and the warps
that share it. Each leaves the order of sums over time as it is. This file needs no torch.
"""

from typing import Any

CANDIDATES = {
    "carry": ((32, 32, 2), (32, 64, 4), (64, 32, 4), (64, 64, 4), (64, 64, 8)),
    "mix": ((64, 64, 8), (32, 64, 4), (64, 128, 8), (128, 64, 8), (32, 128, 4)),
    "grade": ((32, 64, 4), (64, 32, 4), (64, 64, 8), (32, 32, 4)),
}
"""Of the launches in ``triton.py``; its own defaults need not stand here."""


def key_of(q: Any, k: Any, v: Any, log_decay: Any, *rest: Any) -> str:
    """What decides which choice is best: type, head sizes and kind of decay, not the number of
    heads or tokens, so that results do not depend on them."""
    decays = "one" if log_decay.shape[-1] == 1 else "each"
    kind = str(v.dtype).removeprefix("torch.")
    return f"{kind} K{q.shape[-1]} V{v.shape[-1]} decay {decays}"
