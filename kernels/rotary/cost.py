"""Matrix-product FLOPs of rotary positions: there are none. This file needs no torch."""


def forward_flops_per_token(heads: int, key_heads: int, head_dim: int) -> int:
    """FLOPs per token in matrix products; all of the work is elementwise."""
    del heads, key_heads, head_dim
    return 0


def step_flops(heads: int, key_heads: int, head_dim: int) -> int:
    """FLOPs of one decoding step; the same as a token of a forward pass."""
    return forward_flops_per_token(heads, key_heads, head_dim)
