"""Matrix-product FLOPs of the delta rule with a decay per key channel, per head; a multiply and an
add count separately.

Counted is what ``chunked.py`` does, exactly; elementwise work is not. This file needs no torch.
"""

CHANNEL_DELTA_CHUNK = 16


def forward_flops_per_token(context: int, key_dim: int, value_dim: int) -> int:
    """FLOPs per token of a forward pass over ``context`` tokens, the triangular solve left out.

    With C tokens in a chunk: k k^T, q k^T and the inverse times k take 2 C K each; the inverse
    times v and the scores times the corrections take 2 C V each; correcting, writing and reading
    the state take 2 K V each. A last chunk that is not full costs as much as a full one, which is
    left out here. Counters of matrix products do not see the solve, so it has its own function.
    """
    if context == 1:
        return step_flops(key_dim, value_dim)
    chunk = min(context, CHANNEL_DELTA_CHUNK)
    return chunk * (6 * key_dim + 4 * value_dim) + 6 * key_dim * value_dim


def solve_flops_per_token(context: int) -> int:
    """FLOPs per token of inverting the unit triangular matrix of a chunk, C (C - 1)."""
    chunk = min(context, CHANNEL_DELTA_CHUNK)
    return chunk * (chunk - 1)


def step_flops(key_dim: int, value_dim: int) -> int:
    """FLOPs of one decoding step: reading the state at the key and at the query."""
    return 4 * key_dim * value_dim
