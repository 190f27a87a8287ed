"""Matrix-product FLOPs of taking the largest scores: there are none. This file needs no torch."""


def forward_flops_per_token(entries: int, k: int) -> int:
    """FLOPs per row in matrix products; all of the work is comparisons."""
    del entries, k
    return 0


def step_flops(entries: int, k: int) -> int:
    """FLOPs of one decoding step; the same as a row of a forward pass."""
    return forward_flops_per_token(entries, k)
