"""What a short convolution costs. Its taps are products of single values, so that it has no matrix
products and counts no FLOPs, as ``torch.utils.flop_counter`` counts none. This file needs no torch.
"""


def short_conv_flops(channels: int, width: int) -> int:
    """FLOPs per token in matrix products, in a forward pass as in a decoding step."""
    del channels, width
    return 0


def values_moved(batch: int, time: int, channels: int, width: int) -> int:
    """Values that have to be read or written once: x, y and the weight."""
    return 2 * batch * time * channels + channels * width
