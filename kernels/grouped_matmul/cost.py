"""Matrix-product FLOPs of a grouped matrix product; a multiply and an add count separately.

This file needs no torch.
"""


def forward_flops_per_token(inputs: int, outputs: int) -> int:
    """FLOPs per row: each row is multiplied with the one matrix of its group."""
    return 2 * inputs * outputs


def step_flops(inputs: int, outputs: int) -> int:
    """FLOPs of one row while decoding; the same as a row of a forward pass."""
    return forward_flops_per_token(inputs, outputs)
