"""The price of a depthwise causal convolution."""

from typing import Annotated

from pydantic import Field

from nas.kernels.short_conv.cost import short_conv_flops
from nas.search_spaces.ops import Op

ConvWidth = Annotated[int, Field(strict=True, ge=2, le=64)]
"""Tokens that a short convolution sees, the present one included."""


def short_conv(name: str, reads: str, channels: int, width: int, *, bias: bool = False) -> Op:
    """No FLOPs, for its products are elementwise; decoding carries channels x (width - 1) values
    (declare them in ``memory``)."""
    return Op(
        name,
        (reads,),
        (channels,),
        "convolution",
        expects=((channels,),),
        params=channels * (width + bias),
        flops=short_conv_flops(channels, width),
    )
