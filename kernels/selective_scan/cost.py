"""Matrix-product FLOPs of the selective scan; a multiply and an add count separately.

Counted is what ``chunked.py`` does, exactly; elementwise work is not, and the recurrence itself is
elementwise. This file needs no torch.
"""

SELECTIVE_BLOCK = 128
"""Time steps whose states exist at once."""


def selective_scan_flops(states: int, channels: int, *, shared_read: bool) -> int:
    """FLOPs per token, in a forward pass as in a decoding step.

    A reading shared by all channels is a product of a vector and the state, 2 N E; a reading of
    each channel's own is elementwise.
    """
    return 2 * states * channels if shared_read else 0


def scratch_values_per_token(context: int, states: int, channels: int) -> int:
    """Of one block of time: decays and writes, what both add up to within chunks, and the latter
    put together."""
    return 5 * states * channels * min(context, SELECTIVE_BLOCK) // context
