"""Layer normalisation."""

from typing import Literal

from nas.plan import Call
from nas.search_spaces.base import Flag, Norm, Place, Source
from nas.search_spaces.ops import Ops, elementwise


class Layer(Norm):
    """(x - mean) / std * weight + bias."""

    papers = (Source("Layer Normalization", "https://arxiv.org/abs/1607.06450"),)
    example = {"kind": "layer"}
    variants = ({"kind": "layer", "bias": False},)

    kind: Literal["layer"] = "layer"
    bias: Flag = True

    def ops(self, at: Place, context: int) -> Ops:
        return (elementwise("layer", ("x",), at.dim, params=at.dim * (1 + self.bias)),)

    def plan(self, at: Place) -> Call:
        arguments = {"normalized_shape": at.dim, "bias": self.bias}
        return Call("torch.nn:LayerNorm", arguments)
