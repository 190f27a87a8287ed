"""Matrix-product FLOPs of linear attention, per head; a multiply and an add count separately.

Counted is what ``chunked.py`` does, exactly; elementwise work is not. This file needs no torch.
"""

LINEAR_CHUNK = 32
LINEAR_CHANNEL_CHUNK = 16


def forward_flops_per_token(
    context: int, key_dim: int, value_dim: int, *, per_channel: bool = False
) -> int:
    """FLOPs per token of a forward pass over ``context`` tokens.

    Inside a chunk of C tokens q k^T takes 2 C K and its product with v takes 2 C V; writing the
    state and reading it take 2 K V each. A last chunk that is not full costs as much as a full one,
    which is left out here. ``per_channel`` says that there is one decay per key channel.
    """
    if context == 1:
        return step_flops(key_dim, value_dim)
    chunk = min(context, LINEAR_CHANNEL_CHUNK if per_channel else LINEAR_CHUNK)
    return 2 * chunk * (key_dim + value_dim) + 4 * key_dim * value_dim


def step_flops(key_dim: int, value_dim: int) -> int:
    """FLOPs of one decoding step: reading the state, as the write to it is elementwise."""
    return 2 * key_dim * value_dim
