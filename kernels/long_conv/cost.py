"""What a long convolution needs. No matrix products, so no FLOPs in the sense of the other ops:
the transforms and the sum of a single step are elementwise work. This file needs no torch.
"""


def transform_length(context: int, taps: int) -> int:
    """Points of the Fourier transforms of a forward pass over ``context`` tokens with a filter of
    ``taps`` taps: a power of two that holds both without wrapping around. One step needs none."""
    return 1 if context == 1 else 1 << (context + min(taps, context) - 2).bit_length()


def scratch_values_per_token(context: int, taps: int) -> int:
    """Real numbers of one channel's spectrum for each token (a complex number counts two)."""
    return -(-(transform_length(context, taps) + 2) // context)
